"""Which fixes are taken, and why the others are not: named steps in one fixed order; pure.

Step 2 of a fix's way: handlers.sockets.rider → tracking.lane → [here] → tracking.watch.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import Protocol

import msgspec

from dispatch.model import Position
from dispatch.wire.commands import Fix
from matching.geo import distance_m

# Source: Web Mercator's square; neither the index nor the map can show what lies beyond.
LAT_MAX = 85.05112878
LNG_MAX = 180.0
# Source: JavaScript's Number.MAX_SAFE_INTEGER, the largest count an app can keep exactly.
SEQ_MAX = 2**53 - 1
# A fix that waited longer outlived the trail of its order.
# Source: store design, a trail is kept for 24 h.
AGE_MAX_MS = 24 * 3_600_000
# A phone's clock may be this much ahead and still be believed in which of two fixes is newer.
# Source: Android and iOS set their clocks by network within seconds.
CLOCK_AHEAD_MAX_MS = 10_000
# A count that falls although time goes on belongs to an app that was started anew; replays and
# reorders of one connection are over long before.
# Source: promises, after 15 s without a fix a rider is stale anyway.
SEQ_RESTART_MS = 15_000
# Source: dispatch study, the accuracy gate of 50 m; unknown counts as the worst that passes.
ACCURACY_MAX_M = 50.0
# What positions may differ by beyond what both phones admit.
# Source: measured 2026-11-21 on 57,155 steps of 805 traces (GOAL, CC BY 4.0): with it none exceeds
# the bound of its speed, without it one in 30,000.
SLACK_M = 100.0
# A rider who stays within this of the last point of his trail adds none to it.
# Source: the same traces, a standing agent's fixes spread by 3 m; wire contract, the finest
# `minDisplacementM` is 8.
MOVED_MIN_M = 5.0
# A degree of latitude, and at most one of longitude, on the earth of `matching.geo`.
DEGREE_M = 111_195.1
# Faster than anything a rider uses in a city. Units: metres per second.
# Source: the same traces, fastest driven step 34.9 m/s; on foot 99.99 % below 19.4 m/s.
SPEED_MAX_MPS: Mapping[str, float] = MappingProxyType(
    {"MOTORBIKE": 40.0, "CAR": 40.0, "BICYCLE": 25.0, "FOOT": 20.0}
)
SPEED_UNKNOWN_MPS = 40.0
# Source: no vehicle on a road; a phone that says more means "unknown".
SPEED_REPORTED_MAX_MPS = 150.0
# A full turn. Units: degrees.
HEADING_MAX = 360.0


class Drop(StrEnum):
    """Why a fix was not taken."""

    ABSENT = "absent"
    MALFORMED = "malformed"
    OFF_GLOBE = "off_globe"
    STALE = "stale"
    INACCURATE = "inaccurate"
    TELEPORT = "teleport"
    # Taken all the same: the marker gets its fresh time, the trail no point.
    NOT_MOVED = "not_moved"


class AcceptedFix(msgspec.Struct, frozen=True, gc=False):
    """A fix that was taken. Units: Unix milliseconds.

    `order_ms` says which of two fixes is newer where their counts do not; `was_ahead` that the
    phone's clock was, so that the server's time was put in its place. `has_moved` says that a trail
    wants it.
    """

    position: Position
    sort_ms: int
    was_clock_ahead: bool = False
    has_moved: bool = True


class FixHistory(Protocol):
    """What is known of a rider before a fix. Units: metres per second.

    `doubt` is the last fix that was too far away to be believed alone, `anchor` the last one that
    went into a trail.
    """

    last_fix: AcceptedFix | None
    doubtful_fix: AcceptedFix | None
    trail_anchor: Position | None
    speed_max_mps: float


class FixCheck(msgspec.Struct, gc=False):
    """A fix on its way through the steps. `ts` and `order_ms` begin as now."""

    history: FixHistory
    fix: Fix
    now_ms: int
    ts: int
    sort_ms: int
    was_clock_ahead: bool = False
    has_moved: bool = True

    def to_accepted_fix(self) -> AcceptedFix:
        """The fix as it is kept; what a phone says to mean "unknown" becomes None."""
        fix = self.fix
        heading, speed, accuracy = fix.heading, fix.speed, fix.accuracy
        # Comparisons with NaN are false.
        if heading is not None and not 0.0 <= heading <= HEADING_MAX:
            heading = None
        if speed is not None and not 0.0 <= speed <= SPEED_REPORTED_MAX_MPS:
            speed = None
        if accuracy is not None and not 0.0 <= accuracy <= ACCURACY_MAX_M:
            accuracy = None
        # By place: names would take as long as the rest of it.
        position = Position(
            fix.lat, fix.lng, self.ts, self.now_ms, heading, speed, accuracy, fix.seq
        )
        return AcceptedFix(position, self.sort_ms, self.was_clock_ahead, self.has_moved)


def well_formed(check: FixCheck) -> Drop | None:
    """Counts and times are numbers that can be; NaN and the infinite are none."""
    ts, seq = check.fix.ts, check.fix.seq
    if ts is not None and not 0 < ts < inf:
        return Drop.MALFORMED
    if seq is not None and not 0 <= seq <= SEQ_MAX:
        return Drop.MALFORMED
    return None


def on_globe(check: FixCheck) -> Drop | None:
    """The place is one that a map can show; NaN is nowhere."""
    fix = check.fix
    if -LAT_MAX <= fix.lat <= LAT_MAX and -LNG_MAX <= fix.lng <= LNG_MAX:
        return None
    return Drop.OFF_GLOBE


def in_time(check: FixCheck) -> Drop | None:
    """A future time becomes now; a missing one is the time of arrival; one of yesterday is late."""
    said = check.fix.ts
    if said is None:
        return None
    ahead_ms = said - check.now_ms
    if ahead_ms > 0:
        check.was_clock_ahead = True
        if ahead_ms <= CLOCK_AHEAD_MAX_MS:
            check.sort_ms = int(said)
        return None
    if ahead_ms < -AGE_MAX_MS:
        return Drop.STALE
    check.ts = check.sort_ms = int(said)
    return None


def newer(check: FixCheck) -> Drop | None:
    """The fix comes after the last one taken."""
    last = check.history.last_fix
    if last is None or _is_newer(check, last):
        return None
    return Drop.STALE


def accurate(check: FixCheck) -> Drop | None:
    """The phone does not admit to be lost; saying nothing is not admitting."""
    accuracy = check.fix.accuracy
    if accuracy is None or 0 <= accuracy <= ACCURACY_MAX_M:
        return None
    return Drop.INACCURATE


def reachable(check: FixCheck) -> Drop | None:
    """The vehicle can have come here since the last fix, or a second fix agrees with the doubt."""
    last, doubt = check.history.last_fix, check.history.doubtful_fix
    if last is None or _can_reach(check, last):
        return None
    if doubt is not None and _is_newer(check, doubt) and _can_reach(check, doubt):
        return None
    return Drop.TELEPORT


def moved(check: FixCheck) -> Drop | None:
    """The rider has left the last point of his trail; the fix of one who has not is taken too."""
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
    """Take a fix after those before it, or name the first step that refuses it."""
    case = FixCheck(history, fix, now_ms, now_ms, now_ms)
    for step in STEPS:
        drop = step(case)
        if drop is not None:
            return drop
    return case.to_accepted_fix()


def to_doubtful_fix(history: FixHistory, fix: Fix, now_ms: int) -> AcceptedFix:
    """A fix refused as TELEPORT, to be remembered: a second one that agrees with it is taken."""
    case = FixCheck(history, fix, now_ms, now_ms, now_ms)
    in_time(case)
    return case.to_accepted_fix()


def speed_max_mps(vehicle: str | None) -> float:
    """The speed that no such vehicle exceeds. Units: metres per second."""
    return SPEED_MAX_MPS.get(vehicle or "", SPEED_UNKNOWN_MPS)


def _is_newer(check: FixCheck, previous: AcceptedFix) -> bool:
    """Whether the fix comes after `before`: by count where both have one, else by time."""
    count, counted = check.fix.seq, previous.position.seq
    if count is not None and counted is not None:
        return count > counted or check.sort_ms >= previous.sort_ms + SEQ_RESTART_MS
    if check.fix.ts is None:
        # Without a time of its own it comes after what came before it.
        return check.sort_ms >= previous.sort_ms
    return check.sort_ms > previous.sort_ms


def _can_reach(check: FixCheck, previous: AcceptedFix) -> bool:
    was, fix = previous.position, check.fix
    # Around two sides of a square is at least as far: most fixes need no trigonometry.
    if (abs(fix.lat - was.lat) + abs(fix.lng - was.lng)) * DEGREE_M <= SLACK_M:
        return True
    # A clock that was put back, or a count that overruled it, leaves the time of arrival.
    elapsed_ms = max(check.sort_ms - previous.sort_ms, check.now_ms - was.received_at, 0)
    blur_m = SLACK_M + _accuracy_m(fix.accuracy) + _accuracy_m(was.accuracy)
    return distance_m(was, fix) <= blur_m + check.history.speed_max_mps * elapsed_ms / 1000


def _accuracy_m(accuracy: float | None) -> float:
    return ACCURACY_MAX_M if accuracy is None else accuracy
