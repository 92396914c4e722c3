"""An outcome of a payout is booked and counted once."""

import pytest
from prometheus_client import REGISTRY

from dispatch.errors import Refusal, Refused
from dispatch.money.payouts.outcomes import PayoutOutcomes
from ledger.posting.ledger import LedgerRefused
from tests.dispatch.money.conftest import EARNED_XAF, MoneyScenario

pytestmark = pytest.mark.engines


def count(outcome: str) -> float:
    return REGISTRY.get_sample_value("reeyo_payouts_total", {"outcome": outcome}) or 0.0


async def test_a_repeated_outcome_is_counted_once(money: MoneyScenario):
    """The payment that is reported twice is one entry and one in the metric."""
    payout, before = await money.submitted_payout(), count("paid")
    outcomes = PayoutOutcomes(money.payout_store, money.ledger)
    for _ in range(2):
        await outcomes.paid(payout, fee=100)
    assert count("paid") == before + 1
    assert await money.state_of(payout) == "PAID"


async def test_a_failure_without_a_reason_gets_one(money: MoneyScenario):
    """The owner always sees a reason; the amount is released."""
    payout = await money.submitted_payout()
    await PayoutOutcomes(money.payout_store, money.ledger).failed(payout, "")
    assert (await money.payout_store.get(payout.payout_id)).reason == "the provider refused"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


async def test_outcomes_that_contradict_the_state_are_refused(money: MoneyScenario):
    """A paid payout cannot fail, one that was never paid cannot return."""
    payout = await money.submitted_payout()
    outcomes = PayoutOutcomes(money.payout_store, money.ledger)
    with pytest.raises(LedgerRefused):
        await outcomes.returned(payout, "closed")
    await outcomes.paid(payout, fee=0)
    with pytest.raises(Refused) as raised:
        await outcomes.failed(payout, "late")
    assert raised.value.code is Refusal.WRONG_STATE
