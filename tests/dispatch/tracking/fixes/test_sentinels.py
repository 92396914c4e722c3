"""Places that no receiver has measured."""

import pytest

from dispatch.service_area import Circle, ServiceArea
from dispatch.tracking.fixes.sentinels import is_sentinel, problem_of

DOUALA = ServiceArea((Circle(4.0511, 9.7679, 50.0),))


@pytest.mark.parametrize(
    ("lat", "lng", "expected"),
    [
        (0.0, 0.0, True),
        (-0.0, 9.7, True),
        (4.05, 0.0, True),
        (4.05, 4.05, True),
        (-1.0, -1.0, True),
        (4.05, 9.7, False),
        (4.05, -4.05, False),
        (0.0001, 9.7, False),
    ],
)
def test_a_form_that_was_not_filled_in_is_no_place(lat: float, lng: float, *, expected: bool):
    """A zero, or twice the same number."""
    assert is_sentinel(lat, lng) is expected


@pytest.mark.parametrize(
    ("lat", "lng", "problem"),
    [
        (0.0005, -0.0005, "null_island"),
        (9.7, 4.05, "swapped"),
        (48.85, 2.35, None),
        (4.05, 9.7, None),
    ],
)
def test_a_rider_may_be_outside_of_the_area(lat: float, lng: float, problem: str | None):
    """Only exchanged axes, and the origin, cannot be where it is."""
    assert problem_of(lat, lng, DOUALA) == problem
