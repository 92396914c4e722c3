"""Distances and directions, against figures that others have published."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matching.geo import EARTH_RADIUS_M, bearing_deg, distance_m, distances_m, haversine_m


class GeoPoint(NamedTuple):
    lat: float
    lng: float


spots = st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180))


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        # Nashville to Los Angeles airport, the common test case of haversine implementations,
        # 2887.26 km on a radius of 6372.8 km.
        (GeoPoint(36.12, -86.67), GeoPoint(33.94, -118.40), 2886.44),
        # One degree along the equator and one along a meridian: a 360th of the girth.
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


@given(spots, spots)
def test_a_distance_has_no_direction(a: GeoPoint, b: GeoPoint):
    """There and back are equally long, never negative, never more than half the globe."""
    assert distance_m(a, b) == pytest.approx(distance_m(b, a), abs=1e-6)
    assert 0 <= distance_m(a, b) <= math.pi * EARTH_RADIUS_M * (1 + 1e-12)


@given(spots, st.lists(spots, max_size=8))
def test_many_at_once_are_the_same_as_one_by_one(a: GeoPoint, others: list[GeoPoint]):
    """The columns give what the single pair gives."""
    together = distances_m(a.lat, a.lng, [o.lat for o in others], [o.lng for o in others])
    apart = [haversine_m(a.lat, a.lng, o.lat, o.lng) for o in others]
    assert np.allclose(together, np.array(apart), rtol=1e-9, atol=1e-3)


@pytest.mark.parametrize(
    ("b", "degrees"),
    [
        (GeoPoint(5, 9), 0),
        (GeoPoint(4, 10), 90),
        (GeoPoint(3, 9), 180),
        (GeoPoint(4, 8), 270),
        (GeoPoint(4, 9), 0),
    ],
)
def test_bearings_of_the_compass(b: GeoPoint, degrees: float):
    """North is 0 and the angle grows with the clock; near the equator east is due east."""
    assert bearing_deg(GeoPoint(4, 9), b) == pytest.approx(degrees, abs=0.04)


@given(spots, spots)
def test_a_bearing_is_an_angle(a: GeoPoint, b: GeoPoint):
    """Whatever the points, a bearing is at least 0 and below 360."""
    assert 0 <= bearing_deg(a, b) < 360
