"""The worker submits approved payouts under one reference and polls those without an answer."""

import pytest

from dispatch.money.approvals.proposals import keep_answer
from dispatch.money.payouts.outcomes import PayoutOutcomes
from dispatch.money.payouts.providers import NamedProvider, ProviderReport, ProviderStatus
from dispatch.money.payouts.submission import RESUBMIT_AFTER_MS, PayoutSubmitter
from ledger.records.payouts import Payout, provider_reference
from tests.dispatch.money.conftest import (
    AMOUNT_XAF,
    EARNED_XAF,
    PROVIDER,
    MoneyScenario,
    ScriptedProvider,
    operator,
)

pytestmark = pytest.mark.engines


async def approved_payout(money: MoneyScenario) -> Payout:
    payout = await money.requested_payout()
    await money.payout_store.approve(payout, "adm_1", keep_answer(operator()))
    return payout


async def test_a_paid_payout_leaves_the_wallet(money: MoneyScenario):
    """The provider gets our reference, its fee is kept, and the held amount is gone."""
    payout = await approved_payout(money)
    money.provider.answer = ProviderReport(ProviderStatus.PAID, fee=150)
    await money.payouts.submitter.process_payout(payout.payout_id)
    assert money.provider.submitted == [provider_reference(payout.payout_id)]
    paid = await money.payout_store.get(payout.payout_id)
    assert (paid.payout_state.value, paid.fee) == ("PAID", 150)
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF - AMOUNT_XAF, 0)


async def test_a_refused_payout_is_released(money: MoneyScenario):
    """The amount may be spent again, and the owner sees the reason."""
    payout = await approved_payout(money)
    money.provider.answer = ProviderReport(ProviderStatus.FAILED, reason="unknown number")
    await money.payouts.submitter.process_payout(payout.payout_id)
    failed = await money.payout_store.get(payout.payout_id)
    assert (failed.payout_state.value, failed.reason) == ("FAILED", "unknown number")
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


async def test_an_unknown_outcome_is_polled(money: MoneyScenario):
    """The payout stays submitted with its amount held, until the provider says that it is paid."""
    payout = await money.submitted_payout()
    assert await money.state_of(payout) == "SUBMITTED"
    assert (await money.wallet("VENDOR", "ven_1"))[1] == AMOUNT_XAF
    money.provider.status = ProviderReport(ProviderStatus.PAID)
    await money.payouts.submitter.process_payout(payout.payout_id)
    assert await money.state_of(payout) == "PAID"
    assert len(money.provider.submitted) == 1


async def test_an_unknown_reference_is_submitted_again_after_15_s(money: MoneyScenario):
    """Before that the provider's reads may lag; afterwards the same reference is sent again."""
    payout = await money.submitted_payout()
    money.provider.status = ProviderReport(ProviderStatus.NOT_FOUND)
    money.clock.advance(RESUBMIT_AFTER_MS - 1)
    await money.payouts.submitter.process_payout(payout.payout_id)
    assert len(money.provider.submitted) == 1
    money.clock.advance(1)
    await money.payouts.submitter.process_payout(payout.payout_id)
    assert money.provider.submitted == [payout.provider_ref] * 2


async def test_a_payout_of_another_provider_is_left_alone(money: MoneyScenario):
    """A submitted payout is polled only at the provider that it was submitted to."""
    payout = await money.submitted_payout()
    other = ScriptedProvider()
    other.status = ProviderReport(ProviderStatus.PAID)
    outcomes = PayoutOutcomes(money.payout_store, money.ledger, money.raise_alert, money.clock)
    submitter = PayoutSubmitter(
        money.payout_store, outcomes, NamedProvider("other", other), money.clock
    )
    await submitter.process_payout(payout.payout_id)
    assert payout.provider == PROVIDER
    assert await money.state_of(payout) == "SUBMITTED"


async def test_a_sweep_finds_what_the_queue_has_missed(money: MoneyScenario):
    """An approved payout that no queue holds is submitted by the sweep, once."""
    payout = await approved_payout(money)
    money.provider.answer = ProviderReport(ProviderStatus.PAID)
    assert await money.payouts.submitter.sweep_once() == 1
    assert await money.payouts.submitter.sweep_once() == 0
    assert await money.state_of(payout) == "PAID"


async def test_nothing_is_submitted_while_payouts_are_stopped(money: MoneyScenario):
    """An approved payout waits while the gate is closed."""
    payout = await approved_payout(money)
    await money.payout_gate.stop_by_server("break", "ledger_monitor")
    await money.payouts.submitter.process_payout(payout.payout_id)
    assert money.provider.submitted == []
    assert await money.state_of(payout) == "APPROVED"
