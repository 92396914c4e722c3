"""Distances and directions on the globe, for one pair of points and for many at once."""

from math import asin, atan2, cos, degrees, radians, sin, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Source: IUGG mean radius R1 (Moritz 2000, Geodetic Reference System 1980). Units: metres.
EARTH_RADIUS_M = 6_371_008.8

Floats = NDArray[np.float64]


class Point(Protocol):
    """Whatever has a place. Units: degrees WGS 84."""

    @property
    def lat(self) -> float:
        """Degrees north of the equator."""
        ...

    @property
    def lng(self) -> float:
        """Degrees east of Greenwich."""
        ...


def haversine_m(lat_a: float, lng_a: float, lat_b: float, lng_b: float) -> float:
    """The shortest way over a round earth between two points.

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
    """The shortest way between two points. Units: metres."""
    return haversine_m(a.lat, a.lng, b.lat, b.lng)


def distances_m(lat: float, lng: float, lats: ArrayLike, lngs: ArrayLike) -> Floats:
    """The same from one point to many. Shapes: lats, lngs, answer (n,). Units: metres."""
    north_a, north_b = np.radians(lat), np.radians(np.asarray(lats, dtype=np.float64))
    half_lat = np.sin((north_b - north_a) / 2)
    half_lng = np.sin(np.radians(np.asarray(lngs, dtype=np.float64) - lng) / 2)
    h = half_lat**2 + np.cos(north_a) * np.cos(north_b) * half_lng**2
    return 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(1.0, h)))


def bearing_deg(a: Point, b: Point) -> float:
    """The direction in which one leaves `a` for `b`. Units: degrees from north, 0 to below 360."""
    north_a, north_b = radians(a.lat), radians(b.lat)
    east = radians(b.lng - a.lng)
    x = sin(east) * cos(north_b)
    y = cos(north_a) * sin(north_b) - sin(north_a) * cos(north_b) * cos(east)
    # A tiny negative angle rounds to 360 itself, which is 0.
    return degrees(atan2(x, y)) % 360.0 % 360.0
