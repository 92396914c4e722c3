"""Flat projection around the pickups of a city's orders: pure."""

from collections.abc import Collection
from math import cos, hypot, radians

from dispatch.model import Place
from matching.geo import EARTH_RADIUS_M

# A point on the plane. Units: metres east and north of its origin.
PlanePoint = tuple[float, float]


class PlaneProjection:
    """An equirectangular projection around the mean of some places; good within a city."""

    def __init__(self, places: Collection[Place]) -> None:
        self._lat = sum(each.lat for each in places) / max(1, len(places))
        self._lng = sum(each.lng for each in places) / max(1, len(places))
        self._metres_per_lat_deg = radians(1) * EARTH_RADIUS_M
        self._metres_per_lng_deg = self._metres_per_lat_deg * cos(radians(self._lat))

    def point(self, lat: float, lng: float) -> PlanePoint:
        """A position on the plane. Units: degrees WGS 84 in, metres out."""
        return (
            (lng - self._lng) * self._metres_per_lng_deg,
            (lat - self._lat) * self._metres_per_lat_deg,
        )

    def point_of(self, place: Place) -> PlanePoint:
        """A place on the plane. Units: metres."""
        return self.point(place.lat, place.lng)


def plane_distance_m(start: PlanePoint, end: PlanePoint) -> float:
    """The distance of two points on the plane. Units: metres."""
    return hypot(start[0] - end[0], start[1] - end[1])
