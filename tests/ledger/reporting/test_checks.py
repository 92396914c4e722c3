"""The rules of a correct ledger, item by item."""

import msgspec
import pytest

from ledger.core.entries import JournalEntry, Leg, entry_item
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import Refund, Settle
from ledger.core.line_categories import ORDER_EARNINGS
from ledger.core.order_funds import FundsState
from ledger.dynamodb.table import Item
from ledger.records.wallets import Balance, EntryStamp, apply_leg
from ledger.reporting.checks import (
    WalletChain,
    balance_breaks,
    entry_breaks,
    entry_name,
    order_breaks,
    settlement_breaks,
)
from tests.ledger.core.entry_samples import FOOD_PRICING, funds_of

DELIVERED = funds_of()
SETTLED = msgspec.structs.replace(DELIVERED, funds_state=FundsState.SETTLED, escrow=0)


def settlement_item() -> Item:
    entry = plan_entry(Settle("o1"), DELIVERED, 3)
    assert isinstance(entry, JournalEntry)
    return entry_item(entry, 5, {})


def wallet_with_lines(count: int) -> tuple[Balance, list[Item]]:
    """A wallet after so many credits of 10, and its lines from the last to the first."""
    entry = plan_entry(Settle("o1"), DELIVERED, 0)
    assert isinstance(entry, JournalEntry)
    balance, lines = Balance(account="RIDER#r"), []
    for _ in range(count):
        leg = Leg("RIDER#r", 10, ORDER_EARNINGS)
        movement = apply_leg(leg, balance, EntryStamp(entry, 5, "RIDER#r"))
        assert movement.line is not None
        balance = movement.balance_after
        lines.insert(0, movement.line.item)
    return balance, lines


def rules_of(breaks) -> set[str]:
    return {each.invariant for each in breaks}


def chain_breaks(balance: Balance, lines: list[Item]) -> set[str]:
    chain = WalletChain(balance)
    found = [each for line in lines for each in chain.check_line(line)]
    return rules_of([*found, *chain.check_start()])


def test_a_planned_settlement_has_no_break() -> None:
    """An entry is checked against the funds after it, whatever account shard it used."""
    item = settlement_item()
    assert list(entry_breaks(item)) == []
    assert list(settlement_breaks(item, SETTLED)) == []
    assert entry_name(item) == "ORDER#o1/JE#SETTLE"


def test_an_entry_that_does_not_balance_is_a_break() -> None:
    """One franc more in a leg breaks the entry."""
    item = settlement_item()
    item["legs"][0] = {**item["legs"][0], "amount": item["legs"][0]["amount"] + 1}
    assert rules_of(entry_breaks(item)) == {"entry_balances"}


def test_an_entry_of_other_parts_is_a_break() -> None:
    """A balanced entry that is not what planning makes of the funds is a break."""
    item = settlement_item()
    vendor = next(leg for leg in item["legs"] if leg["account"] == "VENDOR#v")
    rider = next(leg for leg in item["legs"] if leg["account"] == "RIDER#r")
    vendor["amount"], rider["amount"] = vendor["amount"] - 1, rider["amount"] + 1
    assert rules_of(settlement_breaks(item, SETTLED)) == {"entry_as_planned"}
    assert rules_of(settlement_breaks(settlement_item(), None)) == {"entry_as_planned"}


def test_a_cancellation_is_checked_too() -> None:
    """A cancellation is planned again from its stage and fault."""
    captured = funds_of(funds_state=FundsState.CAPTURED, rider_id=None)
    entry = plan_entry(Refund("o1", "closed"), captured, 0)
    assert isinstance(entry, JournalEntry)
    cancelled = msgspec.structs.replace(captured, funds_state=FundsState.CANCELLED, escrow=0)
    assert list(settlement_breaks(entry_item(entry, 5, {}), cancelled)) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"escrow": 1}, "escrow"),
        ({"refunded": FOOD_PRICING.total + 1}, "refunds"),
        ({"refunded": 5, "shared": 6}, "refunds"),
        (
            {"pricing": msgspec.structs.replace(FOOD_PRICING, commission=0)},
            "entry_as_planned",
        ),
    ],
)
def test_inconsistent_funds_are_a_break(changes: dict[str, object], rule: str) -> None:
    """Escrow after the end, too large a refund, and prices of other rates are breaks."""
    assert list(order_breaks(SETTLED)) == []
    assert rules_of(order_breaks(msgspec.structs.replace(SETTLED, **changes))) == {rule}


def test_a_chain_of_lines_has_no_break() -> None:
    """Lines read from the last to the first follow one another."""
    assert chain_breaks(*wallet_with_lines(3)) == set()


@pytest.mark.parametrize(
    ("position", "changes", "rules"),
    [
        (0, {"balanceAfter": 31}, {"balance_is_last_line", "line_adds_up", "line_hash"}),
        (1, {"amount": 11}, {"line_adds_up", "line_hash"}),
        (1, {"category": "TIP"}, {"line_hash"}),
        (1, {"seq": 5}, {"line_follows", "line_hash"}),
    ],
)
def test_a_changed_line_is_a_break(position: int, changes: Item, rules: set[str]) -> None:
    """A line whose content, number or hash does not fit its neighbours is a break."""
    balance, lines = wallet_with_lines(3)
    lines[position] = {**lines[position], **changes}
    assert chain_breaks(balance, lines) >= rules


def test_missing_lines_are_a_break() -> None:
    """A gap in the middle and a missing beginning are both found."""
    balance, lines = wallet_with_lines(3)
    assert chain_breaks(balance, [lines[0], lines[2]]) == {"line_follows"}
    assert chain_breaks(balance, lines[:2]) == {"line_follows"}


@pytest.mark.parametrize(
    ("balance", "held", "rules"),
    [
        (Balance(account="USER#u", posted=9, held=4, available=5), 4, set()),
        (Balance(account="USER#u", posted=9, held=4, available=5), 3, {"held_is_open_holds"}),
        (Balance(account="USER#u", posted=9, available=8), 0, {"balance_available"}),
        (Balance(account="USER#u", posted=-1, available=-1), 0, {"balance_available"}),
        (Balance(account="RIDERCASH#r", posted=-9, held=4), 4, set()),
        (Balance(account="RIDERCASH#r", posted=1), 0, {"balance_available"}),
    ],
)
def test_counters_must_fit_one_another(balance: Balance, held: int, rules: set[str]) -> None:
    """Available is posted without held, held is the sum of holds, and neither is negative."""
    assert rules_of(balance_breaks(balance, held)) == rules
