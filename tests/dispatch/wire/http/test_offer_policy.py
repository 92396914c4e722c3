"""Body of the offer policy endpoint: every field may be omitted, and each is bounded."""

import pytest

from dispatch.orders.offers import display_receipts
from dispatch.wire.http.base import Request
from dispatch.wire.http.offer_policy import OfferSettings
from handlers.http.framework.schemas import json_schemas
from tests.dispatch.wire.http.bodies import is_refused, reads_back

ACCEPTED: list[tuple[type[Request], str]] = [
    (OfferSettings, "{}"),
    (OfferSettings, '{"mode":"auto","waveSizes":[1,50],"radiiKm":[0.1,50],"windowMs":40000}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (OfferSettings, '{"mode":"best"}'),
    (OfferSettings, '{"waveSizes":[]}'),
    (OfferSettings, '{"waveSizes":[51]}'),
    (OfferSettings, '{"windowMs":2999}'),
    (OfferSettings, '{"graceMs":15001}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)


def test_an_offer_ends_before_its_display_receipt_is_discarded():
    """The longest window with the longest grace is shorter than a display receipt's lifetime."""
    bounds = json_schemas([OfferSettings])[1]["OfferSettings"]["properties"]
    longest_ms = sum(
        max(choice.get("maximum", 0) for choice in bounds[name]["anyOf"])
        for name in ("windowMs", "graceMs")
    )
    assert longest_ms < display_receipts.TTL_S * 1000
