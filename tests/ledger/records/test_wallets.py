"""Wallets: legs applied to balances, and the chain of lines."""

import msgspec
import pytest

from ledger.core.entries import JournalEntry, Leg
from ledger.core.line_categories import ORDER_EARNINGS, PAYOUT
from ledger.dynamodb.table import Key
from ledger.records.wallets import (
    GENESIS,
    Balance,
    EntryStamp,
    apply_leg,
    balance_item,
    debited_counter,
    line_hash,
    read_balance,
    transaction_id,
)

LEGS = (Leg("VENDOR#v", 70, ORDER_EARNINGS), Leg("ORDER#o1", -70, ORDER_EARNINGS))
ENTRY = JournalEntry(
    key=Key("ORDER#o1", "JE#SETTLE"), kind="SETTLE", fact_hash="h", legs=LEGS, order_id="o1"
)
STAMP = EntryStamp(ENTRY, 1_000, "VENDOR#v")
VENDOR = Balance(account="VENDOR#v")


def test_a_missing_item_is_a_zero_balance() -> None:
    """Without an item every counter is zero and the wallet is new."""
    balance = read_balance("VENDOR#v", None)
    assert balance == VENDOR
    assert balance.is_new


def test_a_balance_round_trips() -> None:
    """A balance is read from its item as it was written."""
    balance = Balance(account="VENDOR#v", posted=70, available=70, seq=1, v=1, updated_at=9)
    assert read_balance("VENDOR#v", balance_item(balance)) == balance


def test_a_credit_is_spendable_and_earned() -> None:
    """Earnings raise what is posted, available and earned, and count the entry."""
    after = apply_leg(LEGS[0], VENDOR, STAMP).balance_after
    assert (after.posted, after.available, after.earned, after.entries) == (70, 70, 70, 1)
    assert (after.seq, after.v, after.updated_at) == (1, 1, 1_000)


def test_the_first_movement_lists_the_account() -> None:
    """The list of accounts gets the wallet with its first line, and not again."""
    first = apply_leg(LEGS[0], VENDOR, STAMP)
    second = apply_leg(LEGS[0], first.balance_after, STAMP)
    assert first.listing is not None
    assert second.listing is None


def test_lines_form_a_chain() -> None:
    """Each line has the hash of the one before, and its own hash is the balance's head."""
    first = apply_leg(LEGS[0], VENDOR, STAMP)
    second = apply_leg(LEGS[0], first.balance_after, STAMP)
    assert first.line is not None
    assert second.line is not None
    assert first.line.item["prev"] == GENESIS
    assert second.line.item["prev"] == first.line.item["hash"] == first.balance_after.head
    assert line_hash("VENDOR#v", second.line.item) == second.balance_after.head


@pytest.mark.parametrize(
    "field", ["prev", "seq", "amount", "balanceBefore", "balanceAfter", "category", "entry"]
)
def test_the_hash_covers_a_lines_fields(field: str) -> None:
    """A line with another value in any of them has another hash."""
    line = apply_leg(LEGS[0], VENDOR, STAMP).line
    assert line is not None
    changed = {**line.item, field: "other"}
    assert line_hash("VENDOR#v", changed) != line.item["hash"]


def test_account_shards_have_no_lines() -> None:
    """A shard's balance moves without a line."""
    shard = Balance(account="PLATFORM#COMMISSION.0")
    movement = apply_leg(Leg(shard.account, 5, "COMMISSION"), shard, STAMP)
    assert (movement.line, movement.balance_after.posted) == (None, 5)


@pytest.mark.parametrize(
    ("leg", "counter"),
    [
        (Leg("USER#u", -5, "ORDER_PAYMENT"), "available"),
        (Leg("VENDOR#v", -5, PAYOUT), "held"),
        (Leg("RIDERCASH#r", -5, "CASH_COLLECTED"), "held"),
    ],
)
def test_debits_reduce_what_was_reserved_for_them(leg: Leg, counter: str) -> None:
    """Payouts and collected cash were held before; other debits take what is available."""
    assert debited_counter(leg) == counter
    held = Balance(account=leg.account, posted=9, held=9, available=9, v=1)
    after = apply_leg(leg, held, STAMP).balance_after
    assert getattr(after, counter) == 4


def test_a_transaction_id_is_stable() -> None:
    """One entry and account have one id, others another."""
    one = transaction_id("ORDER#o1/JE#SETTLE", "VENDOR#v")
    assert one == transaction_id("ORDER#o1/JE#SETTLE", "VENDOR#v")
    assert one != transaction_id("ORDER#o1/JE#SETTLE", "RIDER#r")
    assert one.startswith("txn_")


def test_a_credit_to_a_riders_cash_is_not_spendable() -> None:
    """Remitted cash reduces the debt and gives nothing to spend."""
    cash = msgspec.structs.replace(VENDOR, account="RIDERCASH#r", posted=-70, v=1)
    after = apply_leg(Leg("RIDERCASH#r", 70, "CASH_HANDED_IN"), cash, STAMP).balance_after
    assert (after.posted, after.available) == (0, 0)
