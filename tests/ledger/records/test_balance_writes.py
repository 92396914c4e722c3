"""Conditional writes of balances, applied on a real engine."""

import msgspec
import pytest

from ledger.core.accounts import balance_key
from ledger.core.entries import Leg
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Put, TransactionCancelled, Update, Write
from ledger.records.balance_writes import explain_rejected_balance, write_balance
from ledger.records.wallets import Balance, balance_item, read_balance

WALLET = Balance(account="USER#u", posted=100, available=100, seq=2, v=2)


def changed(before: Balance, amount: int, counter: str = "available", lines: int = 1) -> Balance:
    counters = {} if counter == "none" else {counter: getattr(before, counter) + amount}
    return msgspec.structs.replace(
        before,
        posted=before.posted + amount,
        seq=before.seq + lines,
        v=before.v + 1,
        **counters,
    )


async def apply(table: DynamoTable, write: Write) -> bool:
    try:
        await table.transact([write])
    except TransactionCancelled:
        return False
    return True


def test_the_first_credit_creates_the_wallet() -> None:
    """A credit to an account without an item is a Put if absent."""
    before = Balance(account="USER#u")
    write = write_balance(before, changed(before, 5))
    assert isinstance(write, Put)
    assert write.condition == "attribute_not_exists(PK)"


@pytest.mark.engines
async def test_a_wallet_is_changed_from_its_last_line_only(table: DynamoTable) -> None:
    """A debit is applied once; from an older line number it is cancelled."""
    await table.transact([Put(item=balance_item(WALLET))])
    after = changed(WALLET, -60)
    assert await apply(table, write_balance(WALLET, after))
    assert not await apply(table, write_balance(WALLET, after))
    stored = read_balance("USER#u", await table.get(balance_key("USER#u")))
    assert (stored.posted, stored.available, stored.seq, stored.v) == (40, 40, 3, 3)


@pytest.mark.engines
@pytest.mark.parametrize("spoiled", [{"available": 59}, {"status": "FROZEN"}])
async def test_an_uncovered_or_frozen_wallet_is_not_debited(
    table: DynamoTable, spoiled: dict[str, object]
) -> None:
    """A debit needs the amount and an active wallet."""
    await table.transact([Put(item={**balance_item(WALLET), **spoiled})])
    assert not await apply(table, write_balance(WALLET, changed(WALLET, -60)))


@pytest.mark.engines
async def test_a_riders_cash_is_listed_while_it_is_owed(table: DynamoTable) -> None:
    """Collected cash lists the rider; the remittance of all of it removes it from the list."""
    held = Balance(account="RIDERCASH#r", held=80, v=1)
    await table.transact([Put(item={**balance_item(held), "exposure": 80})])
    owing = changed(held, -80, "held")
    assert await apply(table, write_balance(held, owing))
    item = await table.get(balance_key("RIDERCASH#r"))
    assert item is not None
    assert item["GSI2PK"].startswith("RIDERCASH#OUTSTANDING#")
    assert await apply(table, write_balance(owing, changed(owing, 80, "none")))
    item = await table.get(balance_key("RIDERCASH#r"))
    assert item is not None
    assert ("GSI2PK" in item, item["exposure"], item["posted"]) == (False, 0, 0)


@pytest.mark.engines
async def test_shards_are_added_to_in_any_order(table: DynamoTable) -> None:
    """Two changes from the same balance of a shard are both applied."""
    shard = Balance(account="PLATFORM#COMMISSION.0", posted=10, v=1)
    await table.transact([Put(item=balance_item(shard))])
    for amount in (5, 7):
        assert await apply(table, write_balance(shard, changed(shard, amount, "none")))
    item = await table.get(balance_key(shard.account))
    assert item is not None
    assert item["posted"] == 22


@pytest.mark.engines
async def test_no_more_is_repaid_than_is_owed(table: DynamoTable) -> None:
    """A debt of 50 takes 50, and nothing after it."""
    debt = Balance(account="RECEIVABLE#USER.u", posted=-50, v=1)
    await table.transact([Put(item=balance_item(debt))])
    repay = write_balance(debt, changed(debt, 50, "none"))
    assert isinstance(repay, Update)
    assert await apply(table, repay)
    assert not await apply(table, repay)


@pytest.mark.parametrize(
    ("leg", "stored", "code"),
    [
        (Leg("USER#u", -101, "X"), WALLET, "insufficient_funds"),
        (
            Leg("USER#u", -1, "X"),
            msgspec.structs.replace(WALLET, status="FROZEN"),
            "frozen",
        ),
        (
            Leg("RIDERCASH#r", 51, "X"),
            Balance(account="RIDERCASH#r", posted=-50, v=1),
            "insufficient_funds",
        ),
    ],
)
def test_a_failed_balance_write_is_explained(leg: Leg, stored: Balance, code: str) -> None:
    """A missing balance, a frozen wallet, and too large a repayment have their codes."""
    rejection = explain_rejected_balance(leg, balance_item(stored))
    assert rejection is not None
    assert rejection.code == code


@pytest.mark.parametrize("leg", [Leg("USER#u", -100, "X"), Leg("USER#u", 5, "X")])
def test_a_balance_that_only_changed_is_tried_again(leg: Leg) -> None:
    """A covered debit and a credit have no reason to be refused."""
    assert explain_rejected_balance(leg, balance_item(WALLET)) is None
