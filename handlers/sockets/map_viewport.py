"""Viewport feed: sends operators what changed inside their map windows, once a second."""

import asyncio
from collections.abc import Iterable

import msgspec
import structlog

from dispatch import keys
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.operations_board import OperationsBoard, parse_line
from dispatch.model import TERMINAL_STATUSES
from dispatch.storage.pubsub import PubSub
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.stores.geo_cells import BoundingBox
from dispatch.tracking.stores.rider_facts import IndexedRider
from dispatch.tracking.stores.rider_index import RiderIndex
from dispatch.wire import frames
from dispatch.wire.commands import Bbox
from dispatch.wire.events import AreaDelta, LatLng, OrderMarker, RiderMarker
from handlers.sessions.session_registry import PacketSender

# Source: chosen; a map that moves once a second reads as live, and costs one query a second.
TICK_S = 1.0
# Orders in this node's copy of the board; a city has fewer open ones.
BOARD_ORDERS_MAX = 50_000
# How long the map still shows an order that has ended.
ENDED_SHOWN_MS = 3_000
_ENDED = frozenset(status.value for status in TERMINAL_STATUSES)

log = structlog.get_logger(__name__)


class Viewport(msgspec.Struct):
    """One operator's map window, and what its socket was sent of it last."""

    bbox: Bbox
    sender: PacketSender
    riders: dict[str, RiderMarker] = {}
    orders: dict[str, OrderMarker] = {}


class ViewportFeed:
    """Computes and sends the deltas of all map windows watched on this node.

    Holds a copy of the operations board, which pub/sub keeps current.
    """

    def __init__(
        self,
        board: OperationsBoard,
        rider_index: RiderIndex,
        pubsub: PubSub,
        clock: Clock,
        freshness_limits: FreshnessLimits,
    ) -> None:
        self._board = board
        self._rider_index = rider_index
        self._pubsub = pubsub
        self._clock = clock
        self._freshness_limits = freshness_limits
        self._viewports: dict[str, Viewport] = {}
        self._orders: dict[str, OrderMarker] = {}
        self._is_loaded = False
        self._is_listening = False
        pubsub.on_gap(self._discard_board)

    async def watch(self, sid: str, bbox: Bbox, sender: PacketSender) -> AreaDelta:
        """Watch a window in place of the socket's last one; all that it shows now.

        Deltas follow with every tick.

        Errors: StoreUnavailable.
        """
        await self._load_board()
        viewport = Viewport(bbox=bbox, sender=sender)
        snapshot = await self._compute_delta(viewport)
        self._viewports[sid] = viewport
        return snapshot

    def unwatch(self, sid: str) -> None:
        """Stop sending deltas to a socket."""
        self._viewports.pop(sid, None)

    async def run(self) -> None:
        """Tick once a second until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            if self._viewports:
                await self.tick()

    async def tick(self) -> None:
        """Send every window what changed since the last tick."""
        try:
            await self._load_board()
            for viewport in list(self._viewports.values()):
                delta = await self._compute_delta(viewport)
                viewport.sender.send_event(frames.encode_event("/ops", delta))
        except StoreUnavailable as error:
            # The map stands still while Redis is away; the next tick sends the difference.
            log.warning("viewport_tick_skipped", cause=error.cause)

    async def _load_board(self) -> None:
        if self._is_loaded:
            return
        if not self._is_listening:
            self._is_listening = True
            await self._pubsub.subscribe(keys.board_channel(), self._on_board_message)
        self._is_loaded = True
        for marker in await self._read_board():
            known = self._orders.get(marker.order_id)
            if known is None or known.version < marker.version:
                self._orders[marker.order_id] = marker

    async def _read_board(self) -> list[OrderMarker]:
        try:
            return await self._board.read()
        except StoreUnavailable:
            # Nothing was read: the next call reads again.
            self._is_loaded = False
            raise

    def _discard_board(self) -> None:
        # Changes during the gap are unknown; the subscription itself was renewed.
        self._orders.clear()
        self._is_loaded = False

    def _on_board_message(self, message: bytes) -> None:
        marker = parse_line(message)
        known = self._orders.get(marker.order_id)
        if (known is None or known.version < marker.version) and len(
            self._orders
        ) < BOARD_ORDERS_MAX:
            self._orders[marker.order_id] = marker

    async def _compute_delta(self, viewport: Viewport) -> AreaDelta:
        box = viewport.bbox
        now_ms = self._clock.now_ms()
        seen = await self._rider_index.find_in_box(
            BoundingBox(south=box.south, west=box.west, north=box.north, east=box.east),
            now_ms - self._freshness_limits.lost_ms,
        )
        riders = {
            each.rider_id: _rider_marker(each, now_ms, self._freshness_limits) for each in seen
        }
        orders = {marker.order_id: marker for marker in self._orders_in(box)}
        delta = AreaDelta(
            riders=_changed_riders(viewport.riders, riders),
            orders=_changed_orders(viewport.orders, orders),
            totals=await self._board.totals(now_ms),
            ts=now_ms,
        )
        viewport.riders, viewport.orders = riders, orders
        return delta

    def _orders_in(self, box: Bbox) -> Iterable[OrderMarker]:
        """Orders with an end in the window; a finished one for ENDED_SHOWN_MS more."""
        before_ms = self._clock.now_ms() - ENDED_SHOWN_MS
        expired = [
            order_id
            for order_id, marker in self._orders.items()
            if marker.status in _ENDED and marker.updated_at < before_ms
        ]
        for order_id in expired:
            del self._orders[order_id]
        return (
            marker
            for marker in self._orders.values()
            if any(_contains(box, place) for place in (marker.pickup, marker.dropoff))
        )


def _contains(box: Bbox, place: LatLng | None) -> bool:
    return (
        place is not None
        and box.south <= place.lat <= box.north
        and box.west <= place.lng <= box.east
    )


def _rider_marker(
    rider: IndexedRider, now_ms: int, freshness_limits: FreshnessLimits
) -> RiderMarker:
    age_ms = now_ms - rider.seen_at_ms
    return RiderMarker(
        rider_id=rider.rider_id,
        lat=rider.lat,
        lng=rider.lng,
        heading=rider.heading,
        accuracy=rider.accuracy,
        ts=rider.ts,
        received_at=rider.seen_at_ms,
        state=freshness_limits.of_age(age_ms),
        duty=rider.duty_status,
    )


def _changed_riders(
    before: dict[str, RiderMarker], after: dict[str, RiderMarker]
) -> list[RiderMarker]:
    changed = [marker for rider, marker in after.items() if before.get(rider) != marker]
    gone = [RiderMarker(rider_id=rider, gone=True) for rider in before.keys() - after.keys()]
    return changed + gone


def _changed_orders(
    before: dict[str, OrderMarker], after: dict[str, OrderMarker]
) -> list[OrderMarker]:
    changed = [marker for order, marker in after.items() if before.get(order) != marker]
    gone = [OrderMarker(order_id=order, gone=True) for order in before.keys() - after.keys()]
    return changed + gone
