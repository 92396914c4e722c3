"""Owners request payouts and may cancel them; debts are paid first."""

import pytest

from dispatch.accounts.standing import Standing
from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.proposals import keep_answer
from dispatch.money.payouts.requests import MINIMUM_XAF
from dispatch.wire.http.wallets import PayoutRequest
from ledger.core.facts import Remittance
from tests.dispatch.money.conftest import (
    AMOUNT_XAF,
    EARNED_XAF,
    MoneyScenario,
    operator,
    rider,
    vendor,
)

pytestmark = pytest.mark.engines


def body(amount: int = AMOUNT_XAF) -> PayoutRequest:
    return PayoutRequest(amount=amount, destination="+237 670")


async def test_a_request_holds_its_amount(money: MoneyScenario):
    """The amount cannot be spent any more, and stays in the wallet until it is paid."""
    await money.earn("VENDOR#ven_1")
    answer = await money.payouts.requests.create(vendor(), body())
    assert (answer["status"], answer["amount"], answer["provider"]) == ("PENDING", 60_000, "bank")
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF - AMOUNT_XAF, AMOUNT_XAF)


async def test_a_repeated_request_holds_once(money: MoneyScenario):
    """The same request key gets the first answer, and no second payout is made."""
    await money.earn("VENDOR#ven_1")
    first = await money.payouts.requests.create(vendor("draw"), body())
    assert await money.payouts.requests.create(vendor("draw"), body()) == first
    assert (await money.wallet("VENDOR", "ven_1"))[1] == AMOUNT_XAF


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        (MINIMUM_XAF["VENDOR"] - 1, Refusal.BELOW_MINIMUM),
        (EARNED_XAF + 1, Refusal.INSUFFICIENT_FUNDS),
    ],
)
async def test_too_little_or_too_much_is_refused(money: MoneyScenario, amount: int, code: Refusal):
    """Below the minimum or above the balance nothing is held."""
    await money.earn("VENDOR#ven_1")
    with pytest.raises(Refused) as raised:
        await money.payouts.requests.create(vendor(), body(amount))
    assert raised.value.code is code
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


async def test_a_frozen_wallet_is_refused(money: MoneyScenario):
    """Nothing is held in a wallet that is not active."""
    await money.earn("VENDOR#ven_1")
    await money.correction_store.set_wallet_status(operator(), "VENDOR#ven_1", "FROZEN", "review")
    with pytest.raises(Refused) as raised:
        await money.payouts.requests.create(vendor(), body())
    assert raised.value.code is Refusal.FORBIDDEN


async def test_cash_in_hand_is_paid_from_the_wallet_first(money: MoneyScenario):
    """A rider's collected cash is netted against its earnings, then the payout is held."""
    await money.settled_order(method="CASH")
    earned, _ = await money.wallet("RIDER", "rdr_1")
    owed = (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand
    await money.earn("RIDER#rdr_1")
    await money.payouts.requests.create(rider(), body(20_000))
    assert owed > 0
    assert (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand == 0
    assert await money.wallet("RIDER", "rdr_1") == (earned + EARNED_XAF - owed - 20_000, 20_000)


async def test_earnings_that_do_not_cover_the_cash_are_refused(money: MoneyScenario):
    """The refusal says how much cash is owed, and nothing is netted."""
    await money.settled_order(method="CASH")
    owed = (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand
    with pytest.raises(Refused) as raised:
        await money.payouts.requests.create(rider(), body(20_000))
    assert raised.value.code is Refusal.INSUFFICIENT_FUNDS
    assert raised.value.details == {"cashOwed": owed, "debt": 0}
    await money.ledger.post(Remittance("rdr_1", "rem_1", owed, "cashdesk"))
    assert (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand == 0


async def test_only_the_owner_cancels_an_undecided_request(money: MoneyScenario):
    """The amount is released; another owner does not find the payout; a second time is too late."""
    payout = await money.requested_payout()
    with pytest.raises(Refused) as not_theirs:
        await money.payouts.requests.cancel(rider(), payout.payout_id)
    answer = await money.payouts.requests.cancel(vendor(), payout.payout_id)
    with pytest.raises(Refused) as too_late:
        await money.payouts.requests.cancel(vendor(), payout.payout_id)
    assert not_theirs.value.code is Refusal.NOT_FOUND
    assert answer["status"] == "CANCELLED"
    assert too_late.value.code is Refusal.WRONG_STATE
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


async def test_a_repeated_cancellation_gets_the_first_answer(money: MoneyScenario):
    """With the same request key the second cancellation is answered like the first."""
    payout = await money.requested_payout()
    first = await money.payouts.requests.cancel(vendor("off"), payout.payout_id)
    assert await money.payouts.requests.cancel(vendor("off"), payout.payout_id) == first


@pytest.mark.parametrize("standing", [Standing.SUSPENDED, Standing.UNDER_REVIEW])
async def test_an_owner_in_bad_standing_draws_no_money(money: MoneyScenario, standing: Standing):
    """No request is written, and one that was made before is not approved; the hold stays."""
    payout = await money.requested_payout()
    await money.orders.set_standing("VENDOR", "ven_1", standing)
    body = PayoutRequest(amount=AMOUNT_XAF, destination="+237 670")
    for attempt in (
        money.payouts.requests.create(vendor(), body),
        money.payout_store.approve(payout, "adm_1", keep_answer(operator())),
    ):
        with pytest.raises(Refused) as refused:
            await attempt
        assert refused.value.code is Refusal.NOT_APPROVED
    await money.orders.set_standing("VENDOR", "ven_1", Standing.APPROVED)
    await money.payout_store.approve(payout, "adm_1", keep_answer(operator()))
