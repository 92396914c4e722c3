"""The operators' live map: who watches which window, and what changed inside it each second."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import structlog

from dispatch import keys
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.operations_board import OperationsBoard, parse_line
from dispatch.model import TERMINAL_STATUSES
from dispatch.storage.pubsub import PubSub
from dispatch.tracking.stores.geo_cells import BoundingBox
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_facts import IndexedRider
from dispatch.wire import frames
from dispatch.wire.commands import Bbox
from dispatch.wire.events import AreaDelta, LatLng, OrderMarker, RiderMarker
from handlers.sessions.session_registry import PacketSender

# Source: a map that moves once a second reads as live, and a city costs one query a second.
TICK_S = 1.0
# Orders kept on this node's copy of the board; it is bounded by what is open in the city.
BOARD_ORDERS_MAX = 50_000
# How long the map still shows an order that has ended.
ENDED_SHOWN_MS = 3_000
_ENDED = frozenset(status.value for status in TERMINAL_STATUSES)

log = structlog.get_logger(__name__)


class Viewport(msgspec.Struct):
    """One operator's window and what he has been shown of it."""

    bbox: Bbox
    sender: PacketSender
    riders: dict[str, RiderMarker] = {}
    orders: dict[str, OrderMarker] = {}


class FixAgeLimits(NamedTuple):
    """How old a fix may be. Units: milliseconds."""

    fresh_ms: int
    lost_ms: int


class ViewportFeed:
    """Every watched window of this node."""

    def __init__(
        self,
        board: OperationsBoard,
        positions: Positions,
        pubsub: PubSub,
        clock: Clock,
        age_limits: FixAgeLimits,
    ) -> None:
        self._board = board
        self._positions = positions
        self._pubsub = pubsub
        self._clock = clock
        self._age_limits = age_limits
        self._viewports: dict[str, Viewport] = {}
        self._orders: dict[str, OrderMarker] = {}
        self._is_loaded = False
        self._is_listening = False
        pubsub.on_gap(self._discard_board)

    async def watch(self, sid: str, bbox: Bbox, sender: PacketSender) -> AreaDelta:
        """Show a window; what it holds now, and deltas from here on.

        Errors: StoreUnavailable.
        """
        await self._load_board()
        window = Viewport(bbox=bbox, sender=sender)
        snapshot = await self._compute_delta(window)
        self._viewports[sid] = window
        return snapshot

    def unwatch(self, sid: str) -> None:
        """Show it no more."""
        self._viewports.pop(sid, None)

    async def run(self) -> None:
        """Tell every window its changes, for as long as the server runs."""
        while True:
            await asyncio.sleep(TICK_S)
            if self._viewports:
                await self.tick()

    async def tick(self) -> None:
        """Tell every window what changed since the last tick."""
        try:
            await self._load_board()
            for window in list(self._viewports.values()):
                delta = await self._compute_delta(window)
                window.sender.send_event(frames.encode_event("/ops", delta))
        except StoreUnavailable as error:
            # The map stands still while Redis is away; the next tick tells the difference.
            log.warning("area_tick_missed", cause=error.cause)

    async def _load_board(self) -> None:
        if self._is_loaded:
            return
        if not self._is_listening:
            self._is_listening = True
            await self._pubsub.subscribe(keys.board_channel(), self._on_board_message)
        self._is_loaded = True
        for line in await self._read_board():
            known = self._orders.get(line.order_id)
            if known is None or known.version < line.version:
                self._orders[line.order_id] = line

    async def _read_board(self) -> list[OrderMarker]:
        try:
            return await self._board.read()
        except StoreUnavailable:
            # Nothing was read: the next look asks again.
            self._is_loaded = False
            raise

    def _discard_board(self) -> None:
        # What the board said meanwhile is unknown; the subscription itself was renewed.
        self._orders.clear()
        self._is_loaded = False

    def _on_board_message(self, message: bytes) -> None:
        line = parse_line(message)
        known = self._orders.get(line.order_id)
        if (known is None or known.version < line.version) and len(self._orders) < BOARD_ORDERS_MAX:
            self._orders[line.order_id] = line

    async def _compute_delta(self, viewport: Viewport) -> AreaDelta:
        box = viewport.bbox
        now_ms = self._clock.now_ms()
        seen = await self._positions.find_in_box(
            BoundingBox(south=box.south, west=box.west, north=box.north, east=box.east),
            now_ms - self._age_limits.lost_ms,
        )
        riders = {each.rider_id: _rider_marker(each, now_ms, self._age_limits) for each in seen}
        orders = {line.order_id: line for line in self._orders_in(box)}
        delta = AreaDelta(
            riders=_changed_riders(viewport.riders, riders),
            orders=_changed_orders(viewport.orders, orders),
            totals=await self._board.totals(now_ms),
            ts=now_ms,
        )
        viewport.riders, viewport.orders = riders, orders
        return delta

    def _orders_in(self, box: Bbox) -> Iterable[OrderMarker]:
        """Orders with an end in the window; one that has ended is shown for a moment more."""
        before_ms = self._clock.now_ms() - ENDED_SHOWN_MS
        over = [
            order_id
            for order_id, line in self._orders.items()
            if line.status in _ENDED and line.updated_at < before_ms
        ]
        for order_id in over:
            del self._orders[order_id]
        return (
            line
            for line in self._orders.values()
            if any(_contains(box, place) for place in (line.pickup, line.dropoff))
        )


def _contains(box: Bbox, place: LatLng | None) -> bool:
    return (
        place is not None
        and box.south <= place.lat <= box.north
        and box.west <= place.lng <= box.east
    )


def _rider_marker(rider: IndexedRider, now_ms: int, age_limits: FixAgeLimits) -> RiderMarker:
    age_ms = now_ms - rider.seen_at_ms
    return RiderMarker(
        rider_id=rider.rider_id,
        lat=rider.lat,
        lng=rider.lng,
        heading=rider.heading,
        accuracy=rider.accuracy,
        ts=rider.ts,
        received_at=rider.seen_at_ms,
        state="live" if age_ms <= age_limits.fresh_ms else "stale",
        duty=rider.duty_status,
    )


def _changed_riders(
    before: dict[str, RiderMarker], after: dict[str, RiderMarker]
) -> list[RiderMarker]:
    changed = [dot for rider, dot in after.items() if before.get(rider) != dot]
    gone = [RiderMarker(rider_id=rider, gone=True) for rider in before.keys() - after.keys()]
    return changed + gone


def _changed_orders(
    before: dict[str, OrderMarker], after: dict[str, OrderMarker]
) -> list[OrderMarker]:
    changed = [dot for order, dot in after.items() if before.get(order) != dot]
    gone = [OrderMarker(order_id=order, gone=True) for order in before.keys() - after.keys()]
    return changed + gone
