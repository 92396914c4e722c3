"""Cash holds on a real engine: reserved within the limit, settled or released."""

import asyncio

import pytest

from ledger.core import accounts
from ledger.core.facts import Settle
from ledger.core.order_funds import DeliveredCash, GuardedWrites, mark_delivered, void_funds
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import Item, TransactionCancelled, Update
from ledger.records.cash_holds import (
    CASH_LIMIT_XAF,
    HoldChange,
    change_hold,
    hold_key,
    release_cash,
    reserve_cash,
)
from tests.ledger.scenarios.ledger_setup import Books, expect_refusal

pytestmark = pytest.mark.engines


async def reserve(books: Books, order_id: str, amount: int, rider_id: str = "r") -> None:
    now = books.clock.now_ms()
    held = reserve_cash(order_id, rider_id, amount, CASH_LIMIT_XAF, now)
    await books.table.transact(held.writes)


async def code_of(books: Books, guarded: GuardedWrites) -> str:
    """The code of the write that failed."""
    with pytest.raises(TransactionCancelled) as raised:
        await books.table.transact(guarded.writes)
    return guarded.codes[raised.value.failed_positions()[0]]


async def cash_of(books: Books, rider_id: str = "r") -> Item:
    item = await books.table.get(accounts.balance_key(accounts.rider_cash(rider_id)))
    assert item is not None
    return item


async def test_cash_is_held_collected_and_settled(books: Books, food_pricing: Pricing) -> None:
    """A settled cash order is what the rider owes; the parties have their parts."""
    await books.table.transact([books.ledger.open_cash_funds("o1", "u", "v", food_pricing)])
    await reserve(books, "o1", food_pricing.total)
    assert (await cash_of(books))["exposure"] == food_pricing.total
    now = books.clock.now_ms()
    await books.table.transact(
        mark_delivered("o1", "r", now, DeliveredCash(food_pricing.total, food_pricing.total)).writes
    )
    settled = await books.ledger.post(Settle("o1"))
    assert settled.lines["RIDERCASH#r"].balance_after == -food_pricing.total
    cash = await cash_of(books)
    assert (cash["posted"], cash["held"], cash["exposure"]) == (
        -food_pricing.total,
        0,
        food_pricing.total,
    )
    hold = await books.table.get(hold_key("o1"))
    assert hold is not None
    assert hold["holdState"] == "POSTED"
    assert (await books.ledger.post(Settle("o1"))).lines == settled.lines
    trial = await books.statements.trial_balance()
    assert (trial["total"], trial["entries"]) == (0, 1)
    assert {"account": "RIDERCASH#r", "balance": -food_pricing.total} in trial["accounts"]


async def test_cash_above_the_limit_is_refused(books: Books) -> None:
    """Holds and unremitted cash together stay within the limit, to the franc."""
    await reserve(books, "o1", 30_000)
    over = reserve_cash("o2", "r", 20_001, CASH_LIMIT_XAF, 1)
    assert await code_of(books, over) == "cash_limit"
    assert await books.table.get(hold_key("o2")) is None
    await reserve(books, "o2", 20_000)
    assert await code_of(books, reserve_cash("o3", "r", 1, CASH_LIMIT_XAF, 1)) == "cash_limit"
    first = reserve_cash("o9", "new", CASH_LIMIT_XAF + 1, CASH_LIMIT_XAF, 1)
    assert await code_of(books, first) == "cash_limit"
    await reserve(books, "o4", CASH_LIMIT_XAF, "new")


async def test_the_limit_holds_against_twenty_at_once(books: Books) -> None:
    """Of 20 orders of 12,000 for a rider new to cash four fit into 50,000."""
    calls = (reserve(books, f"o{i}", 12_000) for i in range(20))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(result is None for result in results) == 4
    cash = await cash_of(books)
    assert (cash["held"], cash["exposure"], cash["posted"]) == (48_000, 48_000, 0)


async def test_released_cash_can_be_reserved_again(books: Books, food_pricing: Pricing) -> None:
    """A hold is released once, by the rider that has it; then another rider may hold it."""
    now = books.clock.now_ms()
    await reserve(books, "o1", food_pricing.total)
    again = reserve_cash("o1", "s", food_pricing.total, CASH_LIMIT_XAF, now)
    assert await code_of(books, again) == "conflict"
    assert await code_of(books, release_cash("o1", "s", food_pricing.total, now)) == "wrong_state"
    await books.table.transact(release_cash("o1", "r", food_pricing.total, now).writes)
    assert await code_of(books, release_cash("o1", "r", food_pricing.total, now)) == "wrong_state"
    assert (await cash_of(books))["exposure"] == 0
    await books.table.transact(again.writes)
    assert (await cash_of(books, "s"))["held"] == food_pricing.total


async def test_only_what_is_held_is_released(books: Books) -> None:
    """Another amount than the hold's, or more than the rider's holds, is not released."""
    now = books.clock.now_ms()
    await reserve(books, "o1", 20_000)
    await reserve(books, "o2", 10_000)
    assert await code_of(books, release_cash("o1", "r", 10_000, now)) == "wrong_state"
    short = Update(
        key=accounts.balance_key("RIDERCASH#r"), expression="SET held = :n", values={":n": 19_999}
    )
    await books.table.transact([short])
    assert await code_of(books, release_cash("o1", "r", 20_000, now)) == "wrong_state"
    await books.table.transact(release_cash("o2", "r", 10_000, now).writes)
    await reserve(books, "o3", 10_000)
    assert await code_of(books, release_cash("o2", "r", 10_000, now)) == "wrong_state"


async def test_cash_without_a_hold_is_not_settled(books: Books, food_pricing: Pricing) -> None:
    """Another rider's hold stops the settlement."""
    await books.table.transact([books.ledger.open_cash_funds("o1", "u", "v", food_pricing)])
    await reserve(books, "o1", food_pricing.total, "other")
    await books.table.transact(mark_delivered("o1", "r", books.clock.now_ms()).writes)
    refused = await expect_refusal(books.ledger, Settle("o1"))
    assert (refused.code, "hold" in refused.message) == ("wrong_state", True)
    assert (await books.statements.trial_balance())["entries"] == 0


async def test_a_cash_order_cancelled_before_payment_is_void(
    books: Books, food_pricing: Pricing
) -> None:
    """A cancelled unpaid order's funds are closed and cannot be opened or delivered again."""
    opening = books.ledger.open_cash_funds("o1", "u", "v", food_pricing)
    now = books.clock.now_ms()
    await books.table.transact([opening])
    await books.table.transact(void_funds("o1", now).writes)
    for guarded in (void_funds("o1", now), mark_delivered("o1", "r", now)):
        assert await code_of(books, guarded) == "wrong_state"
    with pytest.raises(TransactionCancelled):
        await books.table.transact([opening])


@pytest.mark.parametrize("after", [0, 9_000, 20_000, 60_000])
async def test_a_hold_becomes_what_was_collected(books: Books, after: int) -> None:
    """The hold, what the rider holds and its exposure change together, also above the limit."""
    now = books.clock.now_ms()
    await reserve(books, "o1", 20_000)
    await reserve(books, "o2", 10_000)
    change = HoldChange(before=20_000, after=after)
    await books.table.transact(change_hold("o1", "r", change, now).writes)

    hold, cash = await books.table.get(hold_key("o1")), await cash_of(books)
    assert hold is not None
    assert (hold["amount"], hold["holdState"]) == (after, "OPEN")
    assert (cash["held"], cash["exposure"]) == (10_000 + after, 10_000 + after)


async def test_only_the_riders_own_open_hold_is_changed(books: Books) -> None:
    """Another rider, another amount, a hold that is over, or one not covered is not changed."""
    now = books.clock.now_ms()
    await reserve(books, "o1", 20_000)
    await reserve(books, "o2", 10_000)
    change = HoldChange(before=20_000, after=19_000)
    assert await code_of(books, change_hold("o1", "s", change, now)) == "wrong_state"
    assert await code_of(books, change_hold("o2", "r", change, now)) == "wrong_state"
    short = Update(
        key=accounts.balance_key("RIDERCASH#r"), expression="SET held = :n", values={":n": 19_999}
    )
    await books.table.transact([short])
    assert await code_of(books, change_hold("o1", "r", change, now)) == "wrong_state"
    whole = Update(
        key=accounts.balance_key("RIDERCASH#r"), expression="SET held = :n", values={":n": 30_000}
    )
    await books.table.transact([whole])
    await books.table.transact(release_cash("o1", "r", 20_000, now).writes)
    await reserve(books, "o3", 20_000)
    assert await code_of(books, change_hold("o1", "r", change, now)) == "wrong_state"
