"""Area rule: refuses a place that the company does not serve; pure."""

from typing import Literal

from dispatch.errors import Refusal, Refused
from dispatch.service_area import PlaceProblem, ServiceArea
from matching.geo import Point

# What the place is: an end of an order, or a vendor's location.
PlaceKind = Literal["pickup", "dropoff", "location"]

_MESSAGES = {
    PlaceProblem.NULL_ISLAND: "has no position: it is at latitude 0, longitude 0",
    PlaceProblem.SWAPPED: "is outside the service area; lat and lng look swapped",
    PlaceProblem.OUTSIDE: "is outside the service area",
}


def check_place(area: ServiceArea, kind: PlaceKind, place: Point) -> None:
    """Check that a place is served. Errors: Refused OUT_OF_AREA. Units: degrees WGS 84."""
    problem = area.problem_of(place.lat, place.lng)
    if problem is not None:
        raise Refused(
            Refusal.OUT_OF_AREA,
            f"the {kind} {_MESSAGES[problem]}",
            {"end": kind, "problem": problem.value, "lat": place.lat, "lng": place.lng},
        )
