"""Geo cells: the H3 cells that shard the geo index; which one holds a point or touches an area."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import h3
from h3.api.basic_int import latlng_to_cell as latlng_to_number

from matching.geo import haversine_m

# The latitude and longitude up to which the index and the map reach; Redis has no geohash beyond.
# Source: Web Mercator's square (EPSG:3857). Units: degrees WGS 84.
LAT_MAX = 85.05112878
LNG_MAX = 180.0
# Cells 6.4 km across (36 km2): a city of 900 km2 spreads over some 25 slots of a cluster, and a
# search of 5 km touches about 7 of them, of 1.5 km about 2. One step coarser leaves a whole city
# in 4 slots; one step finer makes the same search touch 30.
# Source: H3 cell statistics, h3geo.org/docs/core-library/restable; counts are in the tests.
RESOLUTION = 6
# An area that touches more cells is not listed; the cells in use are tested against it instead.
# Source: a disk of 50 km touches 250.
CELLS_MAX = 256
# H3, Redis and matching.geo differ in the radius of a round earth (6,371.0 to 6,372.8 km).
RADIUS_SLACK_FACTOR = 1.001
RADIUS_SLACK_M = 10.0


class Circle(NamedTuple):
    """A circle on the globe. Units: degrees WGS 84, kilometres."""

    lat: float
    lng: float
    radius_km: float


class BoundingBox(NamedTuple):
    """A map window; where west lies east of east it crosses the date line. Units: degrees."""

    south: float
    west: float
    north: float
    east: float

    def contains(self, lat: float, lng: float) -> bool:
        """Whether the point is inside."""
        if not self.south <= lat <= self.north:
            return False
        if self.west <= self.east:
            return self.west <= lng <= self.east
        return lng >= self.west or lng <= self.east


class _CellCircle(NamedTuple):
    """The bounding circle of a cell. Units: degrees, metres."""

    lat: float
    lng: float
    radius_m: float


def cell_of(lat: float, lng: float) -> str:
    """The cell that holds a point. Units: degrees."""
    return _cell_name(latlng_to_number(lat, lng, RESOLUTION))


def cells_in_circle(circle: Circle) -> list[str] | None:
    """All cells that touch a circle, and perhaps a few beside; None above `CELLS_MAX`."""
    lat, lng, radius_m = circle.lat, circle.lng, circle.radius_km * 1000
    start = cell_of(lat, lng)
    return _flood_fill(start, lambda cell: touches_circle(cell, lat, lng, radius_m))


def cells_in_box(box: BoundingBox) -> list[str] | None:
    """All cells that touch a box, and perhaps a few beside; None above `CELLS_MAX`."""
    width = (box.east - box.west) % 360
    middle = (box.west + width / 2 + 180) % 360 - 180
    start = cell_of((box.south + box.north) / 2, middle)
    return _flood_fill(start, lambda cell: touches_box(cell, box))


def touches_circle(cell: str, lat: float, lng: float, radius_m: float) -> bool:
    """Whether a cell may hold a point within `radius_m` of a point. Units: degrees, metres."""
    bounds = _bounding_circle(cell)
    reach_m = (radius_m + bounds.radius_m) * RADIUS_SLACK_FACTOR + RADIUS_SLACK_M
    return haversine_m(lat, lng, bounds.lat, bounds.lng) <= reach_m


def touches_box(cell: str, box: BoundingBox) -> bool:
    """Whether a cell may hold a point of the box."""
    bounds = _bounding_circle(cell)
    lat = min(max(bounds.lat, box.south), box.north)
    lng = bounds.lng
    if not box.contains(lat, lng):
        lng = _nearest_edge(lng, box.west, box.east)
    # Towards the poles the nearest point of a meridian lies a little off the parallel.
    reach_m = bounds.radius_m * 1.05 + RADIUS_SLACK_M
    return haversine_m(lat, lng, bounds.lat, bounds.lng) <= reach_m


def _nearest_edge(lng: float, west: float, east: float) -> float:
    def distance_deg(edge: float) -> float:
        return abs((lng - edge + 180) % 360 - 180)

    return min(west, east, key=distance_deg)


def _flood_fill(start: str, touches: Callable[[str], bool]) -> list[str] | None:
    """The cells that touch, found from neighbour to neighbour: they are connected."""
    found, edge = {start}, [start]
    while edge:
        near = {each for cell in edge for each in _neighbours(cell)} - found
        edge = [cell for cell in near if touches(cell)]
        found.update(edge)
        if len(found) > CELLS_MAX:
            return None
    return sorted(found)


# Called for every fix; the library's conversion takes as long as finding the cell.
@lru_cache(maxsize=16_384)
def _cell_name(number: int) -> str:
    return h3.int_to_str(number)


@lru_cache(maxsize=16_384)
def _neighbours(cell: str) -> list[str]:
    return h3.grid_disk(cell, 1)


@lru_cache(maxsize=16_384)
def _bounding_circle(cell: str) -> _CellCircle:
    lat, lng = h3.cell_to_latlng(cell)
    corners = h3.cell_to_boundary(cell)
    return _CellCircle(lat, lng, max(haversine_m(lat, lng, *corner) for corner in corners))
