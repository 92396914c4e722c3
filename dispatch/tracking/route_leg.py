"""One order's way to its next place, as its rider goes it: how far, and whether he is there; pure.

Beside step 2 of a fix's way: tracking.guide → [here].
"""

from math import cos, radians, sqrt

from dispatch.model import DispatchState, Position, RiderAssignment
from dispatch.wire.events import Stop

# Source: tracking design: within 40 m in, beyond 60 m out, two fixes or five seconds, and slow.
ARRIVAL_RADIUS_M, DEPARTURE_RADIUS_M = 40.0, 60.0
FIXES_MIN = 2
STAY_MIN_MS = 5_000
# Source: bench/eta.py, 2026-11-21, 805 traces (GOAL, CC BY 4.0): 99.0 % of steps on foot are not
# above it, of driven ones 28.8 %, for whom the other evidence decides.
SLOW_MAX_MPS = 3.0
# A degree of latitude on the earth of `matching.geo`.
DEGREE_M = 111_195.1

_ARRIVED_STATES = frozenset({DispatchState.AT_PICKUP, DispatchState.AT_DROPOFF})
_TO_PICKUP_STATES = frozenset({DispatchState.ASSIGNED, DispatchState.AT_PICKUP})


class RouteLeg:
    """What a node remembers of one rider on the way of one order. Units: metres, Unix ms.

    `is_there` is what his taps or his positions have said.
    """

    __slots__ = (
        "_east_m",
        "_inside_count",
        "_inside_since_ms",
        "_previous",
        "eta_due_ms",
        "has_arrived",
        "last_sent_eta",
        "lat",
        "lng",
        "order_id",
        "route_due_ms",
        "router_ratio",
        "speed_due_ms",
        "speed_mps",
        "stretch_start",
        "to",
    )  # fmt: skip

    def __init__(self, assignment: RiderAssignment) -> None:
        self.order_id = assignment.order_id
        self.to: Stop = "pickup" if assignment.state in _TO_PICKUP_STATES else "dropoff"
        self.has_arrived = assignment.state in _ARRIVED_STATES
        place = assignment.pickup if self.to == "pickup" else assignment.dropoff
        self.lat, self.lng = place.lat, place.lng
        self._east_m = DEGREE_M * cos(radians(place.lat))
        self._inside_count = 0
        self._inside_since_ms = 0
        self._previous: tuple[float, int] | None = None
        # For the forecast: where a stretch began whose speed is learned; what was told last, as
        # (seconds, when); when it is worked out again; the speed around him, and when it is looked
        # up again; a router's seconds over ours.
        self.stretch_start: Position | None = None
        self.last_sent_eta: tuple[float, int] | None = None
        self.eta_due_ms = 0
        self.speed_mps = 0.0
        self.speed_due_ms = 0
        self.router_ratio = 1.0
        self.route_due_ms = 0

    def distance_m(self, position: Position) -> float:
        """How far the place is, on a plane that touches it: exact to a metre within a city."""
        east = (position.lng - self.lng + 180.0) % 360.0 - 180.0
        north_m, east_m = (position.lat - self.lat) * DEGREE_M, east * self._east_m
        return sqrt(north_m * north_m + east_m * east_m)

    def detect_arrival(self, away_m: float, position: Position) -> bool:
        """Whether this fix is what shows that he is there; true once."""
        before, self._previous = self._previous, (away_m, position.ts)
        if self.has_arrived:
            return False
        if away_m > DEPARTURE_RADIUS_M or not _is_slow(away_m, position, before):
            self._inside_count = 0
            return False
        if away_m <= ARRIVAL_RADIUS_M:
            if self._inside_count == 0:
                self._inside_since_ms = position.ts
            self._inside_count += 1
        elif not self._inside_count:
            return False
        self.has_arrived = (
            self._inside_count >= FIXES_MIN or position.ts - self._inside_since_ms >= STAY_MIN_MS
        )
        return self.has_arrived


def _is_slow(away_m: float, position: Position, previous: tuple[float, int] | None) -> bool:
    """By the phone's word, else by how fast the place came nearer; a first fix says nothing."""
    if position.speed is not None:
        return position.speed <= SLOW_MAX_MPS
    if previous is None:
        return True
    before_m, before_ms = previous
    return abs(before_m - away_m) * 1000 <= SLOW_MAX_MPS * (position.ts - before_ms)
