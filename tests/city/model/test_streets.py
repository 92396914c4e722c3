"""The streets of the simulated city and how vehicles use them."""

import itertools
import math

import pytest

from city.model.motion import VEHICLES, WIRE_SPEED_MAX, DrivenRoute, drive
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


def random_drives(
    streets: Streets, vehicle: str, time_scale: float, number: int = 40
) -> list[DrivenRoute]:
    rng = seeded_random("trips", vehicle)
    starts = [streets.random_point(rng.choice(DISTRICTS), rng) for _ in range(number)]
    ends = [streets.random_point_near(start, rng.uniform(200, 2_500), rng) for start in starts]
    routes = [streets.route(start, end) for start, end in zip(starts, ends, strict=True)]
    return [drive(route, VEHICLES[vehicle], rng, time_scale) for route in routes]


def test_river_and_runway_are_not_land() -> None:
    """Nobody stands in the Wouri or on the runway."""
    assert not is_on_land(to_metres(*WOURI))
    assert not is_on_land(to_metres(*RUNWAY))


@pytest.mark.parametrize("district", DISTRICTS, ids=lambda district: district.name)
def test_districts_are_reached(streets: Streets, district: District) -> None:
    """Every district lies on land with a street not farther than a block."""
    centre = to_metres(district.lat, district.lng)
    assert is_on_land(centre)
    assert math.dist(centre, streets.crossings[streets.nearest_crossing(centre)]) < 200


def test_the_streets_are_one_piece(streets: Streets) -> None:
    """From the river bank one may drive to the far end of the city."""
    first, last = min(streets.crossings.values()), max(streets.crossings.values())
    assert streets.route(first, last).length_m >= math.dist(first, last)


def test_streets_are_the_same_every_time(streets: Streets) -> None:
    """The city is not built anew by another seed."""
    assert build_streets() == streets


def test_crossings_are_on_land_inside_the_box(streets: Streets) -> None:
    """All crossings stand on land."""
    assert len(streets.crossings) > 2_000
    assert all(is_on_land(crossing) for crossing in streets.crossings.values())


def test_a_route_follows_streets(streets: Streets) -> None:
    """No piece of a route is longer than a street, so nobody flies."""
    start, end = to_metres(4.049, 9.701), to_metres(4.0870, 9.7380)
    route = streets.route(start, end)
    pieces = [math.dist(a, b) for a, b in itertools.pairwise(route.points)]
    assert route.points[0] == start
    assert route.points[-1] == end
    assert max(pieces) < 400
    assert math.isclose(sum(pieces), route.length_m)
    assert route.length_m < 2 * math.dist(start, end)


def test_routes_are_the_quickest(streets: Streets) -> None:
    """The search with its hint of the distance finds what a search without would."""
    rng = seeded_random("quickest")
    nodes = rng.sample(sorted(streets.crossings), 6)
    for a, b in itertools.pairwise(nodes):
        forth = streets.route(streets.crossings[a], streets.crossings[b])
        back = streets.route(streets.crossings[b], streets.crossings[a])
        assert math.isclose(_minutes(forth), _minutes(back), rel_tol=1e-6)


def test_a_point_outside_is_refused(streets: Streets) -> None:
    """A point in another country has no street next to it."""
    with pytest.raises(ValueError, match="far outside"):
        streets.nearest_crossing((200_000.0, 0.0))


def test_doors_near_are_near(streets: Streets) -> None:
    """A door wanted at 600 m is found at about 600 m, on land."""
    rng = seeded_random("doors")
    akwa = to_metres(4.049, 9.705)
    doors = [streets.random_point_near(akwa, 600, rng) for _ in range(50)]
    assert all(350 < math.dist(akwa, door) < 850 for door in doors)


@pytest.mark.slow
@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("time_scale", [1.0, 2.5])
def test_trips_arrive_at_a_legal_speed(streets: Streets, vehicle: str, time_scale: float) -> None:
    """A trip ends at its door, and no step of it is faster than the wire's limit."""
    for trip in random_drives(streets, vehicle, time_scale):
        steps = [math.dist(a.point, b.point) for a, b in itertools.pairwise(trip.path)]
        assert max(steps) / trip.step_s <= WIRE_SPEED_MAX + 0.01
        assert max(truth.speed_mps for truth in trip.path) <= WIRE_SPEED_MAX + 0.01
        assert trip.position_at(trip.duration_s + 60).point == trip.end
        assert trip.position_at(trip.duration_s + 60).speed_mps == 0


def test_motorbikes_keep_the_pace_of_the_traces(streets: Streets) -> None:
    """Real agents move at 8.4 m/s and lie still a tenth of the time; ours about so."""
    truths = [truth for trip in random_drives(streets, "MOTORBIKE", 1.0) for truth in trip.path]
    moving = [truth.speed_mps for truth in truths if truth.speed_mps > 1]
    still = sum(truth.speed_mps < 0.5 for truth in truths) / len(truths)
    assert 6.0 < sum(moving) / len(moving) < 9.5
    assert 0.03 < still < 0.25


def test_the_way_between_steps_is_straight(streets: Streets) -> None:
    """A trip may be asked for any moment and answers between its steps."""
    trip = random_drives(streets, "CAR", 1.0, 1)[0]
    before, middle, after = (trip.position_at(trip.step_s * step) for step in (20, 20.5, 21))
    assert math.isclose(middle.point[0], (before.point[0] + after.point[0]) / 2)
    assert trip.position_at(-5).point == trip.path[0].point


def _minutes(route: Route) -> float:

    pieces = (math.dist(a, b) for a, b in itertools.pairwise(route.points))
    return sum(piece / factor for piece, factor in zip(pieces, route.speed_factors, strict=True))
