"""The cache of account balances."""

import pytest

from ledger.core.accounts import balance_key
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Put
from ledger.posting.balance_cache import BalanceCache
from ledger.records.wallets import Balance, balance_item

pytestmark = pytest.mark.engines

ACCOUNTS = ["USER#a", "USER#b", "USER#c"]


def balance_of(account: str, posted: int) -> Balance:
    return Balance(account=account, posted=posted, available=posted, v=1)


async def write(table: DynamoTable, account: str, posted: int) -> None:
    await table.transact([Put(item=balance_item(balance_of(account, posted)))])


async def test_a_balance_is_read_once(table: DynamoTable) -> None:
    """A second read answers from the cache, in the order of the accounts, without a call."""
    await write(table, "USER#b", 7)
    cache = BalanceCache(table)
    first = await cache.read(ACCOUNTS)
    calls = table.counts.calls
    assert await cache.read(ACCOUNTS[::-1]) == first[::-1]
    assert [balance.posted for balance in first] == [0, 7, 0]
    assert table.counts.calls == calls


async def test_a_forgotten_balance_is_read_again(table: DynamoTable) -> None:
    """A change by another process is seen after the account was forgotten."""
    cache = BalanceCache(table)
    await cache.read(["USER#a"])
    await write(table, "USER#a", 5)
    assert (await cache.read(["USER#a"]))[0].posted == 0
    cache.forget(["USER#a", "USER#unknown"])
    assert (await cache.read(["USER#a"]))[0].posted == 5


async def test_a_stored_balance_is_not_read(table: DynamoTable) -> None:
    """What was stored is answered, although the table has no such item."""
    cache = BalanceCache(table)
    cache.store(balance_of("USER#a", 9))
    assert (await cache.read(["USER#a"]))[0].posted == 9
    assert await table.get(balance_key("USER#a")) is None


async def test_the_oldest_balance_is_dropped_first(table: DynamoTable) -> None:
    """A full cache drops the balance that was stored longest ago."""
    cache = BalanceCache(table, balances_max=2)
    for account in ACCOUNTS:
        cache.store(balance_of(account, 1))
    calls = table.counts.calls
    assert [b.posted for b in await cache.read(ACCOUNTS[1:])] == [1, 1]
    assert table.counts.calls == calls
    assert (await cache.read(ACCOUNTS[:1]))[0].posted == 0
