"""Watchers: sends each order's positions to the sockets on this node that watch the order.

Positions of riders at other nodes arrive on one Redis channel for each order.
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
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.rider_state import RiderState
from dispatch.tracking.stores.positions import decode_node_message
from dispatch.wire.events import LatLng, RiderLocationUpdate
from dispatch.wire.frames import (
    POSITION_PREFIX,
    downgrade_freshness,
    encode_position,
    made_at_ms,
    received_at_ms,
)

# Subscriptions changed concurrently when many riders come or go at once.
SUBSCRIPTIONS_AT_ONCE = 256
# How much longer than the rider's own node a node waits before it declares the rider stale or lost:
# the rider's node may be dead.
# Source: a node publishes it within 1 s, a flush takes 40 ms, subscriptions are back within 2 s of
# Redis.
REMOTE_GRACE_MS = 3_000


class Watcher(Protocol):
    """A socket that is shown positions; hashable by identity, and never blocks."""

    def send_position(self, packet: bytes) -> None:
        """Send a position; a newer one may replace it before it has left."""
        ...

    def __hash__(self) -> int: ...


class PositionChannels(Protocol):
    """Channels between nodes, one for each order."""

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Call back for each message of a channel.

        Errors: StoreUnavailable; the callback is kept and subscribed once Redis is back.
        """
        ...

    async def unsubscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """End a subscription."""
        ...


def position_packet(rider: RiderState, position: Position, order_id: str) -> bytes:
    """The packet with a rider's position for the watchers of one order; the last one is reused.

    Shapes: a Socket.IO packet with a `rider_location_update`.
    """
    last = rider.last_encoded
    if last and last[0] is position and last[1] == rider.freshness and last[2] == order_id:
        return last[3]
    return _encode_position(rider, position, order_id)


def _encode_position(rider: RiderState, position: Position, order_id: str) -> bytes:
    # Positional: keyword arguments would take as long as the rest of this function.
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
    """The watchers of one order, and when the newest fix sent to them was received and made."""

    __slots__ = ("last_made_ms", "last_received_ms", "watchers")

    def __init__(self) -> None:
        self.watchers: tuple[Watcher, ...] = ()
        self.last_received_ms = 0
        self.last_made_ms = 0


class Watchers:
    """The watchers on this node by order, and the channels that it subscribes for them.

    A channel is subscribed only while an order has a watcher here and no rider of this node
    reports for it.
    """

    def __init__(self, channels: PositionChannels, node: str) -> None:
        self._channels = channels
        self._node = node.encode()
        self._audiences: dict[str, _OrderAudience] = {}
        self._orders_by_watcher: dict[Watcher, set[str]] = {}
        self._local_orders: set[str] = set()
        self._subscriptions: dict[str, Callable[[bytes], None]] = {}
        # The last packets from other nodes by order: those since the last `downgrade_silent`, and
        # older ones as (time of receipt here, packet).
        self._new_remote_packets: dict[str, bytes] = {}
        self._remote_packets: dict[str, tuple[int, bytes]] = {}
        # Orders whose subscription may have to change, oldest first.
        self._changed_orders: dict[str, None] = {}
        self._has_changes = asyncio.Event()

    def is_watched(self, order_id: str) -> bool:
        """Whether the order has a watcher on this node."""
        return order_id in self._audiences

    def relay_position(self, rider: RiderState, position: Position) -> int:
        """Send a rider's position to all watchers here of its orders; how many they are."""
        sent = 0
        for order_id in rider.orders:
            if order_id in self._audiences:
                packet = _encode_position(rider, position, order_id)
                sent += self.send_position(order_id, packet, position.received_at, position.ts)
        return sent

    def send_position(self, order_id: str, packet: bytes, received_ms: int, made_ms: int) -> int:
        """Send a position to all watchers of the order here; how many they are.

        A fix that was received or made before the last one sent is skipped: after a rider has moved
        to another node, the node that it left still declares it stale, and the other one may know
        its clock less well.

        Units: Unix milliseconds.
        """
        audience = self._audiences.get(order_id)
        if audience is None or received_ms < audience.last_received_ms:
            return 0
        if made_ms < audience.last_made_ms:
            return 0
        audience.last_received_ms, audience.last_made_ms = received_ms, made_ms
        for watcher in audience.watchers:
            watcher.send_position(packet)
        return len(audience.watchers)

    def send_update(self, order_id: str, packet: bytes) -> None:
        """Send another replaceable packet, an ETA, to all watchers of the order here."""
        audience = self._audiences.get(order_id)
        for watcher in audience.watchers if audience is not None else ():
            watcher.send_position(packet)

    async def join(self, order_id: str, watcher: Watcher) -> None:
        """Add a watcher to an order; it gets every packet that is sent after this returns.

        A snapshot taken afterwards and the packets since leave no gap.
        """
        audience = self._audiences.setdefault(order_id, _OrderAudience())
        if watcher not in audience.watchers:
            audience.watchers = (*audience.watchers, watcher)
            self._orders_by_watcher.setdefault(watcher, set()).add(order_id)
        await self._sync_subscription(order_id)

    async def leave(self, order_id: str, watcher: Watcher) -> None:
        """Remove a watcher from an order."""
        self._remove_watcher(order_id, watcher)
        await self._sync_subscription(order_id)

    def drop(self, order_id: str, watcher: Watcher) -> None:
        """Remove a watcher from an order that is over; the subscription ends with the next sync."""
        self._remove_watcher(order_id, watcher)
        if order_id in self._subscriptions:
            self._changed_orders[order_id] = None
            self._has_changes.set()

    async def leave_all(self, watcher: Watcher) -> None:
        """Remove a watcher from all its orders."""
        orders = sorted(self._orders_by_watcher.get(watcher, ()))
        # All of them before anything is awaited: the watcher must get no further packet.
        for order_id in orders:
            self._remove_watcher(order_id, watcher)
        for order_id in orders:
            await self._sync_subscription(order_id)

    def downgrade_silent(self, now_ms: int, limits: FreshnessLimits) -> None:
        """Send stale or lost for riders of other nodes that are silent without a message of it.

        A node that was killed sends none, and its riders must not stay live on the map.

        Units: Unix milliseconds.
        """
        for order_id, packet in self._new_remote_packets.items():
            self._remote_packets[order_id] = (now_ms, packet)
        self._new_remote_packets.clear()
        for order_id, (at_ms, packet) in self._remote_packets.items():
            freshness = limits.of_age(now_ms - at_ms - REMOTE_GRACE_MS)
            if freshness != "live":
                aged = downgrade_freshness(packet, freshness)
                if aged != packet:
                    self._remote_packets[order_id] = (at_ms, aged)
                    self.send_position(order_id, aged, received_at_ms(aged), made_at_ms(aged))

    def mark_local(self, order_id: str) -> None:
        """Note that a rider of this node reports for the order: its channel is not needed."""
        if order_id not in self._local_orders:
            self._local_orders.add(order_id)
            self._mark_changed(order_id)

    def unmark_local(self, order_id: str) -> None:
        """Note that no rider of this node reports for the order; another node's may."""
        if order_id in self._local_orders:
            self._local_orders.discard(order_id)
            self._mark_changed(order_id)

    async def run(self) -> None:
        """Background loop: keep the subscriptions right as watchers and riders come and go."""
        while True:
            await self._has_changes.wait()
            await self.sync_subscriptions()

    async def sync_subscriptions(self) -> None:
        """Bring the subscriptions of all changed orders up to date."""
        self._has_changes.clear()
        while self._changed_orders:
            chunk = list(islice(self._changed_orders, SUBSCRIPTIONS_AT_ONCE))
            for order_id in chunk:
                del self._changed_orders[order_id]
            # One after the other would take a tick of the event loop each.
            await asyncio.gather(*(self._sync_subscription(order_id) for order_id in chunk))

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
        """Bring one order's subscription up to date; the decision is noted before any await."""
        is_wanted = order_id in self._audiences and order_id not in self._local_orders
        callback = self._subscriptions.get(order_id)
        channel = order_positions(OrderId(order_id))
        if is_wanted and callback is None:
            callback = self._subscriptions[order_id] = partial(self._on_message, order_id)
            # The channels keep the callback until Redis is back; local positions need no Redis.
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
        elif self.send_position(order_id, packet, received_at_ms(packet), made_at_ms(packet)):
            self._new_remote_packets[order_id] = packet
