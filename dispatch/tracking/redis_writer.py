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
from dispatch.tracking.rider_state import RiderState
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import IndexRemoval, PositionUpdate
from dispatch.tracking.watchers import position_packet

# A pipeline of so many riders takes 5 ms of this process; more wait for the next one.
# Source: measured 2026-11-21, 10 us a rider with an order (bench/lane.py).
BATCH_MAX = 500
# Source: promise, listeners are back within 2 s of Redis.
RETRY_S = 0.25

log = structlog.get_logger(__name__)


class PositionSink(Protocol):
    """Where positions go."""

    async def put(
        self, batch: Sequence[PositionUpdate], removals: Sequence[IndexRemoval] = ()
    ) -> frozenset[str]:
        """Write a batch; the orders that somebody on another node watches.

        Errors: StoreUnavailable.
        """
        ...


class _BatchEntry(msgspec.Struct, frozen=True, gc=False):
    """A seat as it went into a batch."""

    rider: RiderState
    update: PositionUpdate | None
    removal: IndexRemoval | None
    trail: list[tuple[str, Position]]


class RedisWriter:
    """The riders whose newest state Redis does not have yet, each once, however often he reports.

    Above `riders_max` the rider who has waited longest is dropped and counted.
    """

    def __init__(self, sink: PositionSink, clock: Clock, flush_ms: int, riders_max: int) -> None:
        self._sink = sink
        self._clock = clock
        self._flush_s = flush_ms / 1000
        self._riders_max = riders_max
        self._waiting: dict[str, RiderState] = {}
        self._coalesced_count = 0
        self._has_waiting = asyncio.Event()
        self._is_batch_full = asyncio.Event()
        self._lock = asyncio.Lock()
        self._is_redis_unavailable = False

    def __len__(self) -> int:
        return len(self._waiting)

    def enqueue_fix(self, rider: RiderState) -> None:
        """The seat has a new fix."""
        if rider.rider_id in self._waiting:
            self._coalesced_count += not rider.orders
        else:
            self.enqueue(rider)

    def enqueue(self, rider: RiderState) -> None:
        """The seat has changed."""
        waiting = self._waiting
        # A rider who was forgotten and came back has another seat.
        waiting[rider.rider_id] = rider
        count = len(waiting)
        if count == 1:
            self._has_waiting.set()
        elif count >= BATCH_MAX:
            self._is_batch_full.set()
            if count > self._riders_max:
                self._drop_oldest()

    async def run(self) -> None:
        """Flush by size or age, for as long as the server runs."""
        while True:
            await self._has_waiting.wait()
            await self._wait_for_more()
            try:
                await self.flush()
            except StoreUnavailable as error:
                self._note_unavailable(error)
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> None:
        """Bring the riders who wait longest to Redis, at most `BATCH_MAX`; one flush at a time.

        Errors: StoreUnavailable; nothing is lost, they wait on.
        """
        async with self._lock:
            batch = self._take_batch()
            if not batch:
                return
            began_s = self._clock.monotonic_s()
            await self._write(batch)
            self._is_redis_unavailable = False
            metrics.POSITION_WRITER_FLUSH_SECONDS.observe(self._clock.monotonic_s() - began_s)
            metrics.POSITION_WRITER_BATCH.observe(len(batch))
            self._export_counts()

    async def _write(self, batch: Sequence[_BatchEntry]) -> None:
        is_settled = False
        try:
            heard = await self._sink.put(
                [each.update for each in batch if each.update],
                [each.removal for each in batch if each.removal],
            )
            is_settled = True
        except (StoreUnavailable, asyncio.CancelledError):
            self._requeue(batch)
            is_settled = True
            raise
        finally:
            if not is_settled:
                # A bug of ours: the same batch would fail for ever, and everyone behind it.
                metrics.POSITION_WRITER_DROPPED.labels("failed").inc(len(batch))
        for taken in batch:
            seat, placed = taken.rider, taken.update
            seat.indexed_cell = placed.cell if placed else None
            if placed and placed.packets:
                seat.is_watched_elsewhere = bool(heard) and not heard.isdisjoint(seat.orders)

    async def close(self, deadline_s: float) -> None:
        """Flush what waits within a deadline; what is left is counted and forgotten."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._flush_all()
        except TimeoutError:
            log.warning("drain_closed_early", riders=len(self._waiting))
        if self._waiting:
            metrics.POSITION_WRITER_DROPPED.labels("closed").inc(len(self._waiting))
            self._waiting.clear()
        metrics.POSITION_WRITER_WAITING.set(0)

    async def _flush_all(self) -> None:
        while self._waiting:
            try:
                await self.flush()
            except StoreUnavailable as error:
                self._note_unavailable(error)
                await asyncio.sleep(RETRY_S)

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(self._flush_s):
                await self._is_batch_full.wait()
        except TimeoutError:
            return

    def _take_batch(self) -> list[_BatchEntry]:
        """Riders who have waited longest, as they are now; whoever changes from here on waits."""
        waiting = self._waiting
        if len(waiting) <= BATCH_MAX:
            seats = list(waiting.values())
            waiting.clear()
            self._has_waiting.clear()
        else:
            seats = [waiting.pop(rider_id) for rider_id in list(waiting)[:BATCH_MAX]]
        if len(waiting) < BATCH_MAX:
            self._is_batch_full.clear()
        return [
            _batch_entry(seat, seat.last_fix.position)
            for seat in seats
            if seat.last_fix is not None
        ]

    def _requeue(self, batch: Sequence[_BatchEntry]) -> None:
        """What was not written waits again, before those who came meanwhile."""
        for taken in batch:
            seat = taken.rider
            seat.flushed_position = None
            seat.pending_trail[:0] = taken.trail
            count_lost_trail_fixes(seat.trim_trail())
        before = {taken.rider.rider_id: taken.rider for taken in batch}
        self._waiting = before | self._waiting
        self._has_waiting.set()
        while len(self._waiting) > self._riders_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        del self._waiting[next(iter(self._waiting))]
        metrics.POSITION_WRITER_DROPPED.labels("overflow").inc()

    def _note_unavailable(self, error: StoreUnavailable) -> None:
        self._export_counts()
        if not self._is_redis_unavailable:
            self._is_redis_unavailable = True
            log.warning("drain_away", cause=error.cause, riders=len(self._waiting))

    def _export_counts(self) -> None:
        metrics.POSITION_WRITER_WAITING.set(len(self._waiting))
        if self._coalesced_count:
            metrics.POSITION_WRITER_DROPPED.labels("coalesced").inc(self._coalesced_count)
            self._coalesced_count = 0


def count_lost_trail_fixes(fixes: int) -> None:
    """Count fixes that a trail will not have because too many waited."""
    if fixes:
        metrics.POSITION_WRITER_DROPPED.labels("trail").inc(fixes)


def _batch_entry(rider: RiderState, position: Position) -> _BatchEntry:
    """A seat as it is now, for one batch; what it brings along is taken out of it."""
    trail, rider.pending_trail = rider.pending_trail, []
    is_news = position is not rider.flushed_position
    rider.flushed_position = position
    cell = cell_of(position.lat, position.lng) if rider.is_indexed else None
    gone = None
    if cell is None and rider.indexed_cell is not None:
        gone = IndexRemoval(rider.rider_id, rider.indexed_cell, position.received_at)
    placed = None
    if cell is not None or trail or (is_news and rider.orders):
        # By place: names would take twice as long.
        placed = PositionUpdate(
            rider.rider_id,
            position,
            rider.facts,
            cell,
            rider.indexed_cell if cell else None,
            trail,
            _watcher_packets(rider, position) if is_news else (),
        )
    return _BatchEntry(rider, placed, gone, trail)


def _watcher_packets(rider: RiderState, position: Position) -> list[tuple[str, bytes]]:
    packets = [(order_id, position_packet(rider, position, order_id)) for order_id in rider.orders]
    if rider.extra_packets:
        packets += rider.extra_packets
        rider.extra_packets.clear()
    return packets
