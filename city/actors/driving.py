"""A rider's position and drives: true positions, independent of what its GPS reports."""

from collections.abc import Callable
from random import Random

from city.actors.city import City
from city.model.motion import DrivenRoute, TruePosition, Vehicle, drive
from city.model.streets import Point

PositionSource = Callable[[], TruePosition]


class RiderMotion:
    """Where a rider is, and the route that it drives. Units: metres from the origin."""

    def __init__(self, city: City, start: Point, vehicle: Vehicle, rng: Random) -> None:
        self._city = city
        self._position = start
        self._vehicle = vehicle
        self._rng = rng
        self._route: DrivenRoute | None = None
        self._departed_at_s = 0.0

    def true_position(self) -> TruePosition:
        """Where the rider is now."""
        if self._route is None:
            return TruePosition(self._position, 0.0, 0.0)
        return self._route.position_at(self._city.clock.monotonic_s() - self._departed_at_s)

    def start_drive(self, destination: Point) -> DrivenRoute:
        """Drive from the current position to a point."""
        city = self._city
        route = city.streets.route(self.true_position().point, destination)
        self._route = drive(
            route, self._vehicle, self._rng, city.time_scale, speed_max=city.wire_speed_max
        )
        self._departed_at_s = city.clock.monotonic_s()
        return self._route

    def stop(self) -> None:
        """Stop at the current position."""
        self._position = self.true_position().point
        self._route = None
