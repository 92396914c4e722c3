"""Operators decide payouts: another person approves, and outcomes by hand are booked once."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.payouts.decisions import PayoutDecisions
from dispatch.money.payouts.outcomes import PayoutOutcomes
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http.admin_money import PayoutOutcome
from tests.dispatch.money.conftest import AMOUNT_XAF, EARNED_XAF, MoneyScenario, operator

pytestmark = pytest.mark.engines


async def test_an_approved_payout_is_handed_to_the_worker(money: MoneyScenario):
    """The callback gets the id once, also when the approval is repeated."""
    payout = await money.requested_payout()
    handed: list[str] = []
    outcomes = PayoutOutcomes(money.payout_store, money.ledger)
    decisions = PayoutDecisions(money.payout_store, outcomes, handed.append)
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
    """A closed gate refuses approvals; after it opens they are taken."""
    payout = await money.requested_payout()
    now_ms = money.clock.now_ms()
    await money.payout_store.set_gate(stopped=True, reason="break", by="adm_1", now_ms=now_ms)
    with pytest.raises(Refused) as raised:
        await money.payouts.decisions.approve(operator(), payout.payout_id)
    await money.payout_store.set_gate(stopped=False, reason="fixed", by="adm_1", now_ms=now_ms)
    answer = await money.payouts.decisions.approve(operator(), payout.payout_id)
    assert raised.value.code is Refusal.CONFLICT
    assert answer["status"] == "APPROVED"


@pytest.mark.parametrize(
    ("status", "state", "wallet"),
    [
        ("PAID", "PAID", (EARNED_XAF - AMOUNT_XAF, 0)),
        ("FAILED", "FAILED", (EARNED_XAF, 0)),
    ],
)
async def test_an_outcome_by_hand_is_booked(
    money: MoneyScenario, status: str, state: str, wallet: tuple[int, int]
):
    """Paid, the held amount leaves; failed, it is released."""
    payout = await money.submitted_payout()
    report = PayoutOutcome(status=status, fee=100, reason="by hand")  # type: ignore[arg-type]
    answer = await money.payouts.decisions.record_manual_outcome(
        operator(), payout.payout_id, report
    )
    assert answer["status"] == state
    assert await money.wallet("VENDOR", "ven_1") == wallet


async def test_a_returned_payout_is_in_the_wallet_again(money: MoneyScenario):
    """Reported twice, the amount comes back once."""
    payout = await money.paid_payout()
    report = PayoutOutcome(status="RETURNED", reason="closed account")
    for _ in range(2):
        await money.payouts.decisions.record_manual_outcome(operator(), payout.payout_id, report)
    assert await money.state_of(payout) == "RETURNED"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)
