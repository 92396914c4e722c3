"""Service area: the circles that a company delivers in, and what is wrong with a place: pure."""

from enum import StrEnum
from math import pi
from typing import NamedTuple

from matching.geo import EARTH_RADIUS_M, haversine_m

# The value that turns the check off.
OFF = "off"
# No two points on the globe are farther apart. Units: kilometres.
RADIUS_KM_MAX = EARTH_RADIUS_M * pi / 1000
# A device or a form without a position often reports latitude 0 and longitude 0, a point in the
# Atlantic 600 km from the nearest town. Source: chosen, far above the error of any GPS fix.
NULL_ISLAND_M = 100.0


class Circle(NamedTuple):
    """A part of the area. Units: degrees WGS 84, kilometres."""

    lat: float
    lng: float
    radius_km: float


class PlaceProblem(StrEnum):
    """Why a place is not in the area."""

    # Latitude 0 and longitude 0: no position at all.
    NULL_ISLAND = "null_island"
    # It lies in the area with latitude and longitude exchanged.
    SWAPPED = "swapped"
    OUTSIDE = "outside"


class ServiceArea(NamedTuple):
    """The places that are served; without circles it is every place but latitude 0, longitude 0."""

    circles: tuple[Circle, ...] = ()

    def contains(self, lat: float, lng: float) -> bool:
        """Whether a place is served. Units: degrees WGS 84."""
        return self.problem_of(lat, lng) is None

    def problem_of(self, lat: float, lng: float) -> PlaceProblem | None:
        """Why a place is not served, None for one that is. Units: degrees WGS 84."""
        if is_null_island(lat, lng):
            return PlaceProblem.NULL_ISLAND
        if not self.circles or self._is_in_a_circle(lat, lng):
            return None
        # A longitude may be no latitude.
        is_latitude = -90 <= lng <= 90
        if is_latitude and self._is_in_a_circle(lng, lat):
            return PlaceProblem.SWAPPED
        return PlaceProblem.OUTSIDE

    def _is_in_a_circle(self, lat: float, lng: float) -> bool:
        return any(
            haversine_m(each.lat, each.lng, lat, lng) <= each.radius_km * 1000
            for each in self.circles
        )


def is_null_island(lat: float, lng: float) -> bool:
    """Whether a position is the one that stands for none: within 100 m of latitude 0, longitude 0.

    Units: degrees WGS 84.
    """
    return haversine_m(0.0, 0.0, lat, lng) <= NULL_ISLAND_M


def parse_service_area(text: str) -> ServiceArea:
    """The area of a text such as `4.0511,9.7679,50;3.8480,11.5021,30`; `off` has no circles.

    Units: degrees WGS 84, kilometres.

    Errors: ValueError.
    """
    if text.strip().lower() == OFF:
        return ServiceArea()
    return ServiceArea(tuple(_parse_circle(part) for part in text.split(";") if part.strip()))


def _parse_circle(text: str) -> Circle:
    numbers = [float(part) for part in text.split(",")]
    if len(numbers) != len(Circle._fields):
        raise ValueError(f"{text.strip()!r} is not lat,lng,km")
    circle = Circle(*numbers)
    is_place = -90 <= circle.lat <= 90 and -180 <= circle.lng <= 180
    # A comparison with NaN is false.
    if not is_place or not 0 < circle.radius_km <= RADIUS_KM_MAX:
        raise ValueError(f"{text.strip()!r} is no circle on the globe")
    return circle
