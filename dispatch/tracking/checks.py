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
AHEAD_MAX_MS = 10_000
# A count that falls although time goes on belongs to an app that was started anew; replays and
# reorders of one connection are over long before.
# Source: promises, after 15 s without a fix a rider is stale anyway.
RECOUNT_MS = 15_000
# Source: dispatch study, the accuracy gate of 50 m; unknown counts as the worst that passes.
ACCURACY_MAX_M = 50.0
# What positions may differ by beyond what both phones admit.
# Source: measured 2026-11-21 on 57,155 steps of 805 traces (GOAL, CC BY 4.0): with it none exceeds
# the bound of its speed, without it one in 30,000.
SLACK_M = 100.0
# A rider who stays within this of the last point of his trail adds none to it.
# Source: the same traces, a standing agent's fixes spread by 3 m; wire contract, the finest
# `minDisplacementM` is 8.
MOVED_M = 5.0
# A degree of latitude, and at most one of longitude, on the earth of `matching.geo`.
DEGREE_M = 111_195.1
# Faster than anything a rider uses in a city. Units: metres per second.
# Source: the same traces, fastest driven step 34.9 m/s; on foot 99.99 % below 19.4 m/s.
SPEED_MAX_MPS: Mapping[str, float] = MappingProxyType(
    {"MOTORBIKE": 40.0, "CAR": 40.0, "BICYCLE": 25.0, "FOOT": 20.0}
)
SPEED_UNKNOWN_MPS = 40.0
# Source: no vehicle on a road; a phone that says more means "unknown".
SPEED_SAID_MAX_MPS = 150.0
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


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """A fix that was taken. Units: Unix milliseconds.

    `order_ms` says which of two fixes is newer where their counts do not; `was_ahead` that the
    phone's clock was, so that the server's time was put in its place. `has_moved` says that a trail
    wants it.
    """

    position: Position
    order_ms: int
    was_ahead: bool = False
    has_moved: bool = True


class Track(Protocol):
    """What is known of a rider before a fix. Units: metres per second.

    `doubt` is the last fix that was too far away to be believed alone, `anchor` the last one that
    went into a trail.
    """

    last: Admitted | None
    doubt: Admitted | None
    anchor: Position | None
    speed_max_mps: float


class Case(msgspec.Struct, gc=False):
    """A fix on its way through the steps. `ts` and `order_ms` begin as now."""

    track: Track
    fix: Fix
    now_ms: int
    ts: int
    order_ms: int
    was_ahead: bool = False
    has_moved: bool = True

    def admitted(self) -> Admitted:
        """The fix as it is kept; what a phone says to mean "unknown" becomes None."""
        fix = self.fix
        heading, speed, accuracy = fix.heading, fix.speed, fix.accuracy
        # Comparisons with NaN are false.
        if heading is not None and not 0.0 <= heading <= HEADING_MAX:
            heading = None
        if speed is not None and not 0.0 <= speed <= SPEED_SAID_MAX_MPS:
            speed = None
        if accuracy is not None and not 0.0 <= accuracy <= ACCURACY_MAX_M:
            accuracy = None
        # By place: names would take as long as the rest of it.
        position = Position(
            fix.lat, fix.lng, self.ts, self.now_ms, heading, speed, accuracy, fix.seq
        )
        return Admitted(position, self.order_ms, self.was_ahead, self.has_moved)


def well_formed(case: Case) -> Drop | None:
    """Counts and times are numbers that can be; NaN and the infinite are none."""
    ts, seq = case.fix.ts, case.fix.seq
    if ts is not None and not 0 < ts < inf:
        return Drop.MALFORMED
    if seq is not None and not 0 <= seq <= SEQ_MAX:
        return Drop.MALFORMED
    return None


def on_globe(case: Case) -> Drop | None:
    """The place is one that a map can show; NaN is nowhere."""
    fix = case.fix
    if -LAT_MAX <= fix.lat <= LAT_MAX and -LNG_MAX <= fix.lng <= LNG_MAX:
        return None
    return Drop.OFF_GLOBE


def in_time(case: Case) -> Drop | None:
    """A future time becomes now; a missing one is the time of arrival; one of yesterday is late."""
    said = case.fix.ts
    if said is None:
        return None
    ahead_ms = said - case.now_ms
    if ahead_ms > 0:
        case.was_ahead = True
        if ahead_ms <= AHEAD_MAX_MS:
            case.order_ms = int(said)
        return None
    if ahead_ms < -AGE_MAX_MS:
        return Drop.STALE
    case.ts = case.order_ms = int(said)
    return None


def newer(case: Case) -> Drop | None:
    """The fix comes after the last one taken."""
    last = case.track.last
    if last is None or _is_newer(case, last):
        return None
    return Drop.STALE


def accurate(case: Case) -> Drop | None:
    """The phone does not admit to be lost; saying nothing is not admitting."""
    accuracy = case.fix.accuracy
    if accuracy is None or 0 <= accuracy <= ACCURACY_MAX_M:
        return None
    return Drop.INACCURATE


def reachable(case: Case) -> Drop | None:
    """The vehicle can have come here since the last fix, or a second fix agrees with the doubt."""
    last, doubt = case.track.last, case.track.doubt
    if last is None or _can_reach(case, last):
        return None
    if doubt is not None and _is_newer(case, doubt) and _can_reach(case, doubt):
        return None
    return Drop.TELEPORT


def moved(case: Case) -> Drop | None:
    """The rider has left the last point of his trail; the fix of one who has not is taken too."""
    anchor, fix = case.track.anchor, case.fix
    if anchor is not None:
        apart = abs(fix.lat - anchor.lat) + abs(fix.lng - anchor.lng)
        case.has_moved = apart * DEGREE_M > MOVED_M
    return None


STEPS: tuple[Callable[[Case], Drop | None], ...] = (
    well_formed,
    on_globe,
    in_time,
    newer,
    accurate,
    reachable,
    moved,
)


def admit(track: Track, fix: Fix, now_ms: int) -> Admitted | Drop:
    """Take a fix after those before it, or name the first step that refuses it."""
    case = Case(track, fix, now_ms, now_ms, now_ms)
    for step in STEPS:
        drop = step(case)
        if drop is not None:
            return drop
    return case.admitted()


def doubted(track: Track, fix: Fix, now_ms: int) -> Admitted:
    """A fix refused as TELEPORT, to be remembered: a second one that agrees with it is taken."""
    case = Case(track, fix, now_ms, now_ms, now_ms)
    in_time(case)
    return case.admitted()


def speed_max_mps(vehicle: str | None) -> float:
    """The speed that no such vehicle exceeds. Units: metres per second."""
    return SPEED_MAX_MPS.get(vehicle or "", SPEED_UNKNOWN_MPS)


def _is_newer(case: Case, before: Admitted) -> bool:
    """Whether the fix comes after `before`: by count where both have one, else by time."""
    count, counted = case.fix.seq, before.position.seq
    if count is not None and counted is not None:
        return count > counted or case.order_ms >= before.order_ms + RECOUNT_MS
    if case.fix.ts is None:
        # Without a time of its own it comes after what came before it.
        return case.order_ms >= before.order_ms
    return case.order_ms > before.order_ms


def _can_reach(case: Case, before: Admitted) -> bool:
    was, fix = before.position, case.fix
    # Around two sides of a square is at least as far: most fixes need no trigonometry.
    if (abs(fix.lat - was.lat) + abs(fix.lng - was.lng)) * DEGREE_M <= SLACK_M:
        return True
    # A clock that was put back, or a count that overruled it, leaves the time of arrival.
    elapsed_ms = max(case.order_ms - before.order_ms, case.now_ms - was.received_at, 0)
    blur_m = SLACK_M + _blur(fix.accuracy) + _blur(was.accuracy)
    return distance_m(was, fix) <= blur_m + case.track.speed_max_mps * elapsed_ms / 1000


def _blur(accuracy: float | None) -> float:
    return ACCURACY_MAX_M if accuracy is None else accuracy
