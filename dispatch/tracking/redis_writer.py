"""Redis writer: writes the newest state of this node's riders to Redis, bounded and in batches.

Fixes between two flushes are coalesced: the newest position of a rider wins, trails keep all fixes.
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
from dispatch.tracking.stores.positions import IndexRemoval, PositionUpdate, PresenceUpdate
from dispatch.tracking.watchers import position_packet

# Riders in one pipeline, which takes 5 ms of this process; more wait for the next flush.
# Source: measured 2026-11-21, 10 us a rider with an order (bench/fix_pipeline.py).
BATCH_MAX = 500
# Pause after a failed flush.
# Source: docs/promises.md, watchers get positions again within 2 s of Redis being back.
RETRY_S = 0.25

log = structlog.get_logger(__name__)


class PositionSink(Protocol):
    """The store that positions are written to."""

    async def put(
        self,
        batch: Sequence[PositionUpdate],
        removals: Sequence[IndexRemoval] = (),
        presences: Sequence[PresenceUpdate] = (),
    ) -> frozenset[str]:
        """Write a batch; the orders that have watchers on another node.

        Errors: StoreUnavailable.
        """
        ...


class _BatchEntry(msgspec.Struct, frozen=True, gc=False):
    """A rider as it went into a batch."""

    rider: RiderState
    update: PositionUpdate | None
    removal: IndexRemoval | None
    trail: list[tuple[str, Position]]
    presence: PresenceUpdate | None = None


class RedisWriter:
    """Queue of the riders whose newest state is not in Redis yet, and the loop that writes it.

    Each rider waits once, however often it reports. Above `riders_max` the one that has waited
    longest is dropped and counted.
    """

    def __init__(
        self,
        sink: PositionSink,
        clock: Clock,
        flush_ms: int,
        riders_max: int,
        retry_s: float = RETRY_S,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._flush_s = flush_ms / 1000
        self._riders_max = riders_max
        self._retry_s = retry_s
        self._waiting: dict[str, RiderState] = {}
        self._coalesced_count = 0
        self._has_waiting = asyncio.Event()
        self._is_batch_full = asyncio.Event()
        self._lock = asyncio.Lock()
        self._is_redis_unavailable = False

    def __len__(self) -> int:
        return len(self._waiting)

    def enqueue_fix(self, rider: RiderState) -> None:
        """Queue a rider that has a new fix."""
        if rider.rider_id in self._waiting:
            self._coalesced_count += not rider.orders
        else:
            self.enqueue(rider)

    def enqueue(self, rider: RiderState) -> None:
        """Queue a rider that has changed without a new fix."""
        waiting = self._waiting
        # A rider that was forgotten and connected again has another state object.
        waiting[rider.rider_id] = rider
        count = len(waiting)
        if count == 1:
            self._has_waiting.set()
        elif count >= BATCH_MAX:
            self._is_batch_full.set()
            if count > self._riders_max:
                self._drop_oldest()

    async def run(self) -> None:
        """Background loop: flush when a batch is full or `flush_ms` old."""
        while True:
            await self._has_waiting.wait()
            await self._wait_for_more()
            try:
                await self.flush()
            except StoreUnavailable as error:
                self._note_unavailable(error)
                await asyncio.sleep(self._retry_s)

    async def flush(self) -> None:
        """Write the `BATCH_MAX` riders that have waited longest; one flush runs at a time.

        Errors: StoreUnavailable; the batch waits for the next flush.
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
        is_handled = False
        try:
            watched_orders = await self._sink.put(
                [each.update for each in batch if each.update],
                [each.removal for each in batch if each.removal],
                [each.presence for each in batch if each.presence],
            )
            is_handled = True
        except (StoreUnavailable, asyncio.CancelledError):
            self._requeue(batch)
            is_handled = True
            raise
        finally:
            if not is_handled:
                # A bug: the same batch would fail again and hold up all riders behind it.
                metrics.POSITION_WRITER_DROPPED.labels("failed").inc(len(batch))
        for entry in batch:
            rider, update = entry.rider, entry.update
            rider.indexed_cell = update.cell if update else None
            if update and update.packets:
                rider.is_watched_elsewhere = not watched_orders.isdisjoint(rider.orders)

    async def close(self, deadline_s: float) -> None:
        """Flush all waiting riders within a deadline; those left are counted and dropped.

        Units: seconds.
        """
        try:
            async with asyncio.timeout(deadline_s):
                await self._flush_all()
        except TimeoutError:
            log.warning("position_flush_timed_out", riders=len(self._waiting))
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
                await asyncio.sleep(self._retry_s)

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(self._flush_s):
                await self._is_batch_full.wait()
        except TimeoutError:
            return

    def _take_batch(self) -> list[_BatchEntry]:
        """Take the riders that have waited longest, as they are now."""
        waiting = self._waiting
        if len(waiting) <= BATCH_MAX:
            riders = list(waiting.values())
            waiting.clear()
            self._has_waiting.clear()
        else:
            riders = [waiting.pop(rider_id) for rider_id in list(waiting)[:BATCH_MAX]]
        if len(waiting) < BATCH_MAX:
            self._is_batch_full.clear()
        return [
            _presence_entry(rider)
            if rider.last_fix is None
            else _batch_entry(rider, rider.last_fix.position)
            for rider in riders
            if rider.last_fix is not None or rider.is_presence_due
        ]

    def _requeue(self, batch: Sequence[_BatchEntry]) -> None:
        """Put a batch that was not written back, before the riders that were queued since."""
        for entry in batch:
            rider = entry.rider
            rider.flushed_position = None
            rider.flushed_seen_ms = 0
            rider.pending_trail[:0] = entry.trail
            count_lost_trail_fixes(rider.trim_trail())
        unwritten = {entry.rider.rider_id: entry.rider for entry in batch}
        self._waiting = unwritten | self._waiting
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
            log.warning("position_flush_deferred", cause=error.cause, riders=len(self._waiting))

    def _export_counts(self) -> None:
        metrics.POSITION_WRITER_WAITING.set(len(self._waiting))
        if self._coalesced_count:
            metrics.POSITION_WRITER_DROPPED.labels("coalesced").inc(self._coalesced_count)
            self._coalesced_count = 0


def count_lost_trail_fixes(fixes: int) -> None:
    """Count fixes that are missing in a trail because too many waited for Redis."""
    if fixes:
        metrics.POSITION_WRITER_DROPPED.labels("trail").inc(fixes)


def _batch_entry(rider: RiderState, position: Position) -> _BatchEntry:
    """Make the batch entry of a rider; moves its pending trail and extra packets into the entry."""
    trail, rider.pending_trail = rider.pending_trail, []
    is_changed = position is not rider.flushed_position
    rider.flushed_position = position
    presence = None
    if rider.orders and rider.seen_at_ms > position.received_at:
        presence = PresenceUpdate(rider.rider_id, rider.presence)
    rider.flushed_seen_ms = rider.seen_at_ms
    cell = cell_of(position.lat, position.lng) if rider.is_indexed else None
    removal = None
    if cell is None and rider.indexed_cell is not None:
        removal = IndexRemoval(rider.rider_id, rider.indexed_cell, position.received_at)
    update = None
    if cell is not None or trail or (is_changed and rider.orders):
        # Positional: keyword arguments would take twice as long.
        update = PositionUpdate(
            rider.rider_id,
            position,
            rider.facts,
            cell,
            rider.indexed_cell if cell else None,
            trail,
            _watcher_packets(rider, position) if is_changed else (),
        )
    return _BatchEntry(rider, update, removal, trail, presence)


def _presence_entry(rider: RiderState) -> _BatchEntry:
    """The batch entry of a rider who carries an order and has sent no usable fix."""
    rider.flushed_seen_ms = rider.seen_at_ms
    return _BatchEntry(rider, None, None, [], PresenceUpdate(rider.rider_id, rider.presence))


def _watcher_packets(rider: RiderState, position: Position) -> list[tuple[str, bytes]]:
    packets = [(order_id, position_packet(rider, position, order_id)) for order_id in rider.orders]
    if rider.extra_packets:
        packets += rider.extra_packets
        rider.extra_packets.clear()
    return packets
