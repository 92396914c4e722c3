"""What is learned of the streets' speeds is near the truth, shared, and bounded."""

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


def test_an_unknown_city_is_as_fast_as_its_vehicles():
    """Before anything is learned the speed is the vehicle's; an unknown vehicle is a motorbike."""
    speeds = LearnedSpeeds()
    assert speeds.speed_mps((AKWA, 8, "FOOT")) == SPEED_MPS["FOOT"]
    assert speeds.speed_mps((AKWA, 8, None)) == SPEED_MPS["MOTORBIKE"]
    assert speeds.speed_mps((AKWA, 8, "HOVERCRAFT")) == SPEED_MPS["MOTORBIKE"]


def test_a_street_that_is_known_well_is_believed():
    """After hours at 3 m/s the speed there is 3 m/s, at that hour and by that vehicle."""
    speeds = LearnedSpeeds()
    for _ in range(1_000):
        speeds.learn((AKWA, 8, "CAR"), 30.0, 10.0)
    assert speeds.speed_mps((AKWA, 8, "CAR")) == pytest.approx(3.0, abs=0.1)
    assert speeds.speed_mps((AKWA, 9, "CAR")) == SPEED_MPS["CAR"]
    assert speeds.speed_mps((AKWA, 8, "FOOT")) == SPEED_MPS["FOOT"]
    # What is known of the city counts where a place is unknown.
    assert speeds.speed_mps((BALI, 8, "CAR")) == pytest.approx(3.2, abs=0.1)


def test_a_little_changes_a_little():
    """One slow minute is no reason to call a street slow, nor an hour of standing one to stop."""
    speeds = LearnedSpeeds()
    speeds.learn((AKWA, 8, "CAR"), 0.0, 60.0)
    assert speeds.speed_mps((AKWA, 8, "CAR")) > 2 / 3 * SPEED_MPS["CAR"]
    for _ in range(10_000):
        speeds.learn((AKWA, 8, "CAR"), 0.0, 60.0)
    assert speeds.speed_mps((AKWA, 8, "CAR")) == SPEED_MIN_MPS


def test_what_is_shared_is_learned_once():
    """News go out once; what could not be sent is kept, what all know takes the place of before."""
    speeds = LearnedSpeeds()
    speeds.learn((AKWA, 8, "CAR"), 30.0, 10.0)
    news = speeds.take_unshared()
    assert news == {(AKWA, 8, "CAR"): (30.0, 10.0), (WHOLE_CITY, 8, "CAR"): (30.0, 10.0)}
    assert speeds.take_unshared() == {}
    speeds.restore_unshared(news)
    assert speeds.take_unshared() == news
    speeds.replace_shared([((AKWA, 8, "CAR"), (3_000_000.0, 1_000_000.0))])
    assert speeds.speed_mps((AKWA, 8, "CAR")) == pytest.approx(3.0, abs=0.1)


def test_the_memory_is_bounded():
    """Old driving fades, and places beyond any city are as fast as the city."""
    assert fade(80_000.0, 2 * MEMORY_S) == (40_000.0, MEMORY_S)
    assert fade(10.0, 5.0) == (10.0, 5.0)
    speeds = LearnedSpeeds()
    for place in range(SPEED_KEYS_MAX + 10):
        speeds.learn((f"cell_{place}", 8, "CAR"), 30.0, 10.0)
    assert len(speeds.take_unshared()) == SPEED_KEYS_MAX


def test_hours_go_around():
    """The hour of the day is that of UTC."""
    assert [hour_of(at * 3_600_000 + 5) for at in (0, 23, 24, 49)] == [0, 23, 0, 1]
