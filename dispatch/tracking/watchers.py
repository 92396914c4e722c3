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
from dispatch.tracking.rider_state import RiderState
from dispatch.tracking.stores.positions import decode_node_message
from dispatch.wire.events import LatLng, RiderLocationUpdate
from dispatch.wire.frames import (
    POSITION_PREFIX,
    downgrade_freshness,
    encode_position,
    received_at_ms,
)

# Subscriptions changed side by side when many riders come or go at once.
SUBSCRIPTIONS_AT_ONCE = 256
# How long a node waits for the word of a rider's own node that he is stale or lost, before it
# takes that node for dead and says so itself.
# Source: a node tells within 1 s, a flush takes 40 ms, listeners are back within 2 s of Redis.
REMOTE_GRACE_MS = 3_000


class Watcher(Protocol):
    """Somebody who is shown positions; it must not wait, and must know itself again."""

    def send_position(self, packet: bytes) -> None:
        """Send a position, or drop it for a newer one."""
        ...

    def __hash__(self) -> int: ...


class PositionChannels(Protocol):
    """What other nodes say."""

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Listen; where Redis is away StoreUnavailable, and the listener is kept all the same."""
        ...

    async def unsubscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Listen no more."""
        ...


def position_packet(rider: RiderState, position: Position, order_id: str) -> bytes:
    """What the watchers of one of a rider's orders are told, encoded once for all nodes."""
    known = rider.last_encoded
    if known and known[0] is position and known[1] == rider.freshness and known[2] == order_id:
        return known[3]
    return _encode_position(rider, position, order_id)


def _encode_position(rider: RiderState, position: Position, order_id: str) -> bytes:
    # By place: names would take as long as the rest of it.
    update = RiderLocationUpdate(
        order_id,
        rider.rider_id,
        LatLng(position.lat, position.lng),
        position.heading,
        position.speed,
        position.accuracy,
        position.ts,
        position.received_at,
        rider.freshness,
    )
    packet = encode_position(update)
    rider.last_encoded = (position, rider.freshness, order_id, packet)
    return packet


class _OrderAudience:
    """Who watches an order, and when the newest fix was received that they were told of."""

    __slots__ = ("last_sent_ms", "watchers")

    def __init__(self) -> None:
        self.watchers: tuple[Watcher, ...] = ()
        self.last_sent_ms = 0


class Watchers:
    """Watchers by order.

    Another node's positions are followed only while somebody here watches an order that no rider
    of this node serves.
    """

    def __init__(self, channels: PositionChannels, node: str) -> None:
        self._channels = channels
        self._node = node.encode()
        self._audiences: dict[str, _OrderAudience] = {}
        self._orders_by_watcher: dict[Watcher, set[str]] = {}
        self._local_orders: set[str] = set()
        self._subscriptions: dict[str, Callable[[bytes], None]] = {}
        # The last positions from other nodes: those since the last `fade`, and when each came.
        self._new_remote_packets: dict[str, bytes] = {}
        self._remote_packets: dict[str, tuple[int, bytes]] = {}
        # In the order in which they did.
        self._changed_orders: dict[str, None] = {}
        self._has_changes = asyncio.Event()

    def is_watched(self, order_id: str) -> bool:
        """Whether anybody here watches the order."""
        return order_id in self._audiences

    def relay_position(self, rider: RiderState, position: Position) -> int:
        """Show where a rider is to everybody here who watches one of his orders; how many."""
        told = 0
        for order_id in rider.orders:
            if order_id in self._audiences:
                packet = _encode_position(rider, position, order_id)
                told += self.send_position(order_id, packet, position.received_at)
        return told

    def send_position(self, order_id: str, packet: bytes, received_ms: int) -> int:
        """Show everybody here who watches the order a position; how many they are.

        What was received before that of which they know is not shown: a rider may have gone on to
        another node, and the one that he left learns of it by his silence.
        """
        audience = self._audiences.get(order_id)
        if audience is None or received_ms < audience.last_sent_ms:
            return 0
        audience.last_sent_ms = received_ms
        for watcher in audience.watchers:
            watcher.send_position(packet)
        return len(audience.watchers)

    def send_update(self, order_id: str, packet: bytes) -> None:
        """Tell everybody here who watches the order something else that a newer one replaces."""
        audience = self._audiences.get(order_id)
        for watcher in audience.watchers if audience is not None else ():
            watcher.send_position(packet)

    async def join(self, order_id: str, watcher: Watcher) -> None:
        """Let somebody watch an order; whatever is told after this returns, he is told.

        A snapshot taken after it and the packets since join without a gap.
        """
        audience = self._audiences.setdefault(order_id, _OrderAudience())
        if watcher not in audience.watchers:
            audience.watchers = (*audience.watchers, watcher)
            self._orders_by_watcher.setdefault(watcher, set()).add(order_id)
        await self._sync_subscription(order_id)

    async def leave(self, order_id: str, watcher: Watcher) -> None:
        """Somebody watches an order no more."""
        self._remove_watcher(order_id, watcher)
        await self._sync_subscription(order_id)

    async def leave_all(self, watcher: Watcher) -> None:
        """Somebody is gone."""
        orders = sorted(self._orders_by_watcher.get(watcher, ()))
        # All at once, before anything is awaited: he must be told nothing more.
        for order_id in orders:
            self._remove_watcher(order_id, watcher)
        for order_id in orders:
            await self._sync_subscription(order_id)

    def downgrade_silent(self, now_ms: int, fresh_ms: int, lost_ms: int) -> None:
        """Tell of riders of other nodes who went silent although their nodes did not say so.

        A node that was killed says nothing; its riders shall not stand on the map as live.
        """
        for order_id, packet in self._new_remote_packets.items():
            self._remote_packets[order_id] = (now_ms, packet)
        self._new_remote_packets.clear()
        for order_id, (at_ms, packet) in self._remote_packets.items():
            age_ms = now_ms - at_ms - REMOTE_GRACE_MS
            if age_ms > fresh_ms:
                aged = downgrade_freshness(packet, "stale" if age_ms <= lost_ms else "lost")
                if aged != packet:
                    self._remote_packets[order_id] = (at_ms, aged)
                    self.send_position(order_id, aged, received_at_ms(aged))

    def mark_local(self, order_id: str) -> None:
        """A rider of this node reports for the order: what others say of it is not needed."""
        if order_id not in self._local_orders:
            self._local_orders.add(order_id)
            self._mark_changed(order_id)

    def unmark_local(self, order_id: str) -> None:
        """No rider of this node reports for the order any more; another node's may."""
        if order_id in self._local_orders:
            self._local_orders.discard(order_id)
            self._mark_changed(order_id)

    async def run(self) -> None:
        """Follow or leave other nodes' positions as riders come and go, while the server runs."""
        while True:
            await self._has_changes.wait()
            await self.sync_subscriptions()

    async def sync_subscriptions(self) -> None:
        """Follow exactly what should be followed."""
        self._has_changes.clear()
        while self._changed_orders:
            some = list(islice(self._changed_orders, SUBSCRIPTIONS_AT_ONCE))
            for order_id in some:
                del self._changed_orders[order_id]
            # One after the other would take a turn of the loop each, and a busy loop's are long.
            await asyncio.gather(*(self._sync_subscription(order_id) for order_id in some))

    def _mark_changed(self, order_id: str) -> None:
        if order_id in self._audiences:
            self._changed_orders[order_id] = None
            self._has_changes.set()

    def _remove_watcher(self, order_id: str, watcher: Watcher) -> None:
        audience = self._audiences.get(order_id)
        if audience is not None:
            audience.watchers = tuple(each for each in audience.watchers if each is not watcher)
            if not audience.watchers:
                del self._audiences[order_id]
        orders = self._orders_by_watcher.get(watcher)
        if orders is not None:
            orders.discard(order_id)
            if not orders:
                del self._orders_by_watcher[watcher]

    async def _sync_subscription(self, order_id: str) -> None:
        """Make one subscription what it should be; noted before anything is awaited."""
        is_wanted = order_id in self._audiences and order_id not in self._local_orders
        callback = self._subscriptions.get(order_id)
        channel = order_positions(OrderId(order_id))
        if is_wanted and callback is None:
            callback = self._subscriptions[order_id] = partial(self._on_message, order_id)
            # Kept by the feeds until Redis is back; positions of this node need no Redis.
            with suppress(StoreUnavailable):
                await self._channels.subscribe(channel, callback)
        elif not is_wanted and callback is not None:
            del self._subscriptions[order_id]
            self._new_remote_packets.pop(order_id, None)
            self._remote_packets.pop(order_id, None)
            await self._channels.unsubscribe(channel, callback)

    def _on_message(self, order_id: str, message: bytes) -> None:
        node, packet = decode_node_message(message)
        if node == self._node:
            return
        if not packet.startswith(POSITION_PREFIX):
            self.send_update(order_id, packet)
        elif self.send_position(order_id, packet, received_at_ms(packet)):
            self._new_remote_packets[order_id] = packet
