"""Fix pipeline: takes a rider's GPS fixes through checks, watchers and the Redis writer.

Plain functions that await nothing: when `process_fix` returns, the watchers on this node have the
position. `check_fix` decides, `_apply` does what follows from an accepted fix.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from dispatch import metrics
from dispatch.model import Position
from dispatch.tracking.checks import (
    AcceptedFix,
    Drop,
    FixHistory,
    check_fix,
    to_doubtful_fix,
)
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


class _BatchHistory:
    """The fixes of one batch in order, kept apart from the history that the map shows."""

    __slots__ = ("doubtful_fix", "last_fix", "speed_max_mps", "trail_anchor")

    def __init__(self, speed_max_mps: float) -> None:
        self.last_fix: AcceptedFix | None = None
        self.doubtful_fix: AcceptedFix | None = None
        self.trail_anchor: Position | None = None
        self.speed_max_mps = speed_max_mps

    def advance(self, accepted: AcceptedFix) -> None:
        """Make an accepted fix the last one."""
        self.last_fix, self.doubtful_fix = accepted, None
        if accepted.has_moved:
            self.trail_anchor = accepted.position


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
        # Counted here and exported by `sweep`: a counter's lock costs as much as a check.
        self._received_count = 0
        self._relayed_count = 0
        self._clock_ahead_count = 0
        self._not_moved_count = 0

    def process_fix(self, rider_id: str, fix: Fix, now_ms: int) -> Drop | None:
        """Take one fix of a rider of this node; None where it was accepted.

        Units: Unix milliseconds.
        """
        self._received_count += 1
        rider = self._rider_registry.get(rider_id)
        if rider is None:
            _DROPPED[Drop.ABSENT].inc()
            return Drop.ABSENT
        rider.seen_at_ms = now_ms
        result = _check_and_count(rider, fix, now_ms)
        if isinstance(result, Drop):
            rider.count_dropped(result.value, fix.accuracy)
            return result
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
        history, accepted = _BatchHistory(rider.speed_max_mps), list[tuple[Fix, AcceptedFix]]()
        for fix in sorted(fixes, key=_sort_key):
            result = _check_and_count(history, fix, now_ms)
            if isinstance(result, Drop):
                counts[result.value] += 1
                rider.count_dropped(result.value, fix.accuracy)
            else:
                history.advance(result)
                accepted.append((fix, result))
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
        received = self._received_count
        self._received_count = self._relayed_count = self._clock_ahead_count = (
            self._not_moved_count
        ) = 0
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

    def _apply_batch(
        self, rider: RiderState, accepted: Sequence[tuple[Fix, AcceptedFix]], now_ms: int
    ) -> None:
        """Move the marker to the newest fix of a batch where it may; add the others to trails."""
        newest: AcceptedFix | None = None
        oldest_live_ms = now_ms - self._rider_registry.limits.fresh_ms
        if accepted and accepted[-1][1].position.ts >= oldest_live_ms:
            # After a long distance the fix before the newest one confirms it.
            rider.doubtful_fix = accepted[-2][1] if len(accepted) > 1 else rider.doubtful_fix
            result = check_fix(rider, accepted[-1][0], now_ms)
            newest = None if isinstance(result, Drop) else result
        for _, late in accepted[:-1] if newest else accepted:
            if late.has_moved:
                count_lost_trail_fixes(rider.add_to_trail(late.position))
            else:
                self._not_moved_count += 1
        if newest:
            self._apply(rider, newest)
        elif rider.pending_trail and rider.last_fix is not None:
            self._writer.enqueue(rider)


def _check_and_count(history: FixHistory, fix: Fix, now_ms: int) -> AcceptedFix | Drop:
    """Check a fix; count a drop, and remember a doubtful fix."""
    result = check_fix(history, fix, now_ms)
    if isinstance(result, Drop):
        if result is Drop.TELEPORT:
            history.doubtful_fix = to_doubtful_fix(history, fix, now_ms)
        _DROPPED[result].inc()
    return result


def _sort_key(fix: Fix) -> tuple[float, int]:
    """The time of a fix for sorting; one without a time counts as the latest."""
    ts = fix.ts
    # NaN is not above 0 either; it could not be sorted.
    return (ts if ts is not None and ts > 0 else inf, fix.seq or 0)
