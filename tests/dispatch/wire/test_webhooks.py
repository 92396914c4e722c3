"""Webhook events of providers: decoded within bounds, unknown fields ignored."""

import msgspec
import pytest

from dispatch.wire.webhooks import PaymentEvent, PayoutEvent

PAYMENT = {"paymentId": "pay_1", "amount": 500, "currency": "XAF"}
PAYOUT = {"payoutId": "pyo_1", "reference": "ref", "amount": 500, "currency": "XAF"}


def test_unknown_fields_are_ignored():
    """A provider may add fields at any time."""
    event = {"type": "payment.succeeded", "data": {**PAYMENT, "new": 1}, "new": 2}
    decoded = msgspec.json.decode(msgspec.json.encode(event), type=PaymentEvent)
    assert (decoded.type, decoded.data.payment_id, decoded.data.amount) == (
        "payment.succeeded", "pay_1", 500,
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"currency": "xaf"}, {"currency": "XAF\n"}, {"amount": -1}, {"fee": -1}, {"payoutId": "a b"}],
)
def test_a_report_outside_the_bounds_is_refused(changes: dict[str, object]):
    """Amounts, fees, currencies and ids are bounded."""
    event = {"type": "payout.paid", "data": {**PAYOUT, **changes}}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(event), type=PayoutEvent)
