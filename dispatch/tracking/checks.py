"""Fix checks: accept a GPS fix, or drop it for one named reason; pure.

`STEPS` lists the checks in the order in which they run, `Drop` the reasons. Each step returns None
to pass the fix on.
"""

from collections.abc import Callable
from math import inf

import msgspec

from dispatch.model import Position
from dispatch.service_area import PlaceProblem
from dispatch.tracking.fixes.device_clock import LIVE_GAP_MIN_MS
from dispatch.tracking.fixes.model import AcceptedFix, Drop, FixHistory
from dispatch.tracking.fixes.rules import ACCURACY_SHOWN_MAX_M, HYSTERESIS, FixRules
from dispatch.tracking.fixes.sentinels import is_sentinel, problem_of
from dispatch.tracking.stores.geo_cells import LAT_MAX, LNG_MAX
from dispatch.wire.commands import Fix
from matching.geo import DEGREE_M, distance_m

# Source: JavaScript's Number.MAX_SAFE_INTEGER, the largest count an app can keep exactly.
SEQ_MAX = 2**53 - 1
# Older fixes have outlived the trail of their order.
# Source: stores.positions.TRAIL_TTL_S, a trail is kept for 24 h.
AGE_MAX_MS = 24 * 3_600_000
# A sequence number that falls after this much time belongs to an app that was restarted; replays
# and reordering within one connection are over long before.
# Source: docs/promises.md, after 15 s without a fix a rider is stale.
SEQ_RESTART_MS = 15_000
# A fix without an accuracy counts as one of this accuracy.
# Source: chosen; worse fixes put a rider into the wrong street.
ACCURACY_UNKNOWN_M = 50.0
# Allowed distance between two fixes beyond their reported accuracies.
# Source: measured 2026-11-21 on 57,155 steps of 805 traces (GOAL, CC BY 4.0): with it none exceeds
# the bound of its speed, without it one in 30,000.
SLACK_M = 100.0
# A phone's clock that runs fast explains so much time between two fixes: one that jumps ahead must
# not explain any distance. Source: chosen; a trace may be replayed faster than it was made.
FAST_CLOCK_MAX_MS = 60_000
# A fix within this distance of the last trail point adds no point to the trail.
# Source: the same traces, a standing agent's fixes spread by 3 m; docs/contract.md, the finest
# `minDisplacementM` is 8.
MOVED_MIN_M = 5.0
# A receiver that repeats a place to its last digit, while its rider has driven so far by the speed
# that it reports, is stuck. A rider who walks may be where it was.
# Source: chosen, three blocks of a city: a phone that stands may report the speed at which it came
# for half a minute; the same traces, standing agents repeat 39 % of their places.
FROZEN_MIN_M, FROZEN_SPEED_MIN_MPS = 300.0, 1.0
# Source: chosen; above any road vehicle, so that a phone that reports more means "unknown".
SPEED_REPORTED_MAX_MPS = 150.0
# A full turn. Units: degrees.
HEADING_MAX = 360.0

_DEFAULT_RULES = FixRules()


class FixCheck(msgspec.Struct, gc=False):
    """A fix with its history and what the steps have found out; `ts` and `sort_ms` start as now.

    `is_near`: it is within SLACK_M of the last one, which any vehicle reaches at once.
    """

    history: FixHistory
    fix: Fix
    now_ms: int
    ts: int
    sort_ms: int
    rules: FixRules
    was_clock_ahead: bool = False
    has_moved: bool = True
    still_since_ms: int = 0
    is_near: bool = False
    is_coarse: bool = False

    def to_accepted_fix(self) -> AcceptedFix:
        """The fix as it is kept; heading, speed or accuracy out of range become None."""
        fix = self.fix
        heading, speed, accuracy = fix.heading, fix.speed, fix.accuracy
        # Comparisons with NaN are false.
        if heading is not None and not 0.0 <= heading <= HEADING_MAX:
            heading = None
        if speed is not None and not 0.0 <= speed <= SPEED_REPORTED_MAX_MPS:
            speed = None
        if accuracy is not None and not 0.0 <= accuracy <= ACCURACY_SHOWN_MAX_M:
            accuracy = None
        # Positional: keyword arguments would take as long as the rest of this function.
        position = Position(
            fix.lat, fix.lng, self.ts, self.now_ms, heading, speed, accuracy, fix.seq
        )
        if not self.is_coarse:
            return AcceptedFix(
                position, self.sort_ms, self.was_clock_ahead, self.has_moved, self.still_since_ms
            )
        return AcceptedFix(
            _rest_in_circle(self.history.last_fix, position),
            self.sort_ms,
            self.was_clock_ahead,
            self.has_moved,
            is_coarse=True,
            is_indexable=accuracy is None or accuracy <= self.rules.index_m,
        )


def well_formed(check: FixCheck) -> Drop | None:
    """Time and sequence number are finite and in range, or absent."""
    ts, seq = check.fix.ts, check.fix.seq
    if ts is not None and not 0 < ts < inf:
        return Drop.MALFORMED
    if seq is not None and not 0 <= seq <= SEQ_MAX:
        return Drop.MALFORMED
    return None


def on_globe(check: FixCheck) -> Drop | None:
    """Latitude and longitude lie on the map; NaN does not."""
    fix = check.fix
    if -LAT_MAX <= fix.lat <= LAT_MAX and -LNG_MAX <= fix.lng <= LNG_MAX:
        return None
    return Drop.OFF_GLOBE


def measured(check: FixCheck) -> Drop | None:
    """The place was measured: it stands for a place, with its axes in order, and is not frozen."""
    fix, last = check.fix, check.history.last_fix
    if last is not None:
        before = last.position
        # The Manhattan distance is at least the true one: most fixes need no trigonometry.
        apart = abs(fix.lat - before.lat) + abs(fix.lng - before.lng)
        if apart * DEGREE_M <= SLACK_M:
            check.is_near = True
            return None if apart else _frozen(check, last)
    if is_sentinel(fix.lat, fix.lng):
        return Drop.SENTINEL
    problem = problem_of(fix.lat, fix.lng, check.rules.area)
    if problem is None:
        return None
    return Drop.SWAPPED if problem is PlaceProblem.SWAPPED else Drop.SENTINEL


def in_time(check: FixCheck) -> Drop | None:
    """Date the fix by the server's clock; a future time or none becomes the time of arrival."""
    fix_ts, clock = check.fix.ts, check.history.clock
    if fix_ts is None:
        check.sort_ms = clock.ms_at(check.now_ms)
        return None
    check.sort_ms = sort_ms = int(fix_ts)
    ts = sort_ms + clock.offset_ms
    if ts <= check.now_ms:
        check.ts = ts
    else:
        check.was_clock_ahead = True
        clock.follow(sort_ms, check.now_ms)
        if clock.is_unusable:
            check.sort_ms = check.now_ms
    return None


def newer(check: FixCheck) -> Drop | None:
    """The fix comes after the last accepted one and is new, or its phone's clock is wrong."""
    last = check.history.last_fix
    if check.now_ms - check.ts <= check.rules.fresh_ms:
        if last is None:
            return None
        if _is_newer(check, last):
            # A sequence number overruled the phone's clock. A call of `max` would cost every fix.
            if check.ts < last.position.ts:  # noqa: PLR1730
                check.ts = last.position.ts
            return None
    accepted_at_ms = 0
    if last is not None:
        accepted_at_ms = last.position.received_at
        if _is_repeated(check, last):
            check.ts = check.now_ms
            return None
    sort_ms = None if check.fix.ts is None else check.sort_ms
    if check.history.clock.is_live(sort_ms, check.now_ms, accepted_at_ms):
        check.ts = check.now_ms
        return None
    return Drop.STALE


def moved(check: FixCheck) -> Drop | None:
    """Note whether the rider has left the last trail point; never drops a fix."""
    anchor, fix = check.history.trail_anchor, check.fix
    if anchor is not None:
        apart = abs(fix.lat - anchor.lat) + abs(fix.lng - anchor.lng)
        check.has_moved = apart * DEGREE_M > MOVED_MIN_M
    return None


def accurate(check: FixCheck) -> Drop | None:
    """The reported accuracy is good enough for the marker, or nothing better is known."""
    accuracy, rules = check.fix.accuracy, check.rules
    if accuracy is None or 0 <= accuracy <= rules.exact_m:
        return None
    if not 0 <= accuracy <= ACCURACY_SHOWN_MAX_M:
        return Drop.INACCURATE
    if accuracy > rules.trail_m:
        check.has_moved = False
    if accuracy <= rules.marker_m:
        return None
    last = check.history.last_fix
    if last is not None and not last.is_coarse:
        is_known = check.now_ms - last.position.received_at <= rules.fresh_ms
        if is_known and accuracy <= rules.marker_m * HYSTERESIS:
            return None
        if is_known:
            return Drop.INACCURATE
    check.is_coarse = True
    return None


def reachable(check: FixCheck) -> Drop | None:
    """The vehicle can have come here since the last fix, or since the doubtful fix."""
    if check.is_near:
        return None
    last, doubtful = check.history.last_fix, check.history.doubtful_fix
    if last is None or _can_reach(check, last):
        return None
    if doubtful is not None and _is_newer(check, doubtful) and _can_reach(check, doubtful):
        return None
    return Drop.TELEPORT


STEPS: tuple[Callable[[FixCheck], Drop | None], ...] = (
    well_formed,
    on_globe,
    measured,
    in_time,
    newer,
    moved,
    accurate,
    reachable,
)


def check_fix(
    history: FixHistory, fix: Fix, now_ms: int, rules: FixRules = _DEFAULT_RULES
) -> AcceptedFix | Drop:
    """Run all steps on a fix; the first step that drops it names the reason.

    Units: Unix milliseconds.
    """
    check = FixCheck(history, fix, now_ms, now_ms, now_ms, rules)
    for step in STEPS:
        drop = step(check)
        if drop is not None:
            return drop
    return check.to_accepted_fix()


def to_doubtful_fix(history: FixHistory, fix: Fix, now_ms: int) -> AcceptedFix:
    """A fix that was dropped as TELEPORT, to be remembered: a second one near it is accepted.

    Units: Unix milliseconds.
    """
    check = FixCheck(history, fix, now_ms, now_ms, now_ms, _DEFAULT_RULES)
    in_time(check)
    return check.to_accepted_fix()


def is_reachable(history: FixHistory, fix: Fix, now_ms: int) -> bool:
    """Whether the vehicle can have come to a fix since the last one. Units: Unix milliseconds."""
    check = FixCheck(history, fix, now_ms, now_ms, now_ms, _DEFAULT_RULES)
    return history.last_fix is None or _can_reach(check, history.last_fix)


def _is_newer(check: FixCheck, previous: AcceptedFix) -> bool:
    """Whether the fix comes after `previous`: by sequence number where both have one, else time."""
    seq, previous_seq = check.fix.seq, previous.position.seq
    if seq is not None and previous_seq is not None:
        return seq > previous_seq or check.ts >= previous.position.ts + SEQ_RESTART_MS
    if check.fix.ts is None:
        # Without a time of its own it is ordered by arrival.
        return check.sort_ms >= previous.sort_ms
    return check.sort_ms > previous.sort_ms


def _is_repeated(check: FixCheck, last: AcceptedFix) -> bool:
    """Whether a standing phone reports its last fix again, with the same time: it is still there.

    A packet that was sent twice arrives at once.
    """
    fix, position = check.fix, last.position
    return (
        fix.ts is not None
        and check.sort_ms == last.sort_ms
        and (fix.lat, fix.lng) == (position.lat, position.lng)
        and check.now_ms - position.received_at >= LIVE_GAP_MIN_MS
    )


def _frozen(check: FixCheck, last: AcceptedFix) -> Drop | None:
    """Note since when the place is the same to its last digit; a driving rider has left it."""
    since_ms = last.still_since_ms or last.position.received_at
    check.still_since_ms = since_ms
    if check.fix.ts is not None and int(check.fix.ts) == last.sort_ms:
        # A standing phone repeats its last fix with the time and the speed that this one had.
        return None
    speed, still_s = check.fix.speed, (check.now_ms - since_ms) / 1000
    if speed is None or not FROZEN_SPEED_MIN_MPS <= speed <= SPEED_REPORTED_MAX_MPS:
        return None
    return Drop.FROZEN if speed * still_s >= FROZEN_MIN_M else None


def _can_reach(check: FixCheck, previous: AcceptedFix) -> bool:
    before, fix = previous.position, check.fix
    # By the phone's clock where it advances faster than the server's, within bounds, and by arrival
    # where a sequence number overruled it.
    fast_ms = min(check.sort_ms - previous.sort_ms, FAST_CLOCK_MAX_MS)
    elapsed_ms = max(check.ts - before.ts, check.now_ms - before.received_at, fast_ms, 0)
    tolerance_m = SLACK_M + _accuracy_m(fix.accuracy) + _accuracy_m(before.accuracy)
    reach_m = tolerance_m + check.history.speed_max_mps * elapsed_ms / 1000
    return distance_m(before, fix) <= reach_m


def _rest_in_circle(last: AcceptedFix | None, coarse: Position) -> Position:
    """A coarse position, at the place that is shown already where that lies inside its circle."""
    if last is None or coarse.accuracy is None:
        return coarse
    shown = last.position
    if last.is_coarse and coarse.accuracy < _accuracy_m(shown.accuracy):
        return coarse
    if distance_m(shown, coarse) > coarse.accuracy:
        return coarse
    accuracy = shown.accuracy if last.is_coarse else coarse.accuracy
    return msgspec.structs.replace(coarse, lat=shown.lat, lng=shown.lng, accuracy=accuracy)


def _accuracy_m(accuracy: float | None) -> float:
    return ACCURACY_UNKNOWN_M if accuracy is None else accuracy
