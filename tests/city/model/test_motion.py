"""The motion of vehicles along routes of the simulated city."""

import itertools
import math

import pytest

from city.model.motion import VEHICLES, WIRE_SPEED_MAX, DrivenRoute, drive
from city.model.seeded_random import seeded_random
from city.model.streets import DISTRICTS, Streets, build_streets


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


@pytest.mark.slow
@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("time_scale", [1.0, 2.5])
def test_drives_arrive_and_keep_the_speed_limit(
    streets: Streets, vehicle: str, time_scale: float
) -> None:
    """A drive ends at its destination, and no step of it is faster than WIRE_SPEED_MAX."""
    for trip in random_drives(streets, vehicle, time_scale):
        steps = [math.dist(a.point, b.point) for a, b in itertools.pairwise(trip.path)]
        assert max(steps) / trip.step_s <= WIRE_SPEED_MAX + 0.01
        assert max(position.speed_mps for position in trip.path) <= WIRE_SPEED_MAX + 0.01
        assert trip.position_at(trip.duration_s + 60).point == trip.end
        assert trip.position_at(trip.duration_s + 60).speed_mps == 0


def test_motorbikes_move_like_the_traces(streets: Streets) -> None:
    """Motorbikes move at 6 to 9.5 m/s and stand for 3 to 25 % of the time (traces: 8.4, 10 %)."""
    positions = [
        position for trip in random_drives(streets, "MOTORBIKE", 1.0) for position in trip.path
    ]
    moving = [position.speed_mps for position in positions if position.speed_mps > 1]
    still = sum(position.speed_mps < 0.5 for position in positions) / len(positions)
    assert 6.0 < sum(moving) / len(moving) < 9.5
    assert 0.03 < still < 0.25


def test_positions_between_steps_are_interpolated(streets: Streets) -> None:
    """The position between two steps is half-way; before departure it is the start."""
    trip = random_drives(streets, "CAR", 1.0, 1)[0]
    before, middle, after = (trip.position_at(trip.step_s * step) for step in (20, 20.5, 21))
    assert math.isclose(middle.point[0], (before.point[0] + after.point[0]) / 2)
    assert trip.position_at(-5).point == trip.path[0].point


def test_a_lower_speed_limit_holds(streets: Streets):
    """With `speed_max` 5 no position of a drive is faster than 5 m/s."""
    route = streets.route(*sorted(streets.crossings.values())[:2])
    driven = drive(route, VEHICLES["CAR"], seeded_random("limit"), speed_max=5.0)
    assert max(position.speed_mps for position in driven.path) <= 5.0
