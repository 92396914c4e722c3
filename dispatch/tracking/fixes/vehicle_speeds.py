"""Speeds that no vehicle of a kind exceeds in a city; pure."""

from collections.abc import Mapping
from types import MappingProxyType

# Faster than any such vehicle in a city. Units: metres per second.
# Source: measured 2026-11-21 on 805 traces (GOAL, CC BY 4.0), fastest driven step 34.9 m/s; on
# foot 99.99 % below 19.4 m/s.
SPEED_MAX_MPS: Mapping[str, float] = MappingProxyType(
    {"MOTORBIKE": 40.0, "CAR": 40.0, "BICYCLE": 25.0, "FOOT": 20.0}
)
SPEED_UNKNOWN_MPS = 40.0


def speed_max_mps(vehicle: str | None) -> float:
    """The speed that no such vehicle exceeds. Units: metres per second."""
    return SPEED_MAX_MPS.get(vehicle or "", SPEED_UNKNOWN_MPS)
