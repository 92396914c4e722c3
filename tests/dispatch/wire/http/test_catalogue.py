"""Body of the catalogue endpoints: an item's price and stock are bounded whole numbers."""

import pytest

from dispatch.wire.http.base import Request
from dispatch.wire.http.catalogue import CatalogueItemBody
from tests.dispatch.wire.http.bodies import is_refused, reads_back

ACCEPTED: list[tuple[type[Request], str]] = [
    (CatalogueItemBody, '{"name":"Ndolé","price":1}'),
    (CatalogueItemBody, '{"name":"Ndolé","price":100000000,"stock":0,"available":false}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (CatalogueItemBody, '{"name":"Ndolé"}'),
    (CatalogueItemBody, '{"name":"Ndolé","price":0}'),
    (CatalogueItemBody, '{"name":"Ndolé","price":100000001}'),
    (CatalogueItemBody, '{"name":"Ndolé","price":1.5}'),
    (CatalogueItemBody, '{"name":"Ndolé","price":1,"stock":-1}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)
