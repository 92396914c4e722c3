"""Flat projection: distances on the plane agree with those on the globe within a city."""

import pytest

from dispatch.model import Place
from dispatch.orders.batch.plane import PlaneProjection, plane_distance_m
from matching.geo import haversine_m

AKWA, BONABERI = Place(lat=4.05, lng=9.70), Place(lat=4.10, lng=9.60)


def test_the_plane_keeps_distances_of_a_city():
    """Over 12 km the error is below a metre in a thousand."""
    plane = PlaneProjection([AKWA, BONABERI])
    on_plane_m = plane_distance_m(plane.point_of(AKWA), plane.point_of(BONABERI))

    assert on_plane_m == pytest.approx(
        haversine_m(AKWA.lat, AKWA.lng, BONABERI.lat, BONABERI.lng), rel=1e-3
    )


def test_x_points_east_and_y_points_north():
    """The origin is the mean of the places."""
    plane = PlaneProjection([AKWA])

    assert plane.point_of(AKWA) == (0.0, 0.0)
    assert plane.point(AKWA.lat, AKWA.lng + 0.01)[0] > 1_000
    assert plane.point(AKWA.lat + 0.01, AKWA.lng)[1] == pytest.approx(1_111.95, abs=0.01)


def test_a_plane_without_places_has_an_origin():
    """A city without orders is still a plane."""
    assert PlaneProjection([]).point(0.0, 0.0) == (0.0, 0.0)
