"""Fix pipeline: takes a rider's GPS fixes through checks, watchers and the Redis writer.

Plain functions that await nothing: when `process_fix` returns, the watchers on this node have the
position. `check_fix` decides, `_apply` does what follows from an accepted fix.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import msgspec

from dispatch import metrics
from dispatch.model import Position
from dispatch.tracking.checks import AGE_MAX_MS, check_fix, to_doubtful_fix
from dispatch.tracking.fixes.model import AcceptedFix, Drop, FixHistory
from dispatch.tracking.redis_writer import RedisWriter, count_lost_trail_fixes
from dispatch.tracking.reporting_interval import IDLE
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.rider_state import RiderState
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix
from dispatch.wire.events import Freshness

_DROPPED = {drop: metrics.FIXES_DROPPED.labels(drop.value) for drop in Drop}


class ShownPosition(NamedTuple):
    """A rider's position with its freshness."""

    position: Position
    freshness: Freshness


class _BatchFix(NamedTuple):
    """A fix of a batch, as it was sent and as the checks of the batch accepted it."""

    fix: Fix
    accepted: AcceptedFix


class FixPipeline:
    """Checks each fix, sends accepted ones to the watchers here, and queues them for Redis."""

    def __init__(
        self,
        rider_registry: RiderRegistry,
        watchers: Watchers,
        writer: RedisWriter,
        tracking_rules: TrackingRules,
    ) -> None:
        self._rider_registry = rider_registry
        self._watchers = watchers
        self._writer = writer
        self._tracking_rules = tracking_rules
        self._fix_rules = rider_registry.fix_rules
        # A fix for the trail may be old.
        self._late_rules = self._fix_rules._replace(fresh_ms=AGE_MAX_MS)
        # Riders whose newest position was made too long ago to be live; shown by the next sweep.
        self._catching_up: dict[str, tuple[RiderState, AcceptedFix]] = {}
        # Counted here and exported by `sweep`: a counter's lock costs as much as a check.
        self._received_count = 0
        self._relayed_count = 0
        self._clock_ahead_count = 0
        self._not_moved_count = 0
        self._late_count = 0

    def process_fix(self, rider_id: str, fix: Fix, now_ms: int) -> Drop | None:
        """Take one fix of a rider of this node; None where it was accepted.

        One that was made too long ago to be shown is kept for the trail. It is accepted where it is
        newer than the position that is shown, and STALE where it is older.

        Units: Unix milliseconds.
        """
        self._received_count += 1
        rider = self._rider_registry.get(rider_id)
        if rider is None:
            _DROPPED[Drop.ABSENT].inc()
            return Drop.ABSENT
        rider.seen_at_ms = now_ms
        result = check_fix(rider, fix, now_ms, self._fix_rules)
        if isinstance(result, Drop):
            return self._drop(rider, fix, result, now_ms)
        self._apply(rider, result)
        return None

    def process_batch(self, rider_id: str, fixes: Sequence[Fix], now_ms: int) -> dict[str, int]:
        """Take the fixes that an app kept while it was offline; how many were accepted and dropped.

        All accepted ones go into the trails of the rider's orders; the newest moves the marker if
        it is fresh and newer than what the map shows.

        Shapes: {"accepted": n, <drop reason>: n, ...}. Units: Unix milliseconds.
        """
        self._received_count += len(fixes)
        rider = self._rider_registry.get(rider_id)
        if rider is None:
            _DROPPED[Drop.ABSENT].inc(len(fixes))
            return {"accepted": 0, Drop.ABSENT.value: len(fixes)}
        rider.seen_at_ms = now_ms
        counts = Counter(accepted=0)
        ordered = sorted(fixes, key=_sort_key)
        _follow_clock(rider, ordered, now_ms)
        stream, accepted = rider.new_stream(), list[_BatchFix]()
        for fix in ordered:
            result = check_fix(stream, fix, now_ms, self._late_rules)
            if isinstance(result, Drop):
                _note_drop(stream, fix, result, now_ms)
                rider.count_dropped(result.value, fix.accuracy)
                counts[result.value] += 1
            else:
                stream.advance(result)
                accepted.append(_BatchFix(fix, result))
        counts["accepted"] = len(accepted)
        self._apply_batch(rider, accepted, now_ms)
        return dict(counts)

    def restore(self, rider_id: str, position: Position) -> None:
        """Take over the last position that Redis has of a rider who has just connected here."""
        rider = self._rider_registry.get(rider_id)
        if rider is not None and rider.last_fix is None:
            rider.last_fix = AcceptedFix(position, position.ts)
            # Its sequence number was counted by a connection that has ended.
            rider.forget_seq()
            rider.flushed_position = rider.position
            rider.indexed_cell = cell_of(position.lat, position.lng)
            self._writer.enqueue(rider)

    def send_tracking_policy(self, rider_id: str) -> None:
        """Send the reporting interval to an app of the rider that has just connected."""
        rider = self._rider_registry.get(rider_id)
        if rider is not None:
            self._tracking_rules.send_tracking_policy(rider)

    def last_position(self, rider_id: str) -> ShownPosition | None:
        """The last position of a rider of this node, None where this node has none."""
        rider = self._rider_registry.get(rider_id)
        if rider is None or rider.last_fix is None:
            return None
        return ShownPosition(rider.last_fix.position, rider.freshness)

    def sweep(self, now_ms: int) -> int:
        """Send changes of freshness to the watchers and export the counters; called every second.

        So a rider of this node, or one of a node that died, becomes stale or lost at most a second
        late. Returns how many fixes were received since the last call.

        Units: Unix milliseconds.
        """
        self._show_catching_up(now_ms)
        for rider in self._rider_registry.sweep(now_ms):
            # Makes the next flush publish the new freshness although the position is the same.
            rider.flushed_position = None
            assert rider.last_fix is not None, "only a rider with a fix can become stale"
            self._relayed_count += self._watchers.relay_position(rider, rider.last_fix.position)
        self._watchers.downgrade_silent(now_ms, self._rider_registry.limits)
        metrics.FIXES_RECEIVED.inc(self._received_count)
        metrics.FIXES_RELAYED.inc(self._relayed_count)
        metrics.FIXES_CLOCK_AHEAD.inc(self._clock_ahead_count)
        _DROPPED[Drop.NOT_MOVED].inc(self._not_moved_count)
        _DROPPED[Drop.LATE].inc(self._late_count)
        metrics.CLOCK_STEPS.inc(self._rider_registry.take_clock_steps())
        received = self._received_count
        self._received_count = self._relayed_count = self._clock_ahead_count = (
            self._not_moved_count
        ) = self._late_count = 0
        return received

    async def flush(self) -> None:
        """Write what has changed here to Redis now instead of with the next flush.

        Errors: StoreUnavailable; nothing is lost, the writer tries again.
        """
        await self._writer.flush()

    def _apply(self, rider: RiderState, accepted: AcceptedFix) -> None:
        rider.last_fix, rider.doubtful_fix = accepted, None
        if rider.dropped:
            rider.dropped = {}
        self._clock_ahead_count += accepted.was_clock_ahead
        if not rider.is_marked_local or rider.freshness != "live":
            self._rider_registry.mark_live(rider)
        if rider.orders:
            self._relayed_count += self._watchers.relay_position(rider, accepted.position)
            if accepted.has_moved:
                rider.trail_anchor = accepted.position
                count_lost_trail_fixes(rider.add_to_trail(accepted.position))
            else:
                self._not_moved_count += 1
            if accepted.position.received_at >= rider.rules_due_ms:
                self._tracking_rules.evaluate_fix(rider, accepted.position)
            self._writer.enqueue_fix(rider)
            return
        if rider.reporting_interval is not IDLE:
            self._tracking_rules.set_idle(rider)
        if rider.available:
            self._writer.enqueue_fix(rider)

    def _apply_batch(self, rider: RiderState, batch: Sequence[_BatchFix], now_ms: int) -> None:
        """Move the marker to the newest fix of a batch where it may; add the others to trails."""
        newest: AcceptedFix | None = None
        if batch:
            # After a long distance the fix before the newest one confirms it.
            rider.doubtful_fix = batch[-2].accepted if len(batch) > 1 else rider.doubtful_fix
            result = check_fix(rider, batch[-1].fix, now_ms, self._fix_rules)
            if isinstance(result, AcceptedFix):
                newest = result
            elif result is Drop.STALE:
                self._catch_up(rider, batch[-1].accepted)
        for late in batch[:-1] if newest else batch:
            self._add_to_trail(rider, late.accepted)
        if newest:
            self._apply(rider, newest)
        elif rider.pending_trail and rider.last_fix is not None:
            self._writer.enqueue(rider)

    def _drop(self, rider: RiderState, fix: Fix, drop: Drop, now_ms: int) -> Drop | None:
        """Keep a late fix for the trail, or count why a fix is dropped; the result of the fix."""
        if drop is Drop.STALE:
            late = self._check_late(rider, fix, now_ms)
            if late is not None:
                self._add_to_trail(rider, late)
                if rider.pending_trail and rider.last_fix is not None:
                    self._writer.enqueue_fix(rider)
                return None if self._catch_up(rider, late) else drop
        _note_drop(rider, fix, drop, now_ms)
        rider.count_dropped(drop.value, fix.accuracy)
        return drop

    def _check_late(self, rider: RiderState, fix: Fix, now_ms: int) -> AcceptedFix | None:
        """Check a fix that is too old for the marker against others like it."""
        if rider.last_fix is not None and _is_same(fix, rider.last_fix):
            return None
        late = rider.late or rider.new_stream()
        late.clock.offset_ms = rider.clock.offset_ms
        result = check_fix(late, fix, now_ms, self._late_rules)
        if result is Drop.STALE:
            # It is older than the last late one: an app may send the newest ones first.
            late = rider.new_stream()
            result = check_fix(late, fix, now_ms, self._late_rules)
        if isinstance(result, Drop):
            return None
        late.advance(result)
        rider.late = late
        return result

    def _add_to_trail(self, rider: RiderState, late: AcceptedFix) -> None:
        if late.has_moved:
            count_lost_trail_fixes(rider.add_to_trail(late.position))
            self._late_count += 1
        else:
            self._not_moved_count += 1

    def _catch_up(self, rider: RiderState, late: AcceptedFix) -> bool:
        """Have the next sweep show a position that is old, yet newer than the one that is known."""
        if not _is_after(late, rider):
            return False
        self._catching_up[rider.rider_id] = (rider, late)
        return True

    def _show_catching_up(self, now_ms: int) -> None:
        """Show the newest old positions of riders for whom nothing newer has come since.

        Their age counts from when they were made, so that they are never live.
        """
        waiting, self._catching_up = self._catching_up, {}
        for rider, late in waiting.values():
            is_here = self._rider_registry.get(rider.rider_id) is rider
            if not is_here or not _is_after(late, rider):
                continue
            made_at = msgspec.structs.replace(late.position, received_at=late.position.ts)
            rider.last_fix = msgspec.structs.replace(late, position=made_at)
            rider.freshness = self._rider_registry.limits.of_age(now_ms - made_at.ts)
            rider.flushed_position = None
            self._relayed_count += self._watchers.relay_position(rider, made_at)
            self._writer.enqueue(rider)


def _note_drop(history: FixHistory, fix: Fix, drop: Drop, now_ms: int) -> None:
    """Count a drop, and remember a doubtful fix."""
    if drop is Drop.TELEPORT:
        history.doubtful_fix = to_doubtful_fix(history, fix, now_ms)
    _DROPPED[drop].inc()


def _follow_clock(rider: RiderState, ordered: Sequence[Fix], now_ms: int) -> None:
    """Date a batch by its newest fix where that lies in the future."""
    times = [fix.ts for fix in ordered if fix.ts is not None and 0 < fix.ts < inf]
    if times:
        rider.clock.follow(int(times[-1]), now_ms)


def _is_after(late: AcceptedFix, rider: RiderState) -> bool:
    """Whether an old position is newer than the one that is known."""
    return rider.position is None or late.position.ts > rider.position.ts


def _is_same(fix: Fix, last: AcceptedFix) -> bool:
    """Whether a packet was sent twice."""
    return (fix.lat, fix.lng, fix.seq) == (last.position.lat, last.position.lng, last.position.seq)


def _sort_key(fix: Fix) -> tuple[float, int]:
    """The time of a fix for sorting; one without a time counts as the latest."""
    ts = fix.ts
    # NaN is not above 0 either; it could not be sorted.
    return (ts if ts is not None and ts > 0 else inf, fix.seq or 0)
