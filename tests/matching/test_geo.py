"""Great-circle distances, against published figures."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matching.geo import EARTH_RADIUS_M, distance_m, haversine_m


class GeoPoint(NamedTuple):
    lat: float
    lng: float


points = st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180))


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        # Nashville to Los Angeles airport, the common test case of haversine implementations,
        # 2887.26 km on a radius of 6372.8 km.
        (GeoPoint(36.12, -86.67), GeoPoint(33.94, -118.40), 2886.44),
        # One degree along the equator and one along a meridian: a 360th of the circumference.
        (GeoPoint(0, 0), GeoPoint(0, 1), 111.195),
        (GeoPoint(4, 9.7), GeoPoint(5, 9.7), 111.195),
        # Over the date line, not around the world.
        (GeoPoint(0, 179.5), GeoPoint(0, -179.5), 111.195),
        (GeoPoint(90, 0), GeoPoint(-90, 77), math.pi * EARTH_RADIUS_M / 1000),
    ],
)
def test_known_distances(a: GeoPoint, b: GeoPoint, km: float):
    """Known pairs of places are as far apart as published, within ten metres in a thousand km."""
    assert distance_m(a, b) / 1000 == pytest.approx(km, rel=1e-5)


@given(points, points)
def test_a_distance_is_symmetric_and_bounded(a: GeoPoint, b: GeoPoint):
    """Both directions are equally long, not negative, and at most half the circumference."""
    assert distance_m(a, b) == pytest.approx(distance_m(b, a), abs=1e-6)
    assert 0 <= distance_m(a, b) <= math.pi * EARTH_RADIUS_M * (1 + 1e-12)


@given(points, points)
def test_points_and_coordinates_give_the_same_distance(a: GeoPoint, b: GeoPoint):
    """`distance_m` of two points is `haversine_m` of their coordinates."""
    assert distance_m(a, b) == haversine_m(a.lat, a.lng, b.lat, b.lng)
