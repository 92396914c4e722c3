"""Travel times and vehicle defaults, against hand-computed values."""

import pytest

from matching.eta import LOAD_KG, load_kg, travel_seconds, vehicle_mps


@pytest.mark.parametrize(
    ("metres", "vehicle", "seconds"),
    [
        (0, "CAR", 0),
        # 1000 m x 1.4 / 7.3, / 4.2, / 1.3
        (1000, "MOTORBIKE", 191.78),
        (1000, "BICYCLE", 333.33),
        (1000, "FOOT", 1076.92),
        (1000, None, 191.78),
        (1000, "ROCKET", 191.78),
    ],
)
def test_travel_time(metres: float, vehicle: str | None, seconds: float):
    """Travel time is distance times detour over the vehicle's speed; unknown is a motorbike."""
    assert travel_seconds(metres, vehicle_mps(vehicle)) == pytest.approx(seconds, abs=0.01)


def test_a_detour_factor_of_one_is_the_straight_line():
    """730 m at 7.3 m/s without a detour take 100 s."""
    assert travel_seconds(730, 7.3, detour=1.0) == pytest.approx(100)


@pytest.mark.parametrize(("metres", "detour"), [(-1, 1.4), (1, 0.9)])
def test_impossible_arguments_fail(metres: float, detour: float):
    """A negative distance, or a street shorter than the straight line, fails an assertion."""
    with pytest.raises(AssertionError):
        travel_seconds(metres, 7.3, detour)


@pytest.mark.parametrize(
    ("vehicle", "kg"), [("FOOT", 10.0), ("CAR", 200.0), (None, 50.0), ("ROCKET", 50.0)]
)
def test_largest_load_of_a_vehicle(vehicle: str | None, kg: float):
    """Each vehicle has its load; an unknown one has a motorbike's."""
    assert load_kg(vehicle) == kg
    assert LOAD_KG["MOTORBIKE"] == 50.0
