"""Who on this node watches which order, and what the other nodes tell of it.

Step 3 of a fix's way: tracking.intake → [here] → the watchers' sockets, tracking.drain.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Protocol

from dispatch.errors import StoreUnavailable
from dispatch.ids import OrderId
from dispatch.keys import order_positions
from dispatch.model import Position
from dispatch.tracking.rider_state import Seat, State
from dispatch.tracking.stores.positions import unframed
from dispatch.wire.events import LatLng, RiderLocationUpdate
from dispatch.wire.frames import body

# Subscriptions changed side by side when many riders come or go at once.
FOLLOWED_AT_ONCE = 256
# How long a node waits for the word of a rider's own node that he is stale or lost, before it
# takes that node for dead and says so itself.
# Source: a node tells within 1 s, a flush takes 40 ms, listeners are back within 2 s of Redis.
OTHER_NODE_MS = 3_000
# How a position begins and ends; its state is its last field.
_POSITION = f'42/user,["{RiderLocationUpdate.event}",'.encode()
_ENDS: dict[State, bytes] = {
    state: f'"state":"{state}"}}]'.encode() for state in ("live", "stale", "lost")
}
# When its fix was received is said just before that.
_RECEIVED = b'"receivedAt":'


class Watcher(Protocol):
    """Somebody who is shown positions; it must not wait, and must know itself again."""

    def show(self, packet: bytes) -> None:
        """Send a position, or drop it for a newer one."""
        ...

    def __hash__(self) -> int: ...


class Feeds(Protocol):
    """What other nodes say."""

    async def open(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Listen; where Redis is away StoreUnavailable, and the listener is kept all the same."""
        ...

    async def close(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Listen no more."""
        ...


def packet_of(seat: Seat, position: Position, order_id: str) -> bytes:
    """What the watchers of one of a rider's orders are told, encoded once for all nodes."""
    known = seat.encoded
    if known and known[0] is position and known[1] == seat.state and known[2] == order_id:
        return known[3]
    return _encoded(seat, position, order_id)


def _encoded(seat: Seat, position: Position, order_id: str) -> bytes:
    # By place: names would take as long as the rest of it.
    update = RiderLocationUpdate(
        order_id,
        seat.rider_id,
        LatLng(position.lat, position.lng),
        position.heading,
        position.speed,
        position.accuracy,
        position.ts,
        position.received_at,
        seat.state,
    )
    packet = b"%b%b]" % (_POSITION, body(update))
    seat.encoded = (position, seat.state, order_id, packet)
    return packet


class _Audience:
    """Who watches an order, and when the newest fix was received that they were told of."""

    __slots__ = ("told_ms", "watchers")

    def __init__(self) -> None:
        self.watchers: tuple[Watcher, ...] = ()
        self.told_ms = 0


class Watchers:
    """Watchers by order.

    Another node's positions are followed only while somebody here watches an order that no rider
    of this node serves.
    """

    def __init__(self, feeds: Feeds, node: str) -> None:
        self._feeds = feeds
        self._node = node.encode()
        self._audiences: dict[str, _Audience] = {}
        self._orders: dict[Watcher, set[str]] = {}
        self._served: set[str] = set()
        self._followed: dict[str, Callable[[bytes], None]] = {}
        # The last positions from other nodes: those since the last `fade`, and when each came.
        self._heard_since: dict[str, bytes] = {}
        self._shown: dict[str, tuple[int, bytes]] = {}
        # In the order in which they did.
        self._moved: dict[str, None] = {}
        self._has_moved = asyncio.Event()

    def watched(self, order_id: str) -> bool:
        """Whether anybody here watches the order."""
        return order_id in self._audiences

    def relay(self, seat: Seat, position: Position) -> int:
        """Show where a rider is to everybody here who watches one of his orders; how many."""
        told = 0
        for order_id in seat.orders:
            if order_id in self._audiences:
                packet = _encoded(seat, position, order_id)
                told += self.show(order_id, packet, position.received_at)
        return told

    def show(self, order_id: str, packet: bytes, received_ms: int) -> int:
        """Show everybody here who watches the order a position; how many they are.

        What was received before that of which they know is not shown: a rider may have gone on to
        another node, and the one that he left learns of it by his silence.
        """
        audience = self._audiences.get(order_id)
        if audience is None or received_ms < audience.told_ms:
            return 0
        audience.told_ms = received_ms
        for watcher in audience.watchers:
            watcher.show(packet)
        return len(audience.watchers)

    def tell(self, order_id: str, packet: bytes) -> None:
        """Tell everybody here who watches the order something else that a newer one replaces."""
        audience = self._audiences.get(order_id)
        for watcher in audience.watchers if audience is not None else ():
            watcher.show(packet)

    async def join(self, order_id: str, watcher: Watcher) -> None:
        """Let somebody watch an order; whatever is told after this returns, he is told.

        A snapshot taken after it and the packets since join without a gap.
        """
        audience = self._audiences.setdefault(order_id, _Audience())
        if watcher not in audience.watchers:
            audience.watchers = (*audience.watchers, watcher)
            self._orders.setdefault(watcher, set()).add(order_id)
        await self._follow(order_id)

    async def leave(self, order_id: str, watcher: Watcher) -> None:
        """Somebody watches an order no more."""
        self._drop(order_id, watcher)
        await self._follow(order_id)

    async def leave_all(self, watcher: Watcher) -> None:
        """Somebody is gone."""
        orders = sorted(self._orders.get(watcher, ()))
        # All at once, before anything is awaited: he must be told nothing more.
        for order_id in orders:
            self._drop(order_id, watcher)
        for order_id in orders:
            await self._follow(order_id)

    def fade(self, now_ms: int, fresh_ms: int, lost_ms: int) -> None:
        """Tell of riders of other nodes who went silent although their nodes did not say so.

        A node that was killed says nothing; its riders shall not stand on the map as live.
        """
        for order_id, packet in self._heard_since.items():
            self._shown[order_id] = (now_ms, packet)
        self._heard_since.clear()
        for order_id, (at_ms, packet) in self._shown.items():
            age_ms = now_ms - at_ms - OTHER_NODE_MS
            if age_ms > fresh_ms:
                aged = _aged(packet, "stale" if age_ms <= lost_ms else "lost")
                if aged != packet:
                    self._shown[order_id] = (at_ms, aged)
                    self.show(order_id, aged, _received_ms(aged))

    def serve(self, order_id: str) -> None:
        """A rider of this node reports for the order: what others say of it is not needed."""
        if order_id not in self._served:
            self._served.add(order_id)
            self._move(order_id)

    def unserve(self, order_id: str) -> None:
        """No rider of this node reports for the order any more; another node's may."""
        if order_id in self._served:
            self._served.discard(order_id)
            self._move(order_id)

    async def run(self) -> None:
        """Follow or leave other nodes' positions as riders come and go, while the server runs."""
        while True:
            await self._has_moved.wait()
            await self.settle()

    async def settle(self) -> None:
        """Follow exactly what should be followed."""
        self._has_moved.clear()
        while self._moved:
            some = list(islice(self._moved, FOLLOWED_AT_ONCE))
            for order_id in some:
                del self._moved[order_id]
            # One after the other would take a turn of the loop each, and a busy loop's are long.
            await asyncio.gather(*(self._follow(order_id) for order_id in some))

    def _move(self, order_id: str) -> None:
        if order_id in self._audiences:
            self._moved[order_id] = None
            self._has_moved.set()

    def _drop(self, order_id: str, watcher: Watcher) -> None:
        audience = self._audiences.get(order_id)
        if audience is not None:
            audience.watchers = tuple(each for each in audience.watchers if each is not watcher)
            if not audience.watchers:
                del self._audiences[order_id]
        orders = self._orders.get(watcher)
        if orders is not None:
            orders.discard(order_id)
            if not orders:
                del self._orders[watcher]

    async def _follow(self, order_id: str) -> None:
        """Make one subscription what it should be; noted before anything is awaited."""
        is_wanted = order_id in self._audiences and order_id not in self._served
        callback = self._followed.get(order_id)
        channel = order_positions(OrderId(order_id))
        if is_wanted and callback is None:
            callback = self._followed[order_id] = partial(self._heard, order_id)
            # Kept by the feeds until Redis is back; positions of this node need no Redis.
            with suppress(StoreUnavailable):
                await self._feeds.open(channel, callback)
        elif not is_wanted and callback is not None:
            del self._followed[order_id]
            self._heard_since.pop(order_id, None)
            self._shown.pop(order_id, None)
            await self._feeds.close(channel, callback)

    def _heard(self, order_id: str, message: bytes) -> None:
        node, packet = unframed(message)
        if node == self._node:
            return
        if not packet.startswith(_POSITION):
            self.tell(order_id, packet)
        elif self.show(order_id, packet, _received_ms(packet)):
            self._heard_since[order_id] = packet


def _received_ms(packet: bytes) -> int:
    """When the server received the fix of a packet. Units: Unix milliseconds."""
    start = packet.rindex(_RECEIVED) + len(_RECEIVED)
    return int(packet[start : packet.index(b",", start)])


def _aged(packet: bytes, state: State) -> bytes:
    """The packet with a worse state; as it is where it says so, or worse, already."""
    better = ("live",) if state == "stale" else ("live", "stale")
    for before in better:
        if packet.endswith(_ENDS[before]):
            return packet.removesuffix(_ENDS[before]) + _ENDS[state]
    return packet
