"""Bodies of the operators' money endpoints: what is accepted and what is refused."""

import pytest

from dispatch.wire.http.admin_money import (
    AdjustmentBody,
    PayoutGate,
    PayoutOutcome,
    RefundBody,
    RemittanceBody,
    ShortageBody,
    WalletStatusChange,
)
from dispatch.wire.http.base import Request
from tests.dispatch.wire.http.bodies import is_refused, reads_back

LEGS = '[{"account":"USER#a","amount":1},{"account":"USER#b","amount":-1}]'

ACCEPTED: list[tuple[type[Request], str]] = [
    (PayoutOutcome, '{"status":"PAID","fee":1000000}'),
    (PayoutGate, '{"stopped":true,"reason":"audit"}'),
    (RefundBody, '{"amount":1,"reason":"cold"}'),
    (RemittanceBody, '{"amount":1,"reference":"slip-7"}'),
    (ShortageBody, '{"amount":1,"charge":"RIDER","reason":"robbed"}'),
    (AdjustmentBody, f'{{"legs":{LEGS},"reason":"forgotten"}}'),
    (WalletStatusChange, '{"status":"FROZEN","reason":"stolen phone"}'),
]
REFUSED: list[tuple[type[Request], str]] = [
    (PayoutOutcome, '{"status":"PENDING"}'),
    (PayoutOutcome, '{"status":"PAID","fee":-1}'),
    (PayoutGate, '{"stopped":true,"reason":""}'),
    (RefundBody, '{"amount":1,"reason":"cold","borneBy":"RIDER"}'),
    (RemittanceBody, '{"amount":1,"reference":"slip#7"}'),
    (ShortageBody, '{"amount":1,"charge":"VENDOR","reason":"x"}'),
    (AdjustmentBody, '{"legs":[],"reason":"x"}'),
    (AdjustmentBody, f'{{"legs":{LEGS}}}'),
    (WalletStatusChange, '{"status":"OPEN","reason":"x"}'),
]


@pytest.mark.parametrize(("body", "raw"), ACCEPTED)
def test_a_body_within_its_bounds_reads_back_as_written(body: type[Request], raw: str):
    """Encoding what was decoded and decoding it again changes nothing."""
    assert reads_back(body, raw)


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing or unknown field, or a value beyond its bound."""
    assert is_refused(body, raw)
