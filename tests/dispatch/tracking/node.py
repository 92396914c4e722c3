"""One node's tracking with everything around it replaced, for the tests beside this file."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.ids import OrderId
from dispatch.keys import order_positions
from dispatch.model import Position
from dispatch.tracking.eta import Forecast
from dispatch.tracking.fix_pipeline import Lane
from dispatch.tracking.redis_writer import Drain
from dispatch.tracking.rider_state import Roster
from dispatch.tracking.stores.positions import Gone, Placed, framed
from dispatch.tracking.tracking_policy import Guide
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix
from matching.speeds import Speeds

FRESH_MS, LOST_MS = 15_000, 45_000
DOUALA = (4.0511, 9.7085)
DEGREE_M = 111_195.08


def fix(north_m: float = 0.0, **fields: Any) -> Fix:
    """A fix so many metres north of the usual place."""
    return Fix(lat=DOUALA[0] + north_m / DEGREE_M, lng=DOUALA[1], **{"accuracy": 5.0, **fields})


def north_m(lat: float) -> int:
    """How many metres north of the usual place."""
    return round((lat - DOUALA[0]) * DEGREE_M)


class Screen:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def show(self, packet: bytes) -> None:
        self.packets.append(packet)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The events' bodies."""
        bodies = []
        for packet in self.packets:
            namespace, _, array = packet.partition(b",")
            name, body = orjson.loads(array)
            assert (namespace, name) == (b"42/user", "rider_location_update")
            bodies.append(body)
        return bodies

    @property
    def way(self) -> list[tuple[str, int, str]]:
        """Order, metres north and state of each event."""
        return [
            (each["orderId"], north_m(each["location"]["lat"]), each["state"]) for each in self.told
        ]


class Hub:
    """A Redis that carries messages between nodes, and counts who listens."""

    def __init__(self) -> None:
        self.listeners: dict[str, list[Callable[[bytes], None]]] = {}
        self.opened: list[str] = []
        self.is_away = False

    async def open(self, channel: str, callback: Callable[[bytes], None]) -> None:
        self.listeners.setdefault(channel, []).append(callback)
        self.opened.append(channel)
        await asyncio.sleep(0)
        if self.is_away:
            raise StoreUnavailable("redis", "away")

    async def close(self, channel: str, callback: Callable[[bytes], None]) -> None:
        self.listeners[channel].remove(callback)
        await asyncio.sleep(0)

    def listening(self, order_id: str) -> int:
        return len(self.listeners.get(order_positions(OrderId(order_id)), []))

    def publish(self, node: str, order_id: str, packet: bytes) -> None:
        for callback in tuple(self.listeners.get(order_positions(OrderId(order_id)), [])):
            callback(framed(node.encode(), packet))


class Redis:
    """Where a drain writes: the index, the trails and the messages, as dictionaries."""

    def __init__(self, hub: Hub, node: str) -> None:
        self.hub = hub
        self.node = node
        self.index: dict[str, dict[str, Placed]] = {}
        self.trails: dict[str, list[Position]] = {}
        self.batches: list[list[Placed]] = []
        self.failure: Exception | None = None
        self.has_failed = asyncio.Event()
        self.has_written = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.writing = 0
        self.writing_max = 0

    async def put(self, batch: Sequence[Placed], gone: Sequence[Gone] = ()) -> frozenset[str]:
        self.writing += 1
        self.writing_max = max(self.writing, self.writing_max)
        try:
            await self.gate.wait()
            if self.failure is not None:
                self.has_failed.set()
                raise self.failure
        finally:
            self.writing -= 1
        self.has_written.set()
        self.batches.append(list(batch))
        for each in batch:
            self._place(each)
        for rider_id, cell, _ in gone:
            self.index.get(cell, {}).pop(rider_id, None)
        carried = (order_id for each in batch for order_id, _ in each.packets)
        return frozenset(each for each in carried if self.hub.listening(each))

    def _place(self, placed: Placed) -> None:
        if placed.left is not None:
            self.index.get(placed.left, {}).pop(placed.rider_id, None)
        if placed.cell is not None:
            self.index.setdefault(placed.cell, {})[placed.rider_id] = placed
        for order_id, position in placed.trail:
            self.trails.setdefault(order_id, []).append(position)
        for order_id, packet in placed.packets:
            self.hub.publish(self.node, order_id, packet)

    def find(self, rider_id: str) -> list[Placed]:
        """The rider wherever the index has him."""
        return [riders[rider_id] for riders in self.index.values() if rider_id in riders]


class Node:
    """Tracking of one node."""

    def __init__(self, name: str = "a", hub: Hub | None = None, riders_max: int = 1000) -> None:
        self.clock = ManualClock()
        self.hub = hub or Hub()
        self.redis = Redis(self.hub, name)
        self.watchers = Watchers(self.hub, name)
        self.drain = Drain(self.redis, self.clock, flush_ms=50, riders_max=riders_max)
        self.roster = Roster(self.drain, self.watchers, FRESH_MS, LOST_MS)
        self.speeds = Speeds()
        self.guide = Guide(self.watchers, Forecast(self.speeds))
        self.lane = Lane(self.roster, self.watchers, self.drain, self.guide)

    def on_duty(self, rider_id: str, *orders: str) -> None:
        """A rider connects, takes orders, and carries some."""
        self.roster.seat(rider_id)
        self.roster.set_available(rider_id, available=True)
        for order_id in orders:
            self.roster.assign(rider_id, order_id)

    def report(self, rider_id: str, fix: Fix) -> object:
        return self.lane.report(rider_id, fix, self.clock.now_ms())

    def pass_time(self, milliseconds: int) -> None:
        """Time goes by, a second at most between two sweeps."""
        for _ in range(milliseconds // 1000):
            self.clock.advance(1000)
            self.lane.sweep(self.clock.now_ms())
        self.clock.advance(milliseconds % 1000)
        self.lane.sweep(self.clock.now_ms())
