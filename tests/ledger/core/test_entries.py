"""Journal entries: legs that balance, hashes of facts, and their items."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core import accounts
from ledger.core.entries import (
    JournalEntry,
    Leg,
    UnbalancedEntry,
    balance_legs,
    build_entry,
    business_day,
    entry_item,
    hash_fact,
)
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import Capture, Refund, Settle, TopUp
from ledger.core.money import AMOUNT_MAX
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import Item, Key

names = st.sampled_from([accounts.user(f"u{i}") for i in range(6)])
amounts = st.integers(-(10**9), 10**9)


@given(st.lists(st.tuples(names, amounts), min_size=1, max_size=10))
def test_legs_are_merged_and_always_sum_to_zero(parts: list[tuple[str, int]]) -> None:
    """An entry has one leg per account, none of zero, and sums to zero."""
    rest = -sum(amount for _, amount in parts)
    legs = [Leg(account, amount, "X") for account, amount in parts]
    legs += [Leg(accounts.vendor("v"), rest + 7, "X"), Leg(accounts.rider("r"), -7, "X")]
    kept = balance_legs(legs)
    assert sum(leg.amount for leg in kept) == 0
    assert all(leg.amount for leg in kept)
    assert [leg.account for leg in kept] == sorted({leg.account for leg in kept})


@given(st.lists(st.tuples(names, amounts), max_size=10))
def test_legs_that_do_not_sum_to_zero_are_no_entry(parts: list[tuple[str, int]]) -> None:
    """Legs that sum to one franc are refused."""
    total = sum(amount for _, amount in parts)
    legs = [Leg(account, amount, "X") for account, amount in parts]
    with pytest.raises(UnbalancedEntry):
        balance_legs([*legs, Leg(accounts.vendor("v"), 1 - total, "X")])


def test_an_entry_has_legs_within_the_amount_limit() -> None:
    """Legs that cancel each other out, and legs above the largest amount, are refused."""
    u, v = accounts.user("u"), accounts.vendor("v")
    with pytest.raises(UnbalancedEntry, match="moves nothing"):
        balance_legs([Leg(u, 5, "X"), Leg(u, -5, "X")])
    with pytest.raises(UnbalancedEntry, match="above"):
        balance_legs([Leg(u, AMOUNT_MAX + 1, "X"), Leg(v, -AMOUNT_MAX - 1, "X")])


def test_the_fact_hash_covers_the_fact_and_nothing_else(food_pricing: Pricing) -> None:
    """Equal facts hash alike whatever the shard; another field or kind hashes differently."""
    fact = Capture("o1", "u", "v", "WALLET", food_pricing)
    one, two = plan_entry(fact, None, 0), plan_entry(fact, None, 5)
    assert isinstance(one, JournalEntry)
    assert isinstance(two, JournalEntry)
    assert one.fact_hash == two.fact_hash == hash_fact(fact)
    assert hash_fact(msgspec.structs.replace(fact, user_id="w")) != one.fact_hash
    assert hash_fact(Settle("o1")) != hash_fact(Refund("o1", ""))


def test_a_business_day_is_doualas() -> None:
    """23:00 UTC is the next business day in Douala."""
    assert business_day(0) == "1970-01-01"
    assert business_day(1_763_000_000_000) == "2025-11-13"
    assert business_day(22 * 3_600_000 + 3_599_999) == "1970-01-01"
    assert business_day(23 * 3_600_000) == "1970-01-02"


def test_an_entry_is_listed_under_its_day() -> None:
    """An entry is listed under its day in GSI3, with a sort key of its own."""
    entry = plan_entry(TopUp("u", 5, "mtn", "p1"), None, 0)
    assert isinstance(entry, JournalEntry)
    item = entry_item(entry, 0, {})
    assert item["GSI3PK"].startswith("JE#1970-01-01#")
    assert item["GSI3SK"] == "0000000000000#PAYMENT#mtn#p1/JE#TOPUP"


def test_an_entry_has_the_key_and_hash_of_its_fact() -> None:
    """Built from a fact, an entry has its key, its hash, and the details given."""
    fact = TopUp("u", 5, "mtn", "p1")
    legs = [Leg("USER#u", 5, "TOP_UP"), Leg("CLEARING#MTN.0", -5, "TOP_UP")]
    entry = build_entry(fact, "TOPUP", legs, reason="test")
    assert (entry.key, entry.fact_hash) == (Key("PAYMENT#mtn#p1", "JE#TOPUP"), hash_fact(fact))
    assert (entry.entry_id, entry.total) == ("PAYMENT#mtn#p1/JE#TOPUP", 5)
    assert entry_item(entry, 0, {})["reason"] == "test"


def test_legs_are_stored_with_the_lines_they_became() -> None:
    """A leg of a wallet is stored with the number of its line and the balance after it."""
    entry = plan_entry(TopUp("u", 5, "mtn", "p1"), None, 0)
    assert isinstance(entry, JournalEntry)
    line: Item = {"seq": 3, "balanceAfter": 12}
    assert entry_item(entry, 0, {"USER#u": line})["legs"] == [
        {"account": "CLEARING#MTN.0", "amount": -5},
        {"account": "USER#u", "amount": 5, "seq": 3, "after": 12},
    ]
