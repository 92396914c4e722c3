"""Route leg: one order's way to its next stop; distance and arrival detection; pure."""

from math import cos, radians, sqrt

from dispatch.model import DispatchState, Position, RiderAssignment
from dispatch.wire.events import Stop
from matching.geo import DEGREE_M

# A rider has arrived after two slow fixes within 40 m, or after staying within 60 m for 5 s.
# Source: chosen; the marker moves with fixes that are accurate to 50 m (fixes.rules).
ARRIVAL_RADIUS_M, DEPARTURE_RADIUS_M = 40.0, 60.0
FIXES_MIN = 2
STAY_MIN_MS = 5_000
# Source: bench/eta.py, measured 2026-11-21 on 805 traces (GOAL, CC BY 4.0): 99.0 % of steps on foot
# are not above it, and 28.8 % of driven ones, for which distance and time decide.
SLOW_MAX_MPS = 3.0

_ARRIVED_STATES = frozenset({DispatchState.AT_PICKUP, DispatchState.AT_DROPOFF})
_TO_PICKUP_STATES = frozenset({DispatchState.ASSIGNED, DispatchState.AT_PICKUP})


class RouteLeg:
    """What a node keeps of one rider on the leg of one order.

    `has_arrived`: the rider has confirmed the arrival in the app, or its positions have shown it.

    Units: metres, Unix milliseconds.
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
        stop = assignment.pickup if self.to == "pickup" else assignment.dropoff
        self.lat, self.lng = stop.lat, stop.lng
        # A degree of longitude at the stop.
        self._east_m = DEGREE_M * cos(radians(stop.lat))
        self._inside_count = 0
        self._inside_since_ms = 0
        # Distance and time of the fix before.
        self._previous: tuple[float, int] | None = None
        # Written by tracking.eta: where the stretch began whose speed is being learned; the last
        # ETA sent, as (seconds, when); when it is estimated again; the learned speed here, and when
        # it is looked up again; a router's ETA over ours, and when it is asked again.
        self.stretch_start: Position | None = None
        self.last_sent_eta: tuple[float, int] | None = None
        self.eta_due_ms = 0
        self.speed_mps = 0.0
        self.speed_due_ms = 0
        self.router_ratio = 1.0
        self.route_due_ms = 0

    def distance_m(self, position: Position) -> float:
        """Distance from the stop, on a plane that touches it: exact to a metre within a city.

        Units: metres.
        """
        east = (position.lng - self.lng + 180.0) % 360.0 - 180.0
        north_m, east_m = (position.lat - self.lat) * DEGREE_M, east * self._east_m
        return sqrt(north_m * north_m + east_m * east_m)

    def detect_arrival(self, away_m: float, position: Position) -> bool:
        """Whether this fix completes the evidence of an arrival; true at most once.

        Units: `away_m` metres from the stop.
        """
        previous, self._previous = self._previous, (away_m, position.ts)
        if self.has_arrived:
            return False
        if away_m > DEPARTURE_RADIUS_M or not _is_slow(away_m, position, previous):
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
    """Whether the rider is slow: by the reported speed, else by how fast the distance changed.

    A first fix without a speed counts as slow.
    """
    if position.speed is not None:
        return position.speed <= SLOW_MAX_MPS
    if previous is None:
        return True
    previous_m, previous_ms = previous
    return abs(previous_m - away_m) * 1000 <= SLOW_MAX_MPS * (position.ts - previous_ms)
