"""Geo cells cover every area completely, with few cells."""

import random

import pytest

from dispatch.tracking.stores import geo_cells
from dispatch.tracking.stores.geo_cells import BoundingBox, Circle, cell_of
from matching.geo import haversine_m
from tests.dispatch.tracking.stores.updates import DOUALA


@pytest.mark.parametrize(("radius_km", "most"), [(1.5, 4), (5, 9), (7, 13)])
def test_a_circle_touches_few_cells(radius_km: float, most: int):
    """A search of 1.5 km touches at most 4 cells, one of 7 km at most 13."""
    rng = random.Random(1)
    counts = [
        len(
            geo_cells.cells_in_circle(Circle(4 + rng.random(), 9 + rng.random(), radius_km))
            or range(999)
        )
        for _ in range(200)
    ]
    assert max(counts) <= most


def test_an_area_of_a_thousand_cells_is_not_listed():
    """An area of more than `CELLS_MAX` cells gives None instead of a list."""
    assert geo_cells.cells_in_circle(Circle(*DOUALA, 500)) is None
    assert geo_cells.cells_in_box(BoundingBox(-60, -170, 60, 170)) is None


def test_no_cell_that_touches_a_circle_is_missed():
    """Every point inside a circle lies in a listed cell, at random places of the globe."""
    rng = random.Random(23)
    for _ in range(300):
        centre = (rng.uniform(-80, 80), rng.uniform(-180, 180))
        circle = Circle(*centre, rng.uniform(0.1, 12))
        listed = set(geo_cells.cells_in_circle(circle) or ())
        offsets = [(rng.gauss(0, 0.05), rng.gauss(0, 0.05)) for _ in range(40)]
        points = [(centre[0] + dy, (centre[1] + dx + 180) % 360 - 180) for dy, dx in offsets]
        inside = [p for p in points if haversine_m(*centre, *p) <= circle.radius_km * 1000]
        assert {cell_of(*point) for point in inside} <= listed


def test_a_box_contains_its_edges_and_may_cross_the_date_line():
    """The edges belong to a box; where west lies east of east it holds both sides of the line."""
    box = BoundingBox(south=4.0, west=9.0, north=5.0, east=10.0)
    assert box.contains(4.0, 9.0)
    assert not box.contains(3.999, 9.5)
    assert not box.contains(4.5, 10.001)
    pacific = BoundingBox(south=-18, west=179, north=-16, east=-179)
    assert pacific.contains(-17, 180)
    assert pacific.contains(-17, -179.5)
    assert not pacific.contains(-17, 0)
