"""An outcome of a payout is booked and counted once."""

import pytest
from prometheus_client import REGISTRY

from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.proposals import keep_answer
from dispatch.money.payouts.outcomes import PayoutOutcomes
from dispatch.wire.http.admin_money import PayoutOutcome
from dispatch.wire.http.wallets import PayoutRequest
from ledger.posting.ledger import LedgerRefused
from ledger.records.payouts import Payout, PayoutState
from tests.dispatch.money.conftest import AMOUNT_XAF, EARNED_XAF, MoneyScenario, operator, vendor

pytestmark = pytest.mark.engines


def outcomes_of(money: MoneyScenario) -> PayoutOutcomes:
    return PayoutOutcomes(money.payout_store, money.ledger, money.raise_alert, money.clock)


def count(outcome: str) -> float:
    return REGISTRY.get_sample_value("reeyo_payouts_total", {"outcome": outcome}) or 0.0


async def test_a_repeated_outcome_is_counted_once(money: MoneyScenario):
    """The payment that is reported twice is one entry and one in the metric."""
    payout, before = await money.submitted_payout(), count("paid")
    outcomes = outcomes_of(money)
    for _ in range(2):
        await outcomes.paid(payout, fee=100)
    assert count("paid") == before + 1
    assert await money.state_of(payout) == "PAID"


async def test_a_failure_without_a_reason_gets_one(money: MoneyScenario):
    """The owner always sees a reason; the amount is released."""
    payout = await money.submitted_payout()
    await outcomes_of(money).failed(payout, "")
    assert (await money.payout_store.get(payout.payout_id)).reason == "the provider refused"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


async def test_outcomes_that_contradict_the_state_are_refused(money: MoneyScenario):
    """A paid payout cannot fail, one that was never paid cannot return."""
    payout = await money.submitted_payout()
    outcomes = outcomes_of(money)
    with pytest.raises(LedgerRefused):
        await outcomes.returned(payout, "closed")
    await outcomes.paid(payout, fee=0)
    with pytest.raises(Refused) as raised:
        await outcomes.failed(payout, "late")
    assert raised.value.code is Refusal.WRONG_STATE


LATE = PayoutOutcome(status="FAILED", reason="nothing arrived")


async def failed_by_two(money: MoneyScenario) -> Payout:
    """A payout that two operators booked as failed while its provider still works on it."""
    payout, decisions = await money.submitted_payout(), money.payouts.decisions
    proposed = await decisions.record_manual_outcome(operator(1), payout.payout_id, LATE)
    await money.approvals.approve(operator(2), proposed["approvalId"])
    return await money.payout_store.get(payout.payout_id)


async def test_a_failed_payout_that_was_paid_is_booked_as_paid(money: MoneyScenario):
    """The amount leaves the wallet, once for any number of reports, and operators are alerted."""
    payout, before = await failed_by_two(money), count("paid_late")
    for _ in range(3):
        await outcomes_of(money).paid(payout, fee=100)
        payout = await money.payout_store.get(payout.payout_id)
    assert payout.payout_state.value == "PAID"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF - AMOUNT_XAF, 0)
    assert count("paid_late") == before + 1
    assert {(each.kind, each.payout_id) for each in money.alerts} == {
        ("payout_paid_late", payout.payout_id)
    }
    assert (await money.statements.trial_balance())["total"] == 0


async def test_a_report_that_crosses_the_failure_is_booked(money: MoneyScenario):
    """The report was read while the payout was submitted, and comes after it was failed."""
    payout = await money.submitted_payout()
    keep = keep_answer(operator())
    await money.payout_store.end(payout, PayoutState.FAILED, "nothing arrived", "adm_1", keep)
    await outcomes_of(money).paid(payout, fee=0)
    assert await money.state_of(payout) == "PAID"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF - AMOUNT_XAF, 0)


async def test_a_second_payout_of_the_same_money_is_not_approved(money: MoneyScenario):
    """What the wallet lacks is the owner's debt, and the payout asked for meanwhile waits."""
    failed = await failed_by_two(money)
    left = EARNED_XAF - 10_000
    again = await money.payouts.requests.create(
        vendor(), PayoutRequest(amount=left, destination="1")
    )
    await outcomes_of(money).paid(failed, fee=0)
    owed = (await money.statements.owner_balance("VENDOR", "ven_1")).debt
    with pytest.raises(Refused) as raised:
        await money.payout_store.approve(
            await money.payout_store.get(again["payoutId"]), "adm_1", keep_answer(operator())
        )
    assert await money.wallet("VENDOR", "ven_1") == (0, left)
    assert owed == AMOUNT_XAF - 10_000
    assert raised.value.code is Refusal.CONFLICT
    assert (await money.statements.trial_balance())["total"] == 0


async def test_a_payout_paid_late_may_come_back(money: MoneyScenario):
    """Returned afterwards, the amount is in the wallet again."""
    payout = await failed_by_two(money)
    await outcomes_of(money).paid(payout, fee=0)
    await outcomes_of(money).returned(payout, "closed")
    assert await money.state_of(payout) == "RETURNED"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


async def test_a_provider_that_contradicts_itself_moves_nothing(money: MoneyScenario):
    """Paid after its own failure is refused, and operators are alerted to look into it."""
    payout = await money.submitted_payout()
    await outcomes_of(money).failed(payout, "unknown number")
    failed = await money.payout_store.get(payout.payout_id)
    with pytest.raises(LedgerRefused):
        await outcomes_of(money).paid(failed, fee=0)
    assert [each.kind for each in money.alerts] == ["payout_contradicted"]
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)
