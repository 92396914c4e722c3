"""The streets of the simulated city: land, districts, routes."""

import itertools
import math

import pytest

from city.model.seeded_random import seeded_random
from city.model.streets import (
    DISTRICTS,
    District,
    Route,
    Streets,
    build_streets,
    is_on_land,
    to_metres,
)

WOURI = (4.0600, 9.6850)
RUNWAY = (4.0100, 9.7200)


@pytest.fixture(scope="module")
def streets() -> Streets:
    return build_streets()


def test_river_and_runway_are_not_land() -> None:
    """A point in the Wouri and one on the runway are not on land."""
    assert not is_on_land(to_metres(*WOURI))
    assert not is_on_land(to_metres(*RUNWAY))


@pytest.mark.parametrize("district", DISTRICTS, ids=lambda district: district.name)
def test_every_district_has_a_street(streets: Streets, district: District) -> None:
    """Every district's centre is on land, with a crossing nearer than a block."""
    centre = to_metres(district.lat, district.lng)
    assert is_on_land(centre)
    assert math.dist(centre, streets.crossings[streets.nearest_crossing(centre)]) < 200


def test_the_streets_are_connected(streets: Streets) -> None:
    """There is a route from the river bank to the far end of the city."""
    first, last = min(streets.crossings.values()), max(streets.crossings.values())
    assert streets.route(first, last).length_m >= math.dist(first, last)


def test_streets_are_the_same_every_time(streets: Streets) -> None:
    """Two builds of the streets are equal."""
    assert build_streets() == streets


def test_crossings_are_on_land_inside_the_box(streets: Streets) -> None:
    """All crossings stand on land."""
    assert len(streets.crossings) > 2_000
    assert all(is_on_land(crossing) for crossing in streets.crossings.values())


def test_a_route_follows_streets(streets: Streets) -> None:
    """No piece of a route is longer than a street, and their sum is the route's length."""
    start, end = to_metres(4.049, 9.701), to_metres(4.0870, 9.7380)
    route = streets.route(start, end)
    pieces = [math.dist(a, b) for a, b in itertools.pairwise(route.points)]
    assert route.points[0] == start
    assert route.points[-1] == end
    assert max(pieces) < 400
    assert math.isclose(sum(pieces), route.length_m)
    assert route.length_m < 2 * math.dist(start, end)


def test_routes_are_the_quickest(streets: Streets) -> None:
    """Routes there and back take the same time, as quickest routes do."""
    rng = seeded_random("quickest")
    nodes = rng.sample(sorted(streets.crossings), 6)
    for a, b in itertools.pairwise(nodes):
        forth = streets.route(streets.crossings[a], streets.crossings[b])
        back = streets.route(streets.crossings[b], streets.crossings[a])
        assert math.isclose(_cruising_time(forth), _cruising_time(back), rel_tol=1e-6)


def test_a_point_outside_is_refused(streets: Streets) -> None:
    """A point 200 km away has no nearest crossing."""
    with pytest.raises(ValueError, match="far outside"):
        streets.nearest_crossing((200_000.0, 0.0))


def test_random_points_near_a_point_are_near_it(streets: Streets) -> None:
    """Points asked for at 600 m are between 350 and 850 m away."""
    rng = seeded_random("doors")
    akwa = to_metres(4.049, 9.705)
    doors = [streets.random_point_near(akwa, 600, rng) for _ in range(50)]
    assert all(350 < math.dist(akwa, door) < 850 for door in doors)


def _cruising_time(route: Route) -> float:
    pieces = (math.dist(a, b) for a, b in itertools.pairwise(route.points))
    return sum(piece / factor for piece, factor in zip(pieces, route.speed_factors, strict=True))
