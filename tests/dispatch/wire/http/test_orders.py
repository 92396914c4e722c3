"""Bodies of the order endpoints: what is accepted and what is refused."""

import pytest

from dispatch.wire.http.base import Request
from dispatch.wire.http.orders import CancelOrderBody, GoodsOrder, PackageOrder, Rating, Tip
from tests.dispatch.wire.http.bodies import is_refused, reads_back

ADDRESS = '{"lat":4.05,"lng":9.7}'
GOODS = '"orderType":"FOOD","vendorId":"ven_1","paymentMethod":"CASH","deliveryAddress":' + ADDRESS
PARCEL = (
    f'"orderType":"PACKAGE","paymentMethod":"CASH","pickup":{ADDRESS},"dropoff":{ADDRESS},'
    '"recipient":{"name":"Eto","phone":"+237600000000"},"packageDetails":{"category":"papers",'
)

ACCEPTED: list[tuple[type[Request], str]] = [
    (GoodsOrder, f'{{{GOODS},"items":[{{"itemId":"ndole","quantity":1}}]}}'),
    (PackageOrder, f'{{{PARCEL}"weight":0.5}}}}'),
    (CancelOrderBody, "{}"),
    (CancelOrderBody, '{"reason":"late","fault":"VENDOR"}'),
    (Rating, '{"rating":5,"comment":"good"}'),
    (Tip, '{"amount":1000000}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (GoodsOrder, f'{{{GOODS},"items":[]}}'),
    (GoodsOrder, f'{{{GOODS},"items":[{{"itemId":"ndole","quantity":0}}]}}'),
    (GoodsOrder, f'{{{GOODS},"items":[{{"itemId":"a","quantity":1}}],"tip":1000001}}'),
    (PackageOrder, f'{{{PARCEL}"weight":0}}}}'),
    (CancelOrderBody, '{"fault":"NOBODY"}'),
    (Rating, '{"rating":0}'),
    (Rating, '{"rating":4.5}'),
    (Tip, '{"amount":0}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing field, or a value beyond its bound."""
    assert is_refused(body, raw)
