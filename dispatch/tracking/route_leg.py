"""One order's way to its next place, as its rider goes it: how far, and whether he is there; pure.

Beside step 2 of a fix's way: tracking.guide → [here].
"""

from math import cos, radians, sqrt

from dispatch.model import Course, DispatchState, Position
from dispatch.wire.events import Stop

# Source: tracking design: within 40 m in, beyond 60 m out, two fixes or five seconds, and slow.
IN_M, OUT_M = 40.0, 60.0
FIXES_MIN = 2
STAY_MS = 5_000
# Source: bench/eta.py, 2026-11-21, 805 traces (GOAL, CC BY 4.0): 99.0 % of steps on foot are not
# above it, of driven ones 28.8 %, for whom the other evidence decides.
SLOW_MPS = 3.0
# A degree of latitude on the earth of `matching.geo`.
DEGREE_M = 111_195.1

_THERE = frozenset({DispatchState.AT_PICKUP, DispatchState.AT_DROPOFF})
_COMING = frozenset({DispatchState.ASSIGNED, DispatchState.AT_PICKUP})


class Leg:
    """What a node remembers of one rider on the way of one order. Units: metres, Unix ms.

    `is_there` is what his taps or his positions have said.
    """

    __slots__ = (
        "_before", "_east_m", "_inside", "_since_ms", "anchor", "eta_due_ms", "eta_told",
        "is_there", "lat", "lng", "order_id", "ratio", "route_due_ms", "speed_due_ms", "speed_mps",
        "to",
    )  # fmt: skip

    def __init__(self, course: Course) -> None:
        self.order_id = course.order_id
        self.to: Stop = "pickup" if course.state in _COMING else "dropoff"
        self.is_there = course.state in _THERE
        place = course.pickup if self.to == "pickup" else course.dropoff
        self.lat, self.lng = place.lat, place.lng
        self._east_m = DEGREE_M * cos(radians(place.lat))
        self._inside = 0
        self._since_ms = 0
        self._before: tuple[float, int] | None = None
        # For the forecast: where a stretch began whose speed is learned; what was told last, as
        # (seconds, when); when it is worked out again; the speed around him, and when it is looked
        # up again; a router's seconds over ours.
        self.anchor: Position | None = None
        self.eta_told: tuple[float, int] | None = None
        self.eta_due_ms = 0
        self.speed_mps = 0.0
        self.speed_due_ms = 0
        self.ratio = 1.0
        self.route_due_ms = 0

    def away_m(self, at: Position) -> float:
        """How far the place is, on a plane that touches it: exact to a metre within a city."""
        east = (at.lng - self.lng + 180.0) % 360.0 - 180.0
        north_m, east_m = (at.lat - self.lat) * DEGREE_M, east * self._east_m
        return sqrt(north_m * north_m + east_m * east_m)

    def arrives(self, away_m: float, at: Position) -> bool:
        """Whether this fix is what shows that he is there; true once."""
        before, self._before = self._before, (away_m, at.ts)
        if self.is_there:
            return False
        if away_m > OUT_M or not _is_slow(away_m, at, before):
            self._inside = 0
            return False
        if away_m <= IN_M:
            if self._inside == 0:
                self._since_ms = at.ts
            self._inside += 1
        elif not self._inside:
            return False
        self.is_there = self._inside >= FIXES_MIN or at.ts - self._since_ms >= STAY_MS
        return self.is_there


def _is_slow(away_m: float, at: Position, before: tuple[float, int] | None) -> bool:
    """By the phone's word, else by how fast the place came nearer; a first fix says nothing."""
    if at.speed is not None:
        return at.speed <= SLOW_MPS
    if before is None:
        return True
    before_m, before_ms = before
    return abs(before_m - away_m) * 1000 <= SLOW_MPS * (at.ts - before_ms)
