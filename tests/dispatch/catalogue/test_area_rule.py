"""Area rule: the refusal of a place that is not served."""

import pytest

from dispatch.catalogue.area_rule import check_place
from dispatch.errors import Refused
from dispatch.model import Place
from dispatch.service_area import Circle, ServiceArea

DOUALA = ServiceArea((Circle(4.0511, 9.7679, 50.0),))


def test_a_served_place_passes():
    """A place in the area is not refused."""
    check_place(DOUALA, "dropoff", Place(lat=4.05, lng=9.7))


@pytest.mark.parametrize(
    ("lat", "lng", "problem", "message"),
    [
        (48.8566, 2.3522, "outside", "the dropoff is outside the service area"),
        (9.7, 4.05, "swapped", "the dropoff is outside the service area; lat and lng look swapped"),
        (0.0, 0.0, "null_island", "the dropoff has no position: it is at latitude 0, longitude 0"),
    ],
)
def test_the_refusal_names_end_and_problem(lat: float, lng: float, problem: str, message: str):
    """The details name the end, its coordinates and what is wrong; the message says it in words."""
    with pytest.raises(Refused) as refused:
        check_place(DOUALA, "dropoff", Place(lat=lat, lng=lng))

    assert (refused.value.code, refused.value.message) == ("out_of_area", message)
    assert refused.value.details == {"end": "dropoff", "problem": problem, "lat": lat, "lng": lng}
