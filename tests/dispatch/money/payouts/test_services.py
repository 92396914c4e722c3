"""The payout services together take a payout from request to payment."""

import pytest

from dispatch.money.payouts.providers import ProviderReport, ProviderStatus
from tests.dispatch.money.conftest import AMOUNT_XAF, EARNED_XAF, MoneyScenario, operator
from tests.waiting import Until

pytestmark = pytest.mark.engines


async def test_an_approved_payout_is_paid_by_the_worker(money: MoneyScenario, until: Until):
    """Requested, approved and paid without a sweep; the trial balance stays zero."""
    payout = await money.requested_payout()
    money.provider.answer = ProviderReport(ProviderStatus.PAID, fee=100)

    async def is_paid() -> bool:
        return await money.state_of(payout) == "PAID"

    async with until.running(money.payouts.submitter.run):
        await money.payouts.decisions.approve(operator(), payout.payout_id)
        await until.eventually(is_paid)
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF - AMOUNT_XAF, 0)
    assert (await money.statements.trial_balance())["total"] == 0
