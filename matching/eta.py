"""Travel time of a straight-line distance: a detour factor and a default speed for each vehicle."""

from collections.abc import Mapping
from types import MappingProxyType

# Street length as a multiple of the straight line.
# Source: 1.343 on average to the centres of 300 European cities (Environment and Planning B, 2023,
# doi 10.1177/23998083231168870), more in dense cores; Douala has few bridges and many dead ends.
DETOUR_DEFAULT = 1.4

# Metres per second along the street, stops included; low, so that estimates can be kept.
# Source: 805 traces of delivery agents (GOAL, CC BY 4.0), 8.4 m/s while driving with a stop of 8 s
# a minute is 7.3; a loaded bicycle 15 km/h; a walker 1.3 m/s (traces: 1.2 median of moving steps).
SPEED_MPS: Mapping[str, float] = MappingProxyType(
    {"MOTORBIKE": 7.3, "CAR": 7.3, "BICYCLE": 4.2, "FOOT": 1.3}
)
# Load that a vehicle carries at most. Units: kilograms.
# Source: docs/contract.md, a parcel has at most 50; chosen for those without an engine.
LOAD_KG: Mapping[str, float] = MappingProxyType(
    {"MOTORBIKE": 50.0, "CAR": 200.0, "BICYCLE": 15.0, "FOOT": 10.0}
)
# Source: chosen; the city's riders are on motorbikes unless their profile says otherwise.
VEHICLE_DEFAULT = "MOTORBIKE"


def vehicle_mps(vehicle: str | None) -> float:
    """Default speed of a vehicle; an unknown one is taken for VEHICLE_DEFAULT.

    Units: metres per second.
    """
    return SPEED_MPS.get(vehicle or VEHICLE_DEFAULT, SPEED_MPS[VEHICLE_DEFAULT])


def load_kg(vehicle: str | None) -> float:
    """Largest load of a vehicle; an unknown one is taken for VEHICLE_DEFAULT. Units: kilograms."""
    return LOAD_KG.get(vehicle or VEHICLE_DEFAULT, LOAD_KG[VEHICLE_DEFAULT])


def travel_seconds(distance_m: float, speed_mps: float, detour: float = DETOUR_DEFAULT) -> float:
    """Travel time over a straight-line distance of `distance_m`.

    Units: metres, metres per second along the street in; seconds out.
    """
    assert distance_m >= 0, "a distance is not negative"
    assert detour >= 1, "no street is shorter than the straight line"
    return distance_m * detour / speed_mps
