"""Operators decide payouts: another person approves, and outcomes by hand are booked once."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.payouts.decisions import PayoutDecisions
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http.admin_money import PayoutGate, PayoutOutcome
from dispatch.wire.http.wallets import PayoutRequest
from ledger.core.facts import Adjustment, AdjustmentLeg
from tests.dispatch.money.conftest import AMOUNT_XAF, EARNED_XAF, MoneyScenario, operator, vendor

pytestmark = pytest.mark.engines


async def test_an_approved_payout_is_handed_to_the_worker(money: MoneyScenario):
    """The callback gets the id once, also when the approval is repeated."""
    payout = await money.requested_payout()
    handed: list[str] = []
    decisions = PayoutDecisions(money.decision_stores, handed.append, money.clock)
    first = await decisions.approve(operator(1, "yes"), payout.payout_id)
    again = await decisions.approve(operator(1, "yes"), payout.payout_id)
    assert (first["status"], first["approvedBy"]) == ("APPROVED", "adm_1")
    assert again == first
    assert handed == [payout.payout_id]


async def test_the_requester_cannot_approve(money: MoneyScenario):
    """An operator with the requester's id is refused, and the payout stays requested."""
    payout = await money.requested_payout()
    with pytest.raises(Refused) as raised:
        await money.payouts.decisions.approve(Caller(audience="ops", id="ven_1"), payout.payout_id)
    assert raised.value.code is Refusal.FORBIDDEN
    assert await money.state_of(payout) == "REQUESTED"


async def test_a_payout_is_decided_once(money: MoneyScenario):
    """After a rejection an approval finds another state."""
    payout = await money.requested_payout()
    answer = await money.payouts.decisions.reject(operator(), payout.payout_id, "unknown number")
    with pytest.raises(Refused) as raised:
        await money.payouts.decisions.approve(operator(2), payout.payout_id)
    assert (answer["status"], answer["reason"]) == ("REJECTED", "unknown number")
    assert raised.value.code is Refusal.WRONG_STATE
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


async def test_nothing_is_approved_while_payouts_are_stopped(money: MoneyScenario):
    """A closed gate refuses approvals; after two people have opened it they are taken."""
    payout, decisions = await money.requested_payout(), money.payouts.decisions
    await decisions.set_gate(operator(1), PayoutGate(stopped=True, reason="break"))
    with pytest.raises(Refused) as raised:
        await decisions.approve(operator(), payout.payout_id)
    opening = await decisions.set_gate(operator(1), PayoutGate(stopped=False, reason="fixed"))
    await money.approvals.approve(operator(2), opening["approvalId"])
    answer = await decisions.approve(operator(), payout.payout_id)
    assert raised.value.code is Refusal.CONFLICT
    assert answer["status"] == "APPROVED"


async def test_an_owner_in_debt_is_not_paid(money: MoneyScenario):
    """While the owner owes, its payout is not approved; rejected, the next one pays the debt."""
    payout = await money.requested_payout()
    legs = (AdjustmentLeg("RECEIVABLE#VENDOR.ven_1", -900), AdjustmentLeg("CLEARING#BANK.0", 900))
    await money.ledger.post(Adjustment("debt", legs, "paid twice", "adm_8", "adm_9"))
    with pytest.raises(Refused) as raised:
        await money.payouts.decisions.approve(operator(), payout.payout_id)
    await money.payouts.decisions.reject(operator(), payout.payout_id, "owes")
    body = PayoutRequest(amount=AMOUNT_XAF, destination="1")
    again = await money.payouts.requests.create(vendor(), body)
    answer = await money.payouts.decisions.approve(operator(), again["payoutId"])
    assert (raised.value.code, "900" in raised.value.message) == (Refusal.CONFLICT, True)
    assert answer["status"] == "APPROVED"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF - AMOUNT_XAF - 900, AMOUNT_XAF)


OUTCOMES = {
    "PAID": (EARNED_XAF - AMOUNT_XAF, 0),
    "FAILED": (EARNED_XAF, 0),
}


@pytest.mark.parametrize("status", OUTCOMES)
async def test_an_outcome_of_a_payout_by_hand_is_booked(money: MoneyScenario, status: str):
    """Paid, the held amount leaves; failed, it is released; repeated, nothing more happens."""
    payout = await money.submitted_by_hand()
    report = PayoutOutcome(status=status, fee=100, reason="by hand")  # type: ignore[arg-type]
    decisions = money.payouts.decisions
    first = await decisions.record_manual_outcome(operator(1, "a"), payout.payout_id, report)
    again = await decisions.record_manual_outcome(operator(1, "a"), payout.payout_id, report)
    third = await decisions.record_manual_outcome(operator(2), payout.payout_id, report)
    assert (first["status"], first["reason" if status == "FAILED" else "fee"]) in (
        ("PAID", 100),
        ("FAILED", "by hand"),
    )
    assert (again, third["status"]) == (first, status)
    assert await money.wallet("VENDOR", "ven_1") == OUTCOMES[status]
    assert (await money.audited()).count(
        ("adm_1", "record_payout_outcome", f"payout:{payout.payout_id}")
    ) == 1


async def test_a_returned_payout_is_in_the_wallet_again(money: MoneyScenario):
    """Reported twice, the amount comes back once."""
    payout = await money.submitted_by_hand()
    decisions = money.payouts.decisions
    paid, back = PayoutOutcome(status="PAID"), PayoutOutcome(status="RETURNED", reason="closed")
    for report in (paid, back, back):
        await decisions.record_manual_outcome(operator(), payout.payout_id, report)
    assert await money.state_of(payout) == "RETURNED"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


@pytest.mark.parametrize("status", ["PAID", "FAILED"])
async def test_one_operator_cannot_end_what_a_provider_carries_out(
    money: MoneyScenario, status: str
):
    """The report waits for another operator, and until then the amount stays held."""
    payout = await money.submitted_payout()
    report = PayoutOutcome(status=status, reason="the page says so")  # type: ignore[arg-type]
    decisions = money.payouts.decisions
    proposed = await decisions.record_manual_outcome(operator(), payout.payout_id, report)
    held = (await money.wallet("VENDOR", "ven_1"), await money.state_of(payout))
    with pytest.raises(Refused) as alone:
        await money.approvals.approve(operator(), proposed["approvalId"])
    answer = await money.approvals.approve(operator(2), proposed["approvalId"])
    assert held == ((EARNED_XAF - AMOUNT_XAF, AMOUNT_XAF), "SUBMITTED")
    assert alone.value.code is Refusal.FORBIDDEN
    assert (answer["result"]["status"], answer["proposedBy"], answer["decidedBy"]) == (
        status,
        "adm_1",
        "adm_2",
    )
    assert await money.wallet("VENDOR", "ven_1") == OUTCOMES[status]


async def test_a_large_payout_needs_two_operators(money: MoneyScenario):
    """Neither its requester nor the one who proposed may be the other; both are recorded."""
    money.limit_xaf(AMOUNT_XAF - 1)
    payout = await money.requested_payout()
    decisions = money.payouts.decisions
    proposed = await decisions.approve(operator(1), payout.payout_id)
    for caller in (operator(1), Caller(audience="ops", id="ven_1")):
        with pytest.raises(Refused) as refused:
            await money.approvals.approve(caller, proposed["approvalId"])
        assert refused.value.code is Refusal.FORBIDDEN
    assert await money.state_of(payout) == "REQUESTED"
    await money.approvals.approve(operator(2), proposed["approvalId"])
    assert await money.state_of(payout) == "APPROVED"


async def test_the_limit_itself_needs_one(money: MoneyScenario):
    """Only an amount above it is proposed."""
    money.limit_xaf(AMOUNT_XAF)
    payout = await money.requested_payout()
    answer = await money.payouts.decisions.approve(operator(1), payout.payout_id)
    assert answer["status"] == "APPROVED"
