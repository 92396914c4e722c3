"""Webhook events of payout providers are applied once, and only where they fit."""

from typing import Any

import pytest

from dispatch.errors import Refusal, Refused
from tests.dispatch.money.conftest import (
    AMOUNT_XAF,
    EARNED_XAF,
    PROVIDER,
    MoneyScenario,
    key,
    payout_event,
)

pytestmark = pytest.mark.engines


async def test_a_paid_event_counts_once(money: MoneyScenario):
    """The same event, and the same report under another event id, book one payment."""
    payout = await money.submitted_payout()
    event = payout_event("payout.paid", payout, fee=100)
    handle = money.payouts.reports.handle_webhook_event
    first = await handle(PROVIDER, event, key("evt_1"))
    assert await handle(PROVIDER, event, key("evt_1")) == first
    await handle(PROVIDER, event, key("evt_2"))
    assert (first["status"], first["fee"]) == ("PAID", 100)
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF - AMOUNT_XAF, 0)


async def test_failed_and_returned_events_release_the_amount(money: MoneyScenario):
    """Failed before it was paid, or returned afterwards, the amount may be spent again."""
    payout = await money.submitted_payout()
    answer = await money.payouts.reports.handle_webhook_event(
        PROVIDER, payout_event("payout.failed", payout, reason="unknown number"), key("evt_1")
    )
    assert (answer["status"], answer["reason"]) == ("FAILED", "unknown number")
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


async def test_a_returned_event_credits_the_wallet(money: MoneyScenario):
    """A paid payout that comes back is in the wallet again."""
    payout = await money.paid_payout()
    answer = await money.payouts.reports.handle_webhook_event(
        PROVIDER, payout_event("payout.returned", payout, reason="closed"), key("evt_1")
    )
    assert answer["status"] == "RETURNED"
    assert await money.wallet("VENDOR", "ven_1") == (EARNED_XAF, 0)


@pytest.mark.parametrize(
    ("provider", "changes", "code"),
    [
        ("other", {}, Refusal.NOT_FOUND),
        (PROVIDER, {"reference": "unknown"}, Refusal.NOT_FOUND),
        (PROVIDER, {"currency": "EUR"}, Refusal.MALFORMED),
        (PROVIDER, {"amount": AMOUNT_XAF + 1}, Refusal.CONFLICT),
    ],
)
async def test_an_event_that_does_not_match_moves_nothing(
    money: MoneyScenario, provider: str, changes: dict[str, Any], code: Refusal
):
    """Another provider, reference, currency or amount is refused, and the amount stays held."""
    payout = await money.submitted_payout()
    event = payout_event("payout.paid", payout, **changes)
    with pytest.raises(Refused) as raised:
        await money.payouts.reports.handle_webhook_event(provider, event, key("evt_1"))
    assert raised.value.code is code
    assert await money.state_of(payout) == "SUBMITTED"


async def test_an_event_against_the_state_is_refused(money: MoneyScenario):
    """Failed after paid releases nothing: a person must look into it."""
    payout = await money.paid_payout()
    with pytest.raises(Refused) as raised:
        await money.payouts.reports.handle_webhook_event(
            PROVIDER, payout_event("payout.failed", payout), key("evt_1")
        )
    assert raised.value.code is Refusal.WRONG_STATE
    assert await money.state_of(payout) == "PAID"


async def test_an_unknown_event_type_changes_nothing(money: MoneyScenario):
    """The provider gets the payout as it is."""
    payout = await money.submitted_payout()
    answer = await money.payouts.reports.handle_webhook_event(
        PROVIDER, payout_event("payout.delayed", payout), key("evt_1")
    )
    assert answer["status"] == "SUBMITTED"
