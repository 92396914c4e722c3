"""The street on which simulated riders drive up and down."""

import pytest

from bench.common.street import METRES_PER_DEGREE, SPEED_MPS, STREET_M, latitude_on_street


@pytest.mark.parametrize(
    ("driven_s", "metres"),
    [(0, 0), (10, 10 * SPEED_MPS), (STREET_M / SPEED_MPS, STREET_M), (60, 320), (100, 0)],
)
def test_a_rider_drives_up_and_down(driven_s: float, metres: float):
    """A rider goes 400 m north in 50 s and is back at the southern end after 100 s."""
    north_m = (latitude_on_street(4.0, driven_s) - 4.0) * METRES_PER_DEGREE
    assert north_m == pytest.approx(metres, abs=1e-6)
