"""Bodies of the wallet endpoints: amounts, providers and payout destinations."""

import pytest

from dispatch.wire.http.base import Request
from dispatch.wire.http.wallets import PayoutRequest, TopUp
from tests.dispatch.wire.http.bodies import is_refused, reads_back

ACCEPTED: list[tuple[type[Request], str]] = [
    (TopUp, '{"amount":10000000,"provider":"mtn"}'),
    (PayoutRequest, '{"amount":1,"destination":"+237 600"}'),
    (PayoutRequest, '{"amount":1000000000,"destination":{"iban":"CM21","name":"Ada"}}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (TopUp, '{"amount":10000001,"provider":"mtn"}'),
    (TopUp, '{"amount":1}'),
    (PayoutRequest, '{"amount":1,"destination":""}'),
    (PayoutRequest, '{"amount":1,"destination":{}}'),
    (PayoutRequest, '{"amount":1,"destination":{"iban":1}}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)
