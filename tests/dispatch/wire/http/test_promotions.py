"""Body of a new promotion: its limits are bounded whole numbers."""

import pytest

from dispatch.wire.http.base import Request
from dispatch.wire.http.promotions import NewPromotion
from tests.dispatch.wire.http.bodies import is_refused, reads_back

TERMS = '"code":"NDOLE","endsAt":1'

ACCEPTED: list[tuple[type[Request], str]] = [
    (NewPromotion, f'{{{TERMS},"services":["FOOD"],"budget":1,"amount":1}}'),
    (NewPromotion, f'{{{TERMS},"services":["FOOD"],"budget":1,"percentBps":10000,"cap":1}}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (NewPromotion, f'{{{TERMS},"services":[],"budget":1}}'),
    (NewPromotion, f'{{{TERMS},"services":["FOOD"],"budget":0}}'),
    (NewPromotion, f'{{{TERMS},"services":["FOOD"],"budget":1,"percentBps":10001}}'),
    (NewPromotion, f'{{{TERMS},"services":["FOOD"],"budget":1,"perUser":0}}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)
