"""Speeds that no vehicle exceeds."""

import pytest

from dispatch.tracking.fixes.vehicle_speeds import speed_max_mps


@pytest.mark.parametrize(
    ("vehicle", "speed"),
    [("FOOT", 20.0), ("BICYCLE", 25.0), ("CAR", 40.0), (None, 40.0), ("X", 40.0)],
)
def test_an_unknown_vehicle_may_be_the_fastest(vehicle: str | None, speed: float):
    """A slower one is known by name."""
    assert speed_max_mps(vehicle) == speed
