"""Learned speeds: near the truth, shared once, and bounded."""

import pytest

from matching.eta import SPEED_MPS
from matching.speeds import (
    MEMORY_S,
    SPEED_KEYS_MAX,
    SPEED_MIN_MPS,
    WHOLE_CITY,
    LearnedSpeeds,
    fade,
    hour_of,
)

AKWA, BALI = "cell_a", "cell_b"


def test_without_data_the_speed_is_the_vehicles():
    """Before anything is learned the speed is the vehicle's; an unknown vehicle is a motorbike."""
    speeds = LearnedSpeeds()
    assert speeds.speed_mps((AKWA, 8, "FOOT")) == SPEED_MPS["FOOT"]
    assert speeds.speed_mps((AKWA, 8, None)) == SPEED_MPS["MOTORBIKE"]
    assert speeds.speed_mps((AKWA, 8, "HOVERCRAFT")) == SPEED_MPS["MOTORBIKE"]


def test_with_much_data_the_speed_is_that_which_was_driven():
    """After hours at 3 m/s the speed there is 3 m/s, at that hour and for that vehicle only."""
    speeds = LearnedSpeeds()
    for _ in range(1_000):
        speeds.learn((AKWA, 8, "CAR"), 30.0, 10.0)
    assert speeds.speed_mps((AKWA, 8, "CAR")) == pytest.approx(3.0, abs=0.1)
    assert speeds.speed_mps((AKWA, 9, "CAR")) == SPEED_MPS["CAR"]
    assert speeds.speed_mps((AKWA, 8, "FOOT")) == SPEED_MPS["FOOT"]
    # A place without data has the city's speed.
    assert speeds.speed_mps((BALI, 8, "CAR")) == pytest.approx(3.2, abs=0.1)


def test_one_minute_of_standing_lowers_the_speed_by_less_than_a_third():
    """One minute of standing keeps two thirds of the speed; hours of it reach SPEED_MIN_MPS."""
    speeds = LearnedSpeeds()
    speeds.learn((AKWA, 8, "CAR"), 0.0, 60.0)
    assert speeds.speed_mps((AKWA, 8, "CAR")) > 2 / 3 * SPEED_MPS["CAR"]
    for _ in range(10_000):
        speeds.learn((AKWA, 8, "CAR"), 0.0, 60.0)
    assert speeds.speed_mps((AKWA, 8, "CAR")) == SPEED_MIN_MPS


def test_samples_are_shared_once():
    """Samples are taken once and can be restored; shared samples replace those before."""
    speeds = LearnedSpeeds()
    speeds.learn((AKWA, 8, "CAR"), 30.0, 10.0)
    samples = speeds.take_unshared()
    assert samples == {(AKWA, 8, "CAR"): (30.0, 10.0), (WHOLE_CITY, 8, "CAR"): (30.0, 10.0)}
    assert speeds.take_unshared() == {}
    speeds.restore_unshared(samples)
    assert speeds.take_unshared() == samples
    speeds.replace_shared([((AKWA, 8, "CAR"), (3_000_000.0, 1_000_000.0))])
    assert speeds.speed_mps((AKWA, 8, "CAR")) == pytest.approx(3.0, abs=0.1)


def test_the_memory_is_bounded():
    """Samples fade to MEMORY_S, and no more than SPEED_KEYS_MAX keys are kept."""
    assert fade(80_000.0, 2 * MEMORY_S) == (40_000.0, MEMORY_S)
    assert fade(10.0, 5.0) == (10.0, 5.0)
    speeds = LearnedSpeeds()
    for place in range(SPEED_KEYS_MAX + 10):
        speeds.learn((f"cell_{place}", 8, "CAR"), 30.0, 10.0)
    assert len(speeds.take_unshared()) == SPEED_KEYS_MAX


def test_hours_are_those_of_utc():
    """Hours 0, 23, 24 and 49 since the epoch are hours 0, 23, 0 and 1 of the day."""
    assert [hour_of(at * 3_600_000 + 5) for at in (0, 23, 24, 49)] == [0, 23, 0, 1]
