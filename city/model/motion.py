"""Motion of a vehicle along a route: speeds, corners and stops; the true positions behind fixes."""

import math
from dataclasses import dataclass
from random import Random

from city.model.streets import Point, Route

# Source: measured 2026-11-21 on 805 traces of delivery agents (GOAL, github.com/amazon-science/
# goal-gps-ordered-activity-labels, CC BY 4.0), 25,351 steps of 5 s labelled Driving: acceleration
# sd 0.53 m/s2, 99th percentile 1.3; 0.98 stops a driving minute, of 5 s (median) to 30 s (p95).
ACCELERATION = 1.3
BRAKING = 1.6
STOPS_PER_MINUTE = 0.98
STOP_MEAN_S = 8.0
# Source: same traces: a step's speed correlates 0.92 with the next one's, sd 6.5 over a mean of
# 8.4 m/s; most of it is due to the road, a quarter is taken as the driver's.
CRUISE_SD = 0.25
# Largest speed in fixes, whatever the time scale; a server may refuse positions of a motorbike
# beyond some 35 m/s. Units: metres per second.
WIRE_SPEED_MAX = 20.0
CORNER_RADIANS = math.radians(35)
STEP_S = 0.5
# A drive ends after this many steps: 2 h, longer than any route through the city.
STEPS_MAX = 14_400


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A rider's vehicle. Units: metres per second."""

    name: str
    cruise_mps: float
    corner_mps: float


# Source: motorbike and car from the traces (moving mean 8.4 m/s), a loaded bicycle and a walker
# from common figures (15 and 5 km/h; a moving step on foot has a median of 1.2 m/s in the traces).
VEHICLES = {
    "MOTORBIKE": Vehicle("MOTORBIKE", cruise_mps=8.4, corner_mps=4.0),
    "CAR": Vehicle("CAR", cruise_mps=8.0, corner_mps=3.5),
    "BICYCLE": Vehicle("BICYCLE", cruise_mps=4.2, corner_mps=3.0),
    "FOOT": Vehicle("FOOT", cruise_mps=1.3, corner_mps=1.3),
}


@dataclass(frozen=True, slots=True)
class TruePosition:
    """A rider's true position. Units: metres from the origin, m/s, degrees from north."""

    point: Point
    speed_mps: float
    heading_deg: float


@dataclass(frozen=True, slots=True)
class DrivenRoute:
    """A driven route: the position at each time step.

    Shapes: `path` (n,), `step_s` apart. Units: wall-clock seconds.
    """

    step_s: float
    path: tuple[TruePosition, ...]

    @property
    def duration_s(self) -> float:
        """Time from departure to arrival."""
        return self.step_s * (len(self.path) - 1)

    @property
    def end(self) -> Point:
        """The destination. Units: metres from the origin."""
        return self.path[-1].point

    def position_at(self, elapsed_s: float) -> TruePosition:
        """Position at a time after departure; beyond the arrival the destination, at rest.

        Units: wall-clock seconds.
        """
        place = max(elapsed_s, 0.0) / self.step_s
        index = int(place)
        if index >= len(self.path) - 1:
            last = self.path[-1]
            return TruePosition(last.point, 0.0, last.heading_deg)
        here, there, part = self.path[index], self.path[index + 1], place - index
        point = (
            here.point[0] + part * (there.point[0] - here.point[0]),
            here.point[1] + part * (there.point[1] - here.point[1]),
        )
        return TruePosition(
            point, here.speed_mps + part * (there.speed_mps - here.speed_mps), here.heading_deg
        )


def drive(
    route: Route,
    vehicle: Vehicle,
    rng: Random,
    time_scale: float = 1.0,
    *,
    speed_max: float = WIRE_SPEED_MAX,
) -> DrivenRoute:
    """Drive a route with random stops and a random cruising speed.

    Units: `time_scale` is seconds of the city in one second of the wall clock; `speed_max` metres
    per second of the wall clock, which speeds in fixes never exceed.
    """
    scaled_max = speed_max / time_scale
    cruise = min(vehicle.cruise_mps * max(0.4, rng.gauss(1.0, CRUISE_SD)), scaled_max)
    limits = _speed_limits(route, cruise, min(vehicle.corner_mps, cruise), scaled_max)
    along, speed, halted_s = 0.0, 0.0, 0.0
    path = [_true_position(route, limits, 0.0, 0.0)]
    while along < route.length_m and len(path) < STEPS_MAX:
        if halted_s > 0:
            halted_s, speed = halted_s - STEP_S, 0.0
        elif speed > 0 and rng.random() < STOPS_PER_MINUTE * STEP_S / 60:
            halted_s = rng.expovariate(1 / STOP_MEAN_S)
        else:
            allowed = _allowed_speed(limits, along)
            speed = max(min(speed + ACCELERATION * STEP_S, allowed), min(0.8, allowed))
        along = min(along + speed * STEP_S, route.length_m)
        path.append(_true_position(route, limits, along, speed * time_scale))
    return DrivenRoute(STEP_S / time_scale, tuple(path))


@dataclass(frozen=True, slots=True)
class _SpeedLimit:
    start_m: float
    end_m: float
    speed: float
    end_speed: float
    origin: Point
    heading: float


def _speed_limits(
    route: Route, cruise: float, corner: float, speed_max: float
) -> list[_SpeedLimit]:
    limits: list[_SpeedLimit] = []
    start = 0.0
    for index, factor in enumerate(route.speed_factors):
        a, b = route.points[index], route.points[index + 1]
        length = math.dist(a, b)
        bearing = math.atan2(b[0] - a[0], b[1] - a[1])
        is_last = index == len(route.speed_factors) - 1
        end_speed = corner if is_last or _is_corner(route, index) else speed_max
        limits.append(
            _SpeedLimit(
                start, start + length, min(cruise * factor, speed_max), end_speed, a, bearing
            )
        )
        start += length
    return limits


def _is_corner(route: Route, index: int) -> bool:
    a, b, c = route.points[index : index + 3]
    before = math.atan2(b[0] - a[0], b[1] - a[1])
    after = math.atan2(c[0] - b[0], c[1] - b[1])
    return abs((after - before + math.pi) % (2 * math.pi) - math.pi) > CORNER_RADIANS


def _limit_at(limits: list[_SpeedLimit], along_m: float) -> _SpeedLimit:
    return next((limit for limit in limits if along_m < limit.end_m), limits[-1])


def _allowed_speed(limits: list[_SpeedLimit], along_m: float) -> float:
    limit = _limit_at(limits, along_m)
    left_m = max(limit.end_m - along_m, 0.0)
    return min(limit.speed, math.sqrt(limit.end_speed**2 + 2 * BRAKING * left_m))


def _true_position(
    route: Route, limits: list[_SpeedLimit], along_m: float, speed: float
) -> TruePosition:
    limit = _limit_at(limits, along_m)
    beyond = min(along_m, route.length_m) - limit.start_m
    point = (
        limit.origin[0] + beyond * math.sin(limit.heading),
        limit.origin[1] + beyond * math.cos(limit.heading),
    )
    return TruePosition(point, speed, math.degrees(limit.heading) % 360)
