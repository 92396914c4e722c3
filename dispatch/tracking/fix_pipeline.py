"""Fix pipeline: takes a rider's GPS fixes through checks, watchers and the Redis writer.

Plain functions that await nothing: when `process_fix` returns, the watchers on this node have the
position. `check_fix` decides, `_apply` does what follows from an accepted fix.
"""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import msgspec

from dispatch import metrics
from dispatch.model import Position
from dispatch.tracking.checks import check_fix
from dispatch.tracking.fixes.model import AcceptedFix, Drop
from dispatch.tracking.late_fixes import LateFixes, note_doubt
from dispatch.tracking.position_source import PositionSources
from dispatch.tracking.redis_writer import RedisWriter, count_lost_trail_fixes
from dispatch.tracking.reporting_interval import IDLE
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.rider_state import PENDING_TRAIL_MAX, RiderState
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


class BatchResult(NamedTuple):
    """How many fixes of a batch were accepted, and which were dropped: place in it and reason."""

    accepted_count: int
    drops: tuple[tuple[int, Drop], ...] = ()


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
        self.sources = PositionSources(rider_registry.fix_rules)
        self._fix_rules = rider_registry.fix_rules
        self._late_fixes = LateFixes(self._fix_rules)
        # The last fixes without a time from sockets that have just connected.
        self._settling: dict[str, tuple[str, Fix]] = {}
        # Counted here and exported by `sweep`: a counter's lock costs as much as a check.
        self._received_count = 0
        self._relayed_count = 0
        self._clock_ahead_count = 0
        self._not_moved_count = 0
        self._late_count = 0

    def process_fix(self, rider_id: str, fix: Fix, now_ms: int, sid: str = "") -> Drop | None:
        """Take one fix of a rider of this node, from one socket; None where it was accepted.

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
        if sid == rider.sole_sid:
            result = check_fix(rider, fix, now_ms, self._fix_rules)
        else:
            result = self._check_source(rider, sid, fix, now_ms)
            if result is None:
                return None
        if isinstance(result, Drop):
            return self._drop(rider, fix, result, now_ms)
        self._apply(rider, result)
        return None

    def _check_source(
        self, rider: RiderState, sid: str, fix: Fix, now_ms: int
    ) -> AcceptedFix | Drop | None:
        """Check a fix whose socket is new, or one of several; None where it waits."""
        if not rider.is_loaded:
            self._hold_early(rider, sid, fix, now_ms)
            return None
        if fix.ts is None and self.sources.is_settling(rider, sid, now_ms):
            self._settling[rider.rider_id] = (sid, fix)
            return None
        result = self.sources.check(rider, sid, fix, now_ms)
        return check_fix(rider, fix, now_ms, self._fix_rules) if result is None else result

    def process_batch(
        self, rider_id: str, fixes: Sequence[Fix], now_ms: int, sid: str = ""
    ) -> BatchResult:
        """Take the fixes that an app kept while it was offline.

        All accepted ones go into the trails of the rider's orders; the newest moves the marker if
        it is fresh and newer than what the map shows.

        Units: Unix milliseconds.
        """
        self._received_count += len(fixes)
        rider = self._rider_registry.get(rider_id)
        if rider is None:
            _DROPPED[Drop.ABSENT].inc(len(fixes))
            return _all_dropped(fixes, Drop.ABSENT)
        rider.seen_at_ms = now_ms
        ordered = sorted(enumerate(fixes), key=_sort_key)
        if not rider.is_loaded:
            for _, fix in ordered:
                self._hold_early(rider, sid, fix, now_ms)
            return BatchResult(len(ordered))
        if ordered and sid != rider.sole_sid:
            newest = self.sources.check(rider, sid, ordered[-1][1], now_ms)
            if isinstance(newest, Drop):
                _DROPPED[newest].inc(len(ordered))
                return _all_dropped(fixes, newest)
            if newest is not None:
                self._apply(rider, newest)
        _follow_clock(rider, [fix for _, fix in ordered], now_ms)
        stream, accepted, drops = rider.new_stream(), list[_BatchFix](), list[tuple[int, Drop]]()
        for index, fix in ordered:
            result = check_fix(stream, fix, now_ms, self._late_fixes.rules)
            if isinstance(result, Drop):
                note_doubt(stream, fix, result, now_ms)
                _DROPPED[result].inc()
                rider.count_dropped(result.value, fix.accuracy)
                drops.append((index, result))
            else:
                stream.advance(result)
                accepted.append(_BatchFix(fix, result))
        self._apply_batch(rider, accepted, now_ms)
        return BatchResult(len(accepted), tuple(drops))

    def await_load(self, rider_id: str) -> None:
        """Keep the fixes of a rider who is new here until `finish_load`: its orders are not known.

        A rider whose state is here goes on as it is.
        """
        rider = self._rider_registry.get(rider_id)
        if rider is not None and rider.seen_at_ms == 0:
            rider.is_loaded = False

    def finish_load(self, rider_id: str) -> None:
        """Take the fixes that came before the rider's stored state was loaded."""
        rider = self._rider_registry.get(rider_id)
        if rider is None or rider.is_loaded:
            return
        rider.is_loaded = True
        early, rider.early_fixes = rider.early_fixes, []
        for sid, fix, at_ms in early:
            self.process_fix(rider_id, fix, at_ms, sid)
            self._received_count -= 1

    def restore(self, rider_id: str, position: Position, now_ms: int) -> None:
        """Take over the last position that Redis has of a rider who has just connected here.

        Units: Unix milliseconds.
        """
        rider = self._rider_registry.get(rider_id)
        if rider is not None and rider.last_fix is None:
            rider.last_fix = AcceptedFix(position, position.ts)
            # Its sequence number was counted by a connection that has ended.
            rider.forget_seq()
            rider.freshness = self._rider_registry.limits.of_age(now_ms - position.received_at)
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
        settling, self._settling = self._settling, {}
        for rider_id, (sid, fix) in settling.items():
            self.process_fix(rider_id, msgspec.structs.replace(fix, ts=now_ms), now_ms, sid)
            self._received_count -= 1
        self._show_late(now_ms)
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
                self._late_fixes.catch_up(rider, batch[-1].accepted)
        for late in batch[:-1] if newest else batch:
            self._add_to_trail(rider, late.accepted)
        if newest:
            self._apply(rider, newest)
        elif rider.pending_trail and rider.last_fix is not None:
            self._writer.enqueue(rider)

    def _hold_early(self, rider: RiderState, sid: str, fix: Fix, now_ms: int) -> None:
        rider.early_fixes.append((sid, fix, now_ms))
        if len(rider.early_fixes) > PENDING_TRAIL_MAX:
            del rider.early_fixes[0]
            _DROPPED[Drop.ABSENT].inc()

    def _drop(self, rider: RiderState, fix: Fix, drop: Drop, now_ms: int) -> Drop | None:
        """Keep a late fix for the trail, or count why a fix is dropped; the result of the fix."""
        if drop is Drop.STALE:
            late = self._late_fixes.check(rider, fix, now_ms)
            if isinstance(late, AcceptedFix):
                self._add_to_trail(rider, late)
                if rider.pending_trail and rider.last_fix is not None:
                    self._writer.enqueue_fix(rider)
                is_newest = self._late_fixes.catch_up(rider, late)
                return None if is_newest or _has_later_seq(fix, rider) else drop
            drop = late
        else:
            note_doubt(rider, fix, drop, now_ms)
        _DROPPED[drop].inc()
        rider.count_dropped(drop.value, fix.accuracy)
        return drop

    def _show_late(self, now_ms: int) -> None:
        """Show old positions of riders for whom nothing newer is known."""
        for rider, late in self._late_fixes.take_newest():
            if self._rider_registry.get(rider.rider_id) is not rider:
                continue
            age_ms = now_ms - late.position.ts
            is_first, rider.last_fix = rider.last_fix is None, late
            rider.freshness = "stale" if is_first else self._rider_registry.limits.of_age(age_ms)
            rider.flushed_position = None
            self._relayed_count += self._watchers.relay_position(rider, late.position)
            self._writer.enqueue(rider)

    def _add_to_trail(self, rider: RiderState, late: AcceptedFix) -> None:
        if late.has_moved:
            count_lost_trail_fixes(rider.add_to_trail(late.position))
            self._late_count += 1
        else:
            self._not_moved_count += 1


def _has_later_seq(fix: Fix, rider: RiderState) -> bool:
    last_seq = rider.position.seq if rider.position else None
    return fix.seq is not None and last_seq is not None and fix.seq > last_seq


def _follow_clock(rider: RiderState, ordered: Sequence[Fix], now_ms: int) -> None:
    """Date a batch by its newest fix where that lies in the future."""
    times = [fix.ts for fix in ordered if fix.ts is not None and 0 < fix.ts < inf]
    if times:
        rider.clock.follow(int(times[-1]), now_ms)


def _all_dropped(fixes: Sequence[Fix], drop: Drop) -> BatchResult:
    return BatchResult(0, tuple((index, drop) for index in range(len(fixes))))


def _sort_key(indexed: tuple[int, Fix]) -> tuple[float, int]:
    """The time of a fix for sorting; one without a time counts as the latest."""
    fix = indexed[1]
    ts = fix.ts
    # NaN is not above 0 either; it could not be sorted.
    return (ts if ts is not None and ts > 0 else inf, fix.seq or 0)
