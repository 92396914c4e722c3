"""Great-circle distances between points on the globe."""

from math import asin, cos, pi, radians, sin, sqrt
from typing import Protocol

# Source: IUGG mean radius R1 (Moritz 2000, Geodetic Reference System 1980). Units: metres.
EARTH_RADIUS_M = 6_371_008.8
# The length of one degree of latitude; no degree of longitude is longer. Units: metres.
DEGREE_M = EARTH_RADIUS_M * pi / 180


class Point(Protocol):
    """Anything with coordinates. Units: degrees WGS 84."""

    @property
    def lat(self) -> float:
        """Degrees north of the equator."""
        ...

    @property
    def lng(self) -> float:
        """Degrees east of Greenwich."""
        ...


def haversine_m(lat_a: float, lng_a: float, lat_b: float, lng_b: float) -> float:
    """Great-circle distance between two points.

    Units: degrees in, metres out. Source: Sinnott 1984, "Virtues of the Haversine"; within 0.6 %
    of the ellipsoid.
    """
    north_a, north_b = radians(lat_a), radians(lat_b)
    half_lat = sin((north_b - north_a) / 2)
    half_lng = sin(radians(lng_b - lng_a) / 2)
    h = half_lat * half_lat + cos(north_a) * cos(north_b) * half_lng * half_lng
    # Rounding may lift h above 1 for points on opposite sides of the earth.
    return 2 * EARTH_RADIUS_M * asin(sqrt(min(1.0, h)))


def distance_m(a: Point, b: Point) -> float:
    """Great-circle distance between two points. Units: metres."""
    return haversine_m(a.lat, a.lng, b.lat, b.lng)
