"""Acts on money as audit records keep them."""

import pytest

from dispatch.money.approvals.acts import (
    GateClosingAct,
    GateOpeningAct,
    MoneyAct,
    PayoutApprovalAct,
    PayoutOutcomeAct,
    PayoutRejectionAct,
    RefundAct,
    RemittanceAct,
    audited,
)
from ledger.core.facts import BorneBy

REFUND = RefundAct(
    order_id="ord_1",
    refund_id="ref_1",
    user_id="usr_1",
    amount=700,
    borne_by=BorneBy.VENDOR,
    reason="cold",
)


@pytest.mark.parametrize(
    ("act", "action", "resource"),
    [
        (REFUND, "refund_order", "order:ord_1"),
        (
            RemittanceAct(rider_id="rdr_1", remittance_id="r", amount=1, desk="cashdesk"),
            "record_remittance",
            "rider:rdr_1",
        ),
        (
            PayoutApprovalAct(
                payout_id="p", owner_type="VENDOR", owner_id="v", amount=1, destination="1"
            ),
            "approve_payout",
            "payout:p",
        ),
        (PayoutRejectionAct(payout_id="p", amount=1), "reject_payout", "payout:p"),
        (
            PayoutOutcomeAct(payout_id="p", provider="bank", amount=1, status="PAID"),
            "record_payout_outcome",
            "payout:p",
        ),
        (GateClosingAct(reason="break"), "stop_payouts", "payout_gate"),
        (
            GateOpeningAct(stopped_at=1, stopped_by="adm_1", stopped_for="break"),
            "reopen_payouts",
            "payout_gate",
        ),
    ],
)
def test_each_act_names_its_action_and_resource(act: MoneyAct, action: str, resource: str):
    """The names are those that operators filter by."""
    record = audited(act, "adm_1")
    assert (record.actor, record.action, record.resource) == ("adm_1", action, resource)


def test_a_record_has_the_values_of_the_act():
    """Its reason stands apart, the other fields are details."""
    record = audited(REFUND, "adm_1")
    assert record.reason == "cold"
    assert record.details == {
        "orderId": "ord_1",
        "refundId": "ref_1",
        "userId": "usr_1",
        "amount": 700,
        "borneBy": "VENDOR",
    }


def test_an_act_without_a_reason_has_none():
    """An empty reason is no reason."""
    assert audited(PayoutRejectionAct(payout_id="p", amount=1), "adm_1").reason is None
