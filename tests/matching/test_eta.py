"""Travel times, against hand-computed ones."""

import pytest

from matching.eta import travel_seconds, vehicle_mps


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
    """A way takes its detour's length at the vehicle's pace; an unknown one is a motorbike."""
    assert travel_seconds(metres, vehicle_mps(vehicle)) == pytest.approx(seconds, abs=0.01)


def test_a_city_with_straight_streets():
    """A detour factor of 1 is the crow's own way."""
    assert travel_seconds(730, 7.3, detour=1.0) == pytest.approx(100)


@pytest.mark.parametrize(("metres", "detour"), [(-1, 1.4), (1, 0.9)])
def test_nonsense_is_a_bug_of_the_caller(metres: float, detour: float):
    """A negative way, or a street shorter than the crow flies, does not pass."""
    with pytest.raises(AssertionError):
        travel_seconds(metres, 7.3, detour)
