"""Fix checks: accept a GPS fix, or drop it for one named reason; pure.

`STEPS` lists the checks in the order in which they run, `Drop` the reasons. Each step returns None
to pass the fix on.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import Protocol

import msgspec

from dispatch.model import Position
from dispatch.tracking.stores.geo_cells import LAT_MAX, LNG_MAX
from dispatch.wire.commands import Fix
from matching.geo import DEGREE_M, distance_m

# Source: JavaScript's Number.MAX_SAFE_INTEGER, the largest count an app can keep exactly.
SEQ_MAX = 2**53 - 1
# Older fixes have outlived the trail of their order.
# Source: stores.positions.TRAIL_TTL_S, a trail is kept for 24 h.
AGE_MAX_MS = 24 * 3_600_000
# Up to this much ahead a phone's clock still decides which of two fixes is newer.
# Source: chosen; Android and iOS set their clocks by network to within seconds.
CLOCK_AHEAD_MAX_MS = 10_000
# A sequence number that falls after this much time belongs to an app that was restarted; replays
# and reordering within one connection are over long before.
# Source: docs/promises.md, after 15 s without a fix a rider is stale.
SEQ_RESTART_MS = 15_000
# A fix without an accuracy counts as one of this accuracy.
# Source: chosen; worse fixes put a rider into the wrong street.
ACCURACY_MAX_M = 50.0
# Allowed distance between two fixes beyond their reported accuracies.
# Source: measured 2026-11-21 on 57,155 steps of 805 traces (GOAL, CC BY 4.0): with it none exceeds
# the bound of its speed, without it one in 30,000.
SLACK_M = 100.0
# A fix within this distance of the last trail point adds no point to the trail.
# Source: the same traces, a standing agent's fixes spread by 3 m; docs/contract.md, the finest
# `minDisplacementM` is 8.
MOVED_MIN_M = 5.0
# Faster than any such vehicle in a city. Units: metres per second.
# Source: the same traces, fastest driven step 34.9 m/s; on foot 99.99 % below 19.4 m/s.
SPEED_MAX_MPS: Mapping[str, float] = MappingProxyType(
    {"MOTORBIKE": 40.0, "CAR": 40.0, "BICYCLE": 25.0, "FOOT": 20.0}
)
SPEED_UNKNOWN_MPS = 40.0
# Source: chosen; above any road vehicle, so that a phone that reports more means "unknown".
SPEED_REPORTED_MAX_MPS = 150.0
# A full turn. Units: degrees.
HEADING_MAX = 360.0


class Drop(StrEnum):
    """Why a fix was dropped; the label `reason` of the metric of dropped fixes."""

    ABSENT = "absent"
    MALFORMED = "malformed"
    OFF_GLOBE = "off_globe"
    STALE = "stale"
    INACCURATE = "inaccurate"
    TELEPORT = "teleport"
    # Counted as a drop although the fix is accepted: it adds no point to the trail.
    NOT_MOVED = "not_moved"


class AcceptedFix(msgspec.Struct, frozen=True, gc=False):
    """A fix that passed all checks.

    `sort_ms` orders fixes whose sequence numbers do not. `was_clock_ahead`: the phone's time lay in
    the future, so `position.ts` is the server's time. `has_moved`: the trail gets a point.

    Units: Unix milliseconds.
    """

    position: Position
    sort_ms: int
    was_clock_ahead: bool = False
    has_moved: bool = True


class FixHistory(Protocol):
    """What is known of a rider before a fix.

    `doubtful_fix` is the last one dropped as TELEPORT, `trail_anchor` the last point of the trail.

    Units: metres per second.
    """

    last_fix: AcceptedFix | None
    doubtful_fix: AcceptedFix | None
    trail_anchor: Position | None
    speed_max_mps: float


class FixCheck(msgspec.Struct, gc=False):
    """A fix with its history and what the steps have found out; `ts` and `sort_ms` start as now."""

    history: FixHistory
    fix: Fix
    now_ms: int
    ts: int
    sort_ms: int
    was_clock_ahead: bool = False
    has_moved: bool = True

    def to_accepted_fix(self) -> AcceptedFix:
        """The fix as it is kept; heading, speed or accuracy out of range become None."""
        fix = self.fix
        heading, speed, accuracy = fix.heading, fix.speed, fix.accuracy
        # Comparisons with NaN are false.
        if heading is not None and not 0.0 <= heading <= HEADING_MAX:
            heading = None
        if speed is not None and not 0.0 <= speed <= SPEED_REPORTED_MAX_MPS:
            speed = None
        if accuracy is not None and not 0.0 <= accuracy <= ACCURACY_MAX_M:
            accuracy = None
        # Positional: keyword arguments would take as long as the rest of this function.
        position = Position(
            fix.lat, fix.lng, self.ts, self.now_ms, heading, speed, accuracy, fix.seq
        )
        return AcceptedFix(position, self.sort_ms, self.was_clock_ahead, self.has_moved)


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


def in_time(check: FixCheck) -> Drop | None:
    """The fix is not older than a day; a future time or none becomes the time of arrival."""
    fix_ts = check.fix.ts
    if fix_ts is None:
        return None
    ahead_ms = fix_ts - check.now_ms
    if ahead_ms > 0:
        check.was_clock_ahead = True
        if ahead_ms <= CLOCK_AHEAD_MAX_MS:
            check.sort_ms = int(fix_ts)
        return None
    if ahead_ms < -AGE_MAX_MS:
        return Drop.STALE
    check.ts = check.sort_ms = int(fix_ts)
    return None


def newer(check: FixCheck) -> Drop | None:
    """The fix comes after the last accepted one."""
    last = check.history.last_fix
    if last is None or _is_newer(check, last):
        return None
    return Drop.STALE


def accurate(check: FixCheck) -> Drop | None:
    """The reported accuracy is good enough, or none is reported."""
    accuracy = check.fix.accuracy
    if accuracy is None or 0 <= accuracy <= ACCURACY_MAX_M:
        return None
    return Drop.INACCURATE


def reachable(check: FixCheck) -> Drop | None:
    """The vehicle can have come here since the last fix, or since the doubtful fix."""
    last, doubtful = check.history.last_fix, check.history.doubtful_fix
    if last is None or _can_reach(check, last):
        return None
    if doubtful is not None and _is_newer(check, doubtful) and _can_reach(check, doubtful):
        return None
    return Drop.TELEPORT


def moved(check: FixCheck) -> Drop | None:
    """Note whether the rider has left the last trail point; never drops a fix."""
    anchor, fix = check.history.trail_anchor, check.fix
    if anchor is not None:
        apart = abs(fix.lat - anchor.lat) + abs(fix.lng - anchor.lng)
        check.has_moved = apart * DEGREE_M > MOVED_MIN_M
    return None


STEPS: tuple[Callable[[FixCheck], Drop | None], ...] = (
    well_formed,
    on_globe,
    in_time,
    newer,
    accurate,
    reachable,
    moved,
)


def check_fix(history: FixHistory, fix: Fix, now_ms: int) -> AcceptedFix | Drop:
    """Run all steps on a fix; the first step that drops it names the reason.

    Units: Unix milliseconds.
    """
    check = FixCheck(history, fix, now_ms, now_ms, now_ms)
    for step in STEPS:
        drop = step(check)
        if drop is not None:
            return drop
    return check.to_accepted_fix()


def to_doubtful_fix(history: FixHistory, fix: Fix, now_ms: int) -> AcceptedFix:
    """A fix that was dropped as TELEPORT, to be remembered: a second one near it is accepted.

    Units: Unix milliseconds.
    """
    check = FixCheck(history, fix, now_ms, now_ms, now_ms)
    in_time(check)
    return check.to_accepted_fix()


def speed_max_mps(vehicle: str | None) -> float:
    """The speed that no such vehicle exceeds. Units: metres per second."""
    return SPEED_MAX_MPS.get(vehicle or "", SPEED_UNKNOWN_MPS)


def _is_newer(check: FixCheck, previous: AcceptedFix) -> bool:
    """Whether the fix comes after `previous`: by sequence number where both have one, else time."""
    seq, previous_seq = check.fix.seq, previous.position.seq
    if seq is not None and previous_seq is not None:
        return seq > previous_seq or check.sort_ms >= previous.sort_ms + SEQ_RESTART_MS
    if check.fix.ts is None:
        # Without a time of its own it is ordered by arrival.
        return check.sort_ms >= previous.sort_ms
    return check.sort_ms > previous.sort_ms


def _can_reach(check: FixCheck, previous: AcceptedFix) -> bool:
    before, fix = previous.position, check.fix
    # The Manhattan distance is at least the true one: most fixes need no trigonometry.
    if (abs(fix.lat - before.lat) + abs(fix.lng - before.lng)) * DEGREE_M <= SLACK_M:
        return True
    # Where the phone's clock was set back, or a sequence number overruled it, arrival times count.
    elapsed_ms = max(check.sort_ms - previous.sort_ms, check.now_ms - before.received_at, 0)
    tolerance_m = SLACK_M + _accuracy_m(fix.accuracy) + _accuracy_m(before.accuracy)
    reach_m = tolerance_m + check.history.speed_max_mps * elapsed_ms / 1000
    return distance_m(before, fix) <= reach_m


def _accuracy_m(accuracy: float | None) -> float:
    return ACCURACY_MAX_M if accuracy is None else accuracy
