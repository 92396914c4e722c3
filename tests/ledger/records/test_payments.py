"""Payments on a real engine: requested, matched with the provider's report, booked once."""

import asyncio

import msgspec
import pytest

from ledger.core.facts import Capture, TopUp
from ledger.core.order_funds import void_funds
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import TransactionCancelled
from ledger.posting.errors import LedgerRefused
from ledger.records.payments import ProviderPayment, fail_payment, payment_key, start_payment
from tests.ledger.scenarios.ledger_setup import Books, expect_refusal

pytestmark = pytest.mark.engines


def pending_payment(food: Pricing, **changes: object) -> ProviderPayment:
    fields: dict[str, object] = {
        "provider": "mtn",
        "payment_id": "m1",
        "user_id": "u",
        "amount": food.total,
        "order_id": "o1",
    }
    return ProviderPayment(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


async def place_order(books: Books, food: Pricing) -> Capture:
    """An order that waits for mobile money."""
    now = books.clock.now_ms()
    pending = books.ledger.open_pending_funds("o1", "u", "v", food)
    await books.table.transact([pending, start_payment(pending_payment(food), now)])
    return Capture("o1", "u", "v", "MOBILE_MONEY", food, "m1", "mtn")


async def test_mobile_money_is_captured_once(books: Books, food_pricing: Pricing) -> None:
    """Ten webhooks of one payment fill the escrow once."""
    fact = await place_order(books, food_pricing)
    payment = await books.ledger.match_payment("mtn", "m1", food_pricing.total)
    assert payment.order_id == "o1"
    answers = await asyncio.gather(*(books.another_ledger().post(fact) for _ in range(10)))
    assert sum(not answer.is_replayed for answer in answers) == 1
    funds = await books.ledger.get_funds("o1")
    assert funds is not None
    assert (funds.funds_state, funds.escrow) == ("CAPTURED", food_pricing.total)
    trial = await books.statements.trial_balance()
    assert {a["account"]: a["balance"] for a in trial["accounts"]} == {
        "CLEARING#MTN.0": -food_pricing.total,
        "ORDER#o1": food_pricing.total,
    }
    assert (trial["total"], trial["entries"]) == (0, 1)


async def test_a_payment_must_be_the_one_requested(books: Books, food_pricing: Pricing) -> None:
    """Another amount, reference, payer or price is refused, and nothing is posted."""
    fact = await place_order(books, food_pricing)
    with pytest.raises(LedgerRefused, match="conflict"):
        await books.ledger.match_payment("mtn", "m1", food_pricing.total - 1)
    with pytest.raises(LedgerRefused, match="not_found"):
        await books.ledger.match_payment("mtn", "m2", food_pricing.total)
    assert (await expect_refusal(books.ledger, TopUp("u", 1, "mtn", "m1"))).code == "conflict"
    assert (
        await expect_refusal(books.ledger, TopUp("w", food_pricing.total, "mtn", "m1"))
    ).code == "conflict"
    price = msgspec.structs.replace(food_pricing, rate_version=99)
    cheap = msgspec.structs.replace(fact, pricing=price)
    assert (await expect_refusal(books.ledger, cheap)).code == "conflict"
    assert (await books.statements.trial_balance())["entries"] == 0


async def test_a_captured_or_unknown_order_takes_no_mobile_money(
    books: Books, food_pricing: Pricing
) -> None:
    """An order that was never placed, or is cancelled, takes no payment, each with its code."""
    fact = Capture("o1", "u", "v", "MOBILE_MONEY", food_pricing, "m1", "mtn")
    assert (await expect_refusal(books.ledger, fact)).code == "not_found"
    await books.table.transact([books.ledger.open_pending_funds("o1", "u", "v", food_pricing)])
    await books.table.transact(void_funds("o1", books.clock.now_ms()).writes)
    assert (await expect_refusal(books.ledger, fact)).code == "wrong_state"


async def test_a_late_payment_goes_to_the_wallet(books: Books, food_pricing: Pricing) -> None:
    """After the order was cancelled the payment is in the customer's wallet."""
    fact = await place_order(books, food_pricing)
    await books.table.transact(void_funds("o1", books.clock.now_ms()).writes)
    assert (await expect_refusal(books.ledger, fact)).code == "wrong_state"
    await books.ledger.post(TopUp("u", food_pricing.total, "mtn", "m1"))
    assert (await expect_refusal(books.ledger, fact)).code in {"wrong_state", "conflict"}
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == food_pricing.total


async def test_one_payment_pays_one_thing(books: Books, food_pricing: Pricing) -> None:
    """A payment that topped up the wallet does not also pay the order."""
    fact = await place_order(books, food_pricing)
    await books.ledger.post(TopUp("u", food_pricing.total, "mtn", "m1"))
    assert (await expect_refusal(books.ledger, fact)).code == "conflict"
    assert (await books.statements.trial_balance())["entries"] == 1


async def test_a_success_after_a_failure_counts(books: Books, food_pricing: Pricing) -> None:
    """A payment reported as failed and then as successful is booked."""
    fact = await place_order(books, food_pricing)
    await books.table.transact([fail_payment("mtn", "m1", books.clock.now_ms(), "no money")])
    await books.ledger.post(fact)
    item = await books.table.get(payment_key("mtn", "m1"))
    assert item is not None
    assert item["paymentState"] == "SUCCESS"
    with pytest.raises(TransactionCancelled):
        await books.table.transact([fail_payment("mtn", "m1", books.clock.now_ms())])


async def test_a_payment_is_requested_once(books: Books, food_pricing: Pricing) -> None:
    """A payment id is used once, and an amount of zero is refused."""
    await books.table.transact([start_payment(pending_payment(food_pricing), 1)])
    with pytest.raises(TransactionCancelled):
        await books.table.transact([start_payment(pending_payment(food_pricing, amount=5), 2)])
    with pytest.raises(ValueError, match="amount"):
        start_payment(pending_payment(food_pricing, amount=0), 1)
