"""The whole way of a fix through this node, in one plain function that awaits nothing.

Step 1 of a fix's way: handlers.sockets.rider → [here] → tracking.intake, .watch, .drain.
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
from dispatch.tracking.rider_state import Freshness, RiderRegistry, RiderState
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix

_DROPPED = {drop: metrics.FIXES_DROPPED.labels(drop.value) for drop in Drop}


class ShownPosition(NamedTuple):
    """Where a rider is, and how honest it is to show him there."""

    position: Position
    freshness: Freshness


class _BatchHistory:
    """The fixes of a batch one after the other, apart from what the map shows."""

    __slots__ = ("doubtful_fix", "last_fix", "speed_max_mps", "trail_anchor")

    def __init__(self, speed_max_mps: float) -> None:
        self.last_fix: AcceptedFix | None = None
        self.doubtful_fix: AcceptedFix | None = None
        self.trail_anchor: Position | None = None
        self.speed_max_mps = speed_max_mps

    def advance(self, accepted: AcceptedFix) -> None:
        """Go on from a fix that was taken."""
        self.last_fix, self.doubtful_fix = accepted, None
        if accepted.has_moved:
            self.trail_anchor = accepted.position


class FixPipeline:
    """Takes fixes in: each is checked, told to its watchers here, and left for the drain."""

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
        """A rider says where he is; None where the fix was taken."""
        self._received_count += 1
        seat = self._rider_registry.get(rider_id)
        if seat is None:
            _DROPPED[Drop.ABSENT].inc()
            return Drop.ABSENT
        verdict = _check_and_count(seat, fix, now_ms)
        if isinstance(verdict, Drop):
            return verdict
        self._apply(seat, verdict)
        return None

    def process_batch(self, rider_id: str, fixes: Sequence[Fix], now_ms: int) -> dict[str, int]:
        """A rider sends what he kept while he was away: how many were taken, and dropped by reason.

        All that are taken complete the trails of his orders; the newest moves the marker where it
        is fresh and newer than what the map shows.
        """
        self._received_count += len(fixes)
        seat = self._rider_registry.get(rider_id)
        if seat is None:
            _DROPPED[Drop.ABSENT].inc(len(fixes))
            return {"accepted": 0, Drop.ABSENT.value: len(fixes)}
        counts = Counter(accepted=0)
        way, taken = _BatchHistory(seat.speed_max_mps), list[tuple[Fix, AcceptedFix]]()
        for fix in sorted(fixes, key=_sort_key):
            verdict = _check_and_count(way, fix, now_ms)
            if isinstance(verdict, Drop):
                counts[verdict.value] += 1
            else:
                way.advance(verdict)
                taken.append((fix, verdict))
        counts["accepted"] = len(taken)
        self._apply_batch(seat, taken, now_ms)
        return dict(counts)

    def restore(self, rider_id: str, position: Position) -> None:
        """What Redis still knows of a rider who has just come to this node."""
        seat = self._rider_registry.get(rider_id)
        if seat is not None and seat.last_fix is None:
            seat.last_fix = AcceptedFix(position, position.ts)
            # It was counted by a connection that is over.
            seat.forget_seq()
            seat.flushed_position = seat.position
            seat.indexed_cell = cell_of(position.lat, position.lng)
            self._writer.enqueue(seat)

    def send_tracking_policy(self, rider_id: str) -> None:
        """An app of the rider has connected and is told how often to report."""
        seat = self._rider_registry.get(rider_id)
        if seat is not None:
            self._tracking_rules.send_tracking_policy(seat)

    def last_position(self, rider_id: str) -> ShownPosition | None:
        """Where a rider of this node is, None where this node does not know."""
        seat = self._rider_registry.get(rider_id)
        if seat is None or seat.last_fix is None:
            return None
        return ShownPosition(seat.last_fix.position, seat.freshness)

    def sweep(self, now_ms: int) -> int:
        """Tell the watchers of riders who went silent, and export what was counted.

        Called every second: a rider is stale or lost at most that much too late, also one of
        another node that fell silent itself. Returns how many fixes were received since the last
        call.
        """
        for seat in self._rider_registry.sweep(now_ms):
            # The other nodes shall hear of it although he has not moved.
            seat.flushed_position = None
            assert seat.last_fix is not None, "a seat without a fix cannot fall silent"
            self._relayed_count += self._watchers.relay_position(seat, seat.last_fix.position)
        self._watchers.downgrade_silent(
            now_ms, self._rider_registry.fresh_ms, self._rider_registry.lost_ms
        )
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
        """Bring what has changed here to Redis now, rather than within the drain's pause.

        Errors: StoreUnavailable; nothing is lost, the drain tries again.
        """
        await self._writer.flush()

    def _apply(self, rider: RiderState, accepted: AcceptedFix) -> None:
        rider.last_fix, rider.doubtful_fix = accepted, None
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
        self, rider: RiderState, accepted_fixes: list[tuple[Fix, AcceptedFix]], now_ms: int
    ) -> None:
        """Move the marker to the newest fix of a batch where it may be, keep the others."""
        newest: AcceptedFix | None = None
        if (
            accepted_fixes
            and accepted_fixes[-1][1].position.ts >= now_ms - self._rider_registry.fresh_ms
        ):
            # The one before it agrees, should he have gone far.
            rider.doubtful_fix = (
                accepted_fixes[-2][1] if len(accepted_fixes) > 1 else rider.doubtful_fix
            )
            verdict = check_fix(rider, accepted_fixes[-1][0], now_ms)
            newest = None if isinstance(verdict, Drop) else verdict
        for _, late in accepted_fixes[:-1] if newest else accepted_fixes:
            if late.has_moved:
                count_lost_trail_fixes(rider.add_to_trail(late.position))
            else:
                self._not_moved_count += 1
        if newest:
            self._apply(rider, newest)
        elif rider.pending_trail and rider.last_fix is not None:
            self._writer.enqueue(rider)


def _check_and_count(history: FixHistory, fix: Fix, now_ms: int) -> AcceptedFix | Drop:
    """A fix after those before it; a refusal is counted, a doubt remembered."""
    verdict = check_fix(history, fix, now_ms)
    if isinstance(verdict, Drop):
        if verdict is Drop.TELEPORT:
            history.doubtful_fix = to_doubtful_fix(history, fix, now_ms)
        _DROPPED[verdict].inc()
    return verdict


def _sort_key(fix: Fix) -> tuple[float, int]:
    """When a fix was made, for sorting; one that does not say counts as made last."""
    said = fix.ts
    # NaN is not above 0 either; it could not be sorted.
    return (said if said is not None and said > 0 else inf, fix.seq or 0)
