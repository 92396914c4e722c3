"""The operators' live map: who watches which window, and what changed inside it each second."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import structlog

from dispatch import keys
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.operations_board import Board, parse_line
from dispatch.model import TERMINAL
from dispatch.storage.pubsub import Feeds
from dispatch.tracking.stores.geo_cells import Box
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_facts import Seen
from dispatch.wire import frames
from dispatch.wire.commands import Bbox
from dispatch.wire.events import AreaDelta, LatLng, OrderDot, RiderDot
from handlers.transport.send_buffer import Outlet

# Source: a map that moves once a second reads as live, and a city costs one query a second.
TICK_S = 1.0
# Orders kept on this node's copy of the board; it is bounded by what is open in the city.
LINES_MAX = 50_000
# How long the map still shows an order that has ended.
SHOWN_ENDED_MS = 3_000
_ENDED = frozenset(status.value for status in TERMINAL)

log = structlog.get_logger(__name__)


class Window(msgspec.Struct):
    """One operator's window and what he has been shown of it."""

    bbox: Bbox
    outlet: Outlet
    riders: dict[str, RiderDot] = {}
    orders: dict[str, OrderDot] = {}


class Span(NamedTuple):
    """How old a fix may be. Units: milliseconds."""

    fresh_ms: int
    lost_ms: int


class Areas:
    """Every watched window of this node."""

    def __init__(
        self, board: Board, positions: Positions, feeds: Feeds, clock: Clock, span: Span
    ) -> None:
        self._board = board
        self._positions = positions
        self._feeds = feeds
        self._clock = clock
        self._span = span
        self._windows: dict[str, Window] = {}
        self._lines: dict[str, OrderDot] = {}
        self._loaded = False
        self._listening = False
        feeds.on_gap(self._forget_lines)

    async def watch(self, sid: str, bbox: Bbox, outlet: Outlet) -> AreaDelta:
        """Show a window; what it holds now, and deltas from here on.

        Errors: StoreUnavailable.
        """
        await self._load()
        window = Window(bbox=bbox, outlet=outlet)
        snapshot = await self._look(window)
        self._windows[sid] = window
        return snapshot

    def unwatch(self, sid: str) -> None:
        """Show it no more."""
        self._windows.pop(sid, None)

    async def run(self) -> None:
        """Tell every window its changes, for as long as the server runs."""
        while True:
            await asyncio.sleep(TICK_S)
            if self._windows:
                await self.tick()

    async def tick(self) -> None:
        """Tell every window what changed since the last tick."""
        try:
            await self._load()
            for window in list(self._windows.values()):
                delta = await self._look(window)
                window.outlet.tell(frames.event_packet("/ops", delta))
        except StoreUnavailable as error:
            # The map stands still while Redis is away; the next tick tells the difference.
            log.warning("area_tick_missed", cause=error.cause)

    async def _load(self) -> None:
        if self._loaded:
            return
        if not self._listening:
            self._listening = True
            await self._feeds.open(keys.board_channel(), self._note)
        self._loaded = True
        for line in await self._read_board():
            known = self._lines.get(line.order_id)
            if known is None or known.version < line.version:
                self._lines[line.order_id] = line

    async def _read_board(self) -> list[OrderDot]:
        try:
            return await self._board.read()
        except StoreUnavailable:
            # Nothing was read: the next look asks again.
            self._loaded = False
            raise

    def _forget_lines(self) -> None:
        # What the board said meanwhile is unknown; the subscription itself was renewed.
        self._lines.clear()
        self._loaded = False

    def _note(self, message: bytes) -> None:
        line = parse_line(message)
        known = self._lines.get(line.order_id)
        if (known is None or known.version < line.version) and len(self._lines) < LINES_MAX:
            self._lines[line.order_id] = line

    async def _look(self, window: Window) -> AreaDelta:
        box = window.bbox
        now_ms = self._clock.now_ms()
        seen = await self._positions.in_box(
            Box(south=box.south, west=box.west, north=box.north, east=box.east),
            now_ms - self._span.lost_ms,
        )
        riders = {each.rider_id: _dot(each, now_ms, self._span) for each in seen}
        orders = {line.order_id: line for line in self._inside(box)}
        delta = AreaDelta(
            riders=_changed_riders(window.riders, riders),
            orders=_changed_orders(window.orders, orders),
            totals=await self._board.totals(now_ms),
            ts=now_ms,
        )
        window.riders, window.orders = riders, orders
        return delta

    def _inside(self, box: Bbox) -> Iterable[OrderDot]:
        """Orders with an end in the window; one that has ended is shown for a moment more."""
        before_ms = self._clock.now_ms() - SHOWN_ENDED_MS
        over = [
            order_id
            for order_id, line in self._lines.items()
            if line.status in _ENDED and line.updated_at < before_ms
        ]
        for order_id in over:
            del self._lines[order_id]
        return (
            line
            for line in self._lines.values()
            if any(_holds(box, place) for place in (line.pickup, line.dropoff))
        )


def _holds(box: Bbox, place: LatLng | None) -> bool:
    return (
        place is not None
        and box.south <= place.lat <= box.north
        and box.west <= place.lng <= box.east
    )


def _dot(seen: Seen, now_ms: int, span: Span) -> RiderDot:
    age_ms = now_ms - seen.seen_at_ms
    return RiderDot(
        rider_id=seen.rider_id,
        lat=seen.lat,
        lng=seen.lng,
        heading=seen.heading,
        accuracy=seen.accuracy,
        ts=seen.ts,
        received_at=seen.seen_at_ms,
        state="live" if age_ms <= span.fresh_ms else "stale",
        duty=seen.duty,
    )


def _changed_riders(before: dict[str, RiderDot], after: dict[str, RiderDot]) -> list[RiderDot]:
    changed = [dot for rider, dot in after.items() if before.get(rider) != dot]
    gone = [RiderDot(rider_id=rider, gone=True) for rider in before.keys() - after.keys()]
    return changed + gone


def _changed_orders(before: dict[str, OrderDot], after: dict[str, OrderDot]) -> list[OrderDot]:
    changed = [dot for order, dot in after.items() if before.get(order) != dot]
    gone = [OrderDot(order_id=order, gone=True) for order in before.keys() - after.keys()]
    return changed + gone
