"""Position updates of riders, and the search result that looking at every rider gives."""

from collections.abc import Sequence
from typing import Any

from dispatch.model import Position
from dispatch.tracking.stores.geo_cells import Circle, cell_of
from dispatch.tracking.stores.positions import PositionUpdate
from dispatch.tracking.stores.rider_facts import IndexedRider, RiderFacts
from matching.geo import haversine_m

NOW_MS = 1_763_000_000_000
FRESH_MS, LOST_MS = 15_000, 45_000
DOUALA = (4.0511, 9.7085)

FREE = RiderFacts(
    available=True, active=0, rating=4.7, completion=91.0, vehicle="CAR", name="Ngo Élise"
)
BUSY = RiderFacts(available=True, active=1)
OFF = RiderFacts(available=False, active=0)


def position_update(
    rider_id: str,
    at: tuple[float, float],
    facts: RiderFacts = FREE,
    seen_at_ms: int = NOW_MS,
    **extra: Any,
) -> PositionUpdate:
    """A rider at a place, in the cell that holds it."""
    position = Position(lat=at[0], lng=at[1], ts=seen_at_ms - 200, received_at=seen_at_ms)
    return PositionUpdate(
        rider_id=rider_id, position=position, facts=facts, cell=cell_of(*at), **extra
    )


def rider_ids(found: Sequence[IndexedRider]) -> list[str]:
    """The ids of found riders."""
    return [each.rider_id for each in found]


def brute_force_search(batch: Sequence[PositionUpdate], circle: Circle) -> list[str]:
    """The ids of the riders inside the circle, nearest first."""
    distances = [
        (haversine_m(circle.lat, circle.lng, p.position.lat, p.position.lng) / 1000, p.rider_id)
        for p in batch
    ]
    return [rider_id for km, rider_id in sorted(distances) if km <= circle.radius_km]
