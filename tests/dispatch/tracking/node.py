"""Tracking of one node with fakes for Redis and for the other nodes, for the tests beside it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.ids import OrderId
from dispatch.keys import order_positions
from dispatch.model import Position, Presence
from dispatch.service_area import Circle, ServiceArea
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.fixes.rules import FixRules
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.stores.positions import (
    IndexRemoval,
    PositionUpdate,
    PresenceUpdate,
    encode_node_message,
)
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix
from matching.geo import DEGREE_M
from matching.speeds import LearnedSpeeds

FRESH_MS, LOST_MS = 15_000, 45_000
LIMITS = FreshnessLimits(FRESH_MS, LOST_MS)
DOUALA = (4.0511, 9.7085)


def fix(north_m: float = 0.0, **fields: Any) -> Fix:
    """A fix this many metres north of the usual place."""
    return Fix(lat=DOUALA[0] + north_m / DEGREE_M, lng=DOUALA[1], **{"accuracy": 5.0, **fields})


def north_m(lat: float) -> int:
    """How many metres a latitude lies north of the usual place."""
    return round((lat - DOUALA[0]) * DEGREE_M)


class RecordingWatcher:
    """A watcher that keeps the packets sent to it."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def send_position(self, packet: bytes) -> None:
        self.packets.append(packet)

    @property
    def updates(self) -> list[dict[str, Any]]:
        """The decoded `rider_location_update` bodies."""
        bodies = []
        for packet in self.packets:
            namespace, _, array = packet.partition(b",")
            name, body = orjson.loads(array)
            assert (namespace, name) == (b"42/user", "rider_location_update")
            bodies.append(body)
        return bodies

    @property
    def path(self) -> list[tuple[str, int, str]]:
        """Order, metres north and freshness of each update."""
        return [
            (each["orderId"], north_m(each["location"]["lat"]), each["state"])
            for each in self.updates
        ]


class FakeChannels:
    """Channels between nodes, with the callbacks that are subscribed."""

    def __init__(self) -> None:
        self.listeners: dict[str, list[Callable[[bytes], None]]] = {}
        self.subscribed: list[str] = []
        self.is_unavailable = False

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        self.listeners.setdefault(channel, []).append(callback)
        self.subscribed.append(channel)
        await asyncio.sleep(0)
        if self.is_unavailable:
            raise StoreUnavailable("redis", "away")

    async def unsubscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        self.listeners[channel].remove(callback)
        await asyncio.sleep(0)

    def listener_count(self, order_id: str) -> int:
        return len(self.listeners.get(order_positions(OrderId(order_id)), []))

    def publish(self, node: str, order_id: str, packet: bytes) -> None:
        for callback in tuple(self.listeners.get(order_positions(OrderId(order_id)), [])):
            callback(encode_node_message(node.encode(), packet))


class FakePositionSink:
    """Position store in memory: index, trails, and messages to other nodes."""

    def __init__(self, channels: FakeChannels, node: str) -> None:
        self.channels = channels
        self.node = node
        self.index: dict[str, dict[str, PositionUpdate]] = {}
        self.trails: dict[str, list[Position]] = {}
        self.batches: list[list[PositionUpdate]] = []
        self.presences: dict[str, Presence] = {}
        self.failure: Exception | None = None
        self.has_failed = asyncio.Event()
        self.has_written = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.writing_count = 0
        self.writing_max = 0

    async def put(
        self,
        batch: Sequence[PositionUpdate],
        removals: Sequence[IndexRemoval] = (),
        presences: Sequence[PresenceUpdate] = (),
    ) -> frozenset[str]:
        self.writing_count += 1
        self.writing_max = max(self.writing_count, self.writing_max)
        try:
            await self.may_write.wait()
            if self.failure is not None:
                self.has_failed.set()
                raise self.failure
        finally:
            self.writing_count -= 1
        self.has_written.set()
        self.batches.append(list(batch))
        self.presences.update(presences)
        for each in batch:
            self._store(each)
        for rider_id, cell, _ in removals:
            self.index.get(cell, {}).pop(rider_id, None)
        published = (order_id for each in batch for order_id, _ in each.packets)
        return frozenset(each for each in published if self.channels.listener_count(each))

    def _store(self, update: PositionUpdate) -> None:
        if update.previous_cell is not None:
            self.index.get(update.previous_cell, {}).pop(update.rider_id, None)
        if update.cell is not None:
            self.index.setdefault(update.cell, {})[update.rider_id] = update
        for order_id, position in update.trail:
            self.trails.setdefault(order_id, []).append(position)
        for order_id, packet in update.packets:
            self.channels.publish(self.node, order_id, packet)

    def find_rider(self, rider_id: str) -> list[PositionUpdate]:
        """The rider's entries in all cells of the index."""
        return [riders[rider_id] for riders in self.index.values() if rider_id in riders]


class Node:
    """Tracking of one node."""

    def __init__(
        self,
        name: str = "a",
        channels: FakeChannels | None = None,
        riders_max: int = 1000,
        flush_ms: int = 50,
    ) -> None:
        self.clock = ManualClock()
        self.channels = channels or FakeChannels()
        self.redis = FakePositionSink(self.channels, name)
        self.watchers = Watchers(self.channels, name)
        self.writer = RedisWriter(self.redis, self.clock, flush_ms, riders_max, retry_s=0.001)
        rules = FixRules(fresh_ms=FRESH_MS, area=ServiceArea((Circle(*DOUALA, 50.0),)))
        self.rider_registry = RiderRegistry(self.writer, self.watchers, LIMITS, rules)
        self.speeds = LearnedSpeeds()
        self.tracking_rules = TrackingRules(self.watchers, EtaEstimator(self.speeds))
        self.fix_pipeline = FixPipeline(
            self.rider_registry, self.watchers, self.writer, self.tracking_rules
        )

    def put_on_duty(self, rider_id: str, *orders: str) -> None:
        """Connect a rider, make it available, and assign orders to it."""
        self.rider_registry.connect(rider_id)
        self.rider_registry.set_available(rider_id, available=True)
        for order_id in orders:
            self.rider_registry.assign(rider_id, order_id)

    def report(self, rider_id: str, fix: Fix) -> object:
        return self.fix_pipeline.process_fix(rider_id, fix, self.clock.now_ms())

    def pass_time(self, milliseconds: int) -> None:
        """Advance the clock, with a sweep after each second."""
        for _ in range(milliseconds // 1000):
            self.clock.advance(1000)
            self.fix_pipeline.sweep(self.clock.now_ms())
        self.clock.advance(milliseconds % 1000)
        self.fix_pipeline.sweep(self.clock.now_ms())
