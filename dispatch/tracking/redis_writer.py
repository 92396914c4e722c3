"""From this node's seats to Redis: bounded, newest first, one pipeline at a time.

Step 4 of a fix's way: tracking.watch → [here] → store.positions.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.model import Position
from dispatch.tracking.rider_state import Seat
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import Gone, Placed
from dispatch.tracking.watchers import packet_of

# A pipeline of so many riders takes 5 ms of this process; more wait for the next one.
# Source: measured 2026-11-21, 10 us a rider with an order (bench/lane.py).
BATCH_MAX = 500
# Source: promise, listeners are back within 2 s of Redis.
RETRY_S = 0.25

log = structlog.get_logger(__name__)


class Writer(Protocol):
    """Where positions go."""

    async def put(self, batch: Sequence[Placed], gone: Sequence[Gone] = ()) -> frozenset[str]:
        """Write a batch; the orders that somebody on another node watches.

        Errors: StoreUnavailable.
        """
        ...


class _Taken(msgspec.Struct, frozen=True, gc=False):
    """A seat as it went into a batch."""

    seat: Seat
    placed: Placed | None
    gone: Gone | None
    trail: list[tuple[str, Position]]


class Drain:
    """The riders whose newest state Redis does not have yet, each once, however often he reports.

    Above `riders_max` the rider who has waited longest is dropped and counted.
    """

    def __init__(self, writer: Writer, clock: Clock, flush_ms: int, riders_max: int) -> None:
        self._writer = writer
        self._clock = clock
        self._flush_s = flush_ms / 1000
        self._riders_max = riders_max
        self._waiting: dict[str, Seat] = {}
        self._coalesced = 0
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        self._lock = asyncio.Lock()
        self._is_away = False

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, seat: Seat) -> None:
        """The seat has a new fix."""
        if seat.rider_id in self._waiting:
            self._coalesced += not seat.orders
        else:
            self.touch(seat)

    def touch(self, seat: Seat) -> None:
        """The seat has changed."""
        waiting = self._waiting
        # A rider who was forgotten and came back has another seat.
        waiting[seat.rider_id] = seat
        count = len(waiting)
        if count == 1:
            self._some.set()
        elif count >= BATCH_MAX:
            self._many.set()
            if count > self._riders_max:
                self._drop_oldest()

    async def run(self) -> None:
        """Flush by size or age, for as long as the server runs."""
        while True:
            await self._some.wait()
            await self._wait_for_more()
            try:
                await self.flush()
            except StoreUnavailable as error:
                self._note_away(error)
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> None:
        """Bring the riders who wait longest to Redis, at most `BATCH_MAX`; one flush at a time.

        Errors: StoreUnavailable; nothing is lost, they wait on.
        """
        async with self._lock:
            batch = self._take()
            if not batch:
                return
            began_s = self._clock.monotonic_s()
            await self._write(batch)
            self._is_away = False
            metrics.DRAIN_FLUSH_SECONDS.observe(self._clock.monotonic_s() - began_s)
            metrics.DRAIN_BATCH.observe(len(batch))
            self._count()

    async def _write(self, batch: Sequence[_Taken]) -> None:
        is_settled = False
        try:
            heard = await self._writer.put(
                [each.placed for each in batch if each.placed],
                [each.gone for each in batch if each.gone],
            )
            is_settled = True
        except (StoreUnavailable, asyncio.CancelledError):
            self._put_back(batch)
            is_settled = True
            raise
        finally:
            if not is_settled:
                # A bug of ours: the same batch would fail for ever, and everyone behind it.
                metrics.DRAIN_DROPPED.labels("failed").inc(len(batch))
        for taken in batch:
            seat, placed = taken.seat, taken.placed
            seat.cell = placed.cell if placed else None
            if placed and placed.packets:
                seat.is_heard = bool(heard) and not heard.isdisjoint(seat.orders)

    async def close(self, deadline_s: float) -> None:
        """Flush what waits within a deadline; what is left is counted and forgotten."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._flush_all()
        except TimeoutError:
            log.warning("drain_closed_early", riders=len(self._waiting))
        if self._waiting:
            metrics.DRAIN_DROPPED.labels("closed").inc(len(self._waiting))
            self._waiting.clear()
        metrics.DRAIN_WAITING.set(0)

    async def _flush_all(self) -> None:
        while self._waiting:
            try:
                await self.flush()
            except StoreUnavailable as error:
                self._note_away(error)
                await asyncio.sleep(RETRY_S)

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(self._flush_s):
                await self._many.wait()
        except TimeoutError:
            return

    def _take(self) -> list[_Taken]:
        """Riders who have waited longest, as they are now; whoever changes from here on waits."""
        waiting = self._waiting
        if len(waiting) <= BATCH_MAX:
            seats = list(waiting.values())
            waiting.clear()
            self._some.clear()
        else:
            seats = [waiting.pop(rider_id) for rider_id in list(waiting)[:BATCH_MAX]]
        if len(waiting) < BATCH_MAX:
            self._many.clear()
        return [_taken(seat, seat.last.position) for seat in seats if seat.last is not None]

    def _put_back(self, batch: Sequence[_Taken]) -> None:
        """What was not written waits again, before those who came meanwhile."""
        for taken in batch:
            seat = taken.seat
            seat.flushed = None
            seat.trail[:0] = taken.trail
            count_lost(seat.trim())
        before = {taken.seat.rider_id: taken.seat for taken in batch}
        self._waiting = before | self._waiting
        self._some.set()
        while len(self._waiting) > self._riders_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        del self._waiting[next(iter(self._waiting))]
        metrics.DRAIN_DROPPED.labels("overflow").inc()

    def _note_away(self, error: StoreUnavailable) -> None:
        self._count()
        if not self._is_away:
            self._is_away = True
            log.warning("drain_away", cause=error.cause, riders=len(self._waiting))

    def _count(self) -> None:
        metrics.DRAIN_WAITING.set(len(self._waiting))
        if self._coalesced:
            metrics.DRAIN_DROPPED.labels("coalesced").inc(self._coalesced)
            self._coalesced = 0


def count_lost(fixes: int) -> None:
    """Count fixes that a trail will not have because too many waited."""
    if fixes:
        metrics.DRAIN_DROPPED.labels("trail").inc(fixes)


def _taken(seat: Seat, position: Position) -> _Taken:
    """A seat as it is now, for one batch; what it brings along is taken out of it."""
    trail, seat.trail = seat.trail, []
    is_news = position is not seat.flushed
    seat.flushed = position
    cell = cell_of(position.lat, position.lng) if seat.is_indexed else None
    gone = None
    if cell is None and seat.cell is not None:
        gone = Gone(seat.rider_id, seat.cell, position.received_at)
    placed = None
    if cell is not None or trail or (is_news and seat.orders):
        # By place: names would take twice as long.
        placed = Placed(
            seat.rider_id,
            position,
            seat.facts,
            cell,
            seat.cell if cell else None,
            trail,
            _packets(seat, position) if is_news else (),
        )
    return _Taken(seat, placed, gone, trail)


def _packets(seat: Seat, position: Position) -> list[tuple[str, bytes]]:
    packets = [(order_id, packet_of(seat, position, order_id)) for order_id in seat.orders]
    if seat.notes:
        packets += seat.notes
        seat.notes.clear()
    return packets
