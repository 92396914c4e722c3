"""What the books say: a wallet's balance and lines, and the sum over all accounts."""

import asyncio
from typing import Any, NamedTuple

from ledger.core.accounts import (
    LINE_PREFIX,
    LIST_SHARDS,
    AccountKind,
    balance_key,
    escrow,
    receivable,
    rider_cash,
)
from ledger.core.accounts import owner as wallet
from ledger.core.money import CURRENCY
from ledger.core.order_funds import OPEN_ESCROW, PENDING_SETTLEMENT, funds_key
from ledger.dynamodb.table import Item, Query, Table
from ledger.records.wallets import read_balance

# Items read at once from a list of accounts.
PAGE_ITEMS = 1000
# Readings of a moving ledger before its sum is told as it was read last.
READINGS_MAX = 20
# Between readings; a global index shows a write within this time as a rule.
READING_PAUSE_S = 0.05


class OwnerBalance(NamedTuple):
    """What an owner has, and what he owes us: cash in hand, and debts. Units: whole XAF."""

    available: int
    cash_in_hand: int
    debt: int


class BalanceReading(NamedTuple):
    """All accounts as read one after another; equal readings are one true moment."""

    balances: dict[str, int]
    entries: int
    versions: dict[str, int]


class Statements:
    """The reading side of the books."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def balance(self, owner_type: str, owner_id: str) -> dict[str, Any]:
        """What a customer, vendor or rider has; zeros for a wallet that was never used.

        `pendingBalance` is what is held back, `totalEarned` what deliveries ever brought.

        Units: whole XAF.

        Errors: ValueError for an unknown type or a malformed id.

        DynamoDB: GetItem.
        """
        account = wallet(owner_type, owner_id)
        balance = read_balance(account, await self._table.get(balance_key(account)))
        return {
            "availableBalance": balance.available,
            "pendingBalance": balance.held,
            "totalEarned": balance.earned,
            "currency": CURRENCY,
        }

    async def transactions(
        self, owner_type: str, owner_id: str, limit: int = 50, cursor: str | None = None
    ) -> dict[str, Any]:
        """A wallet's lines, newest first.

        Errors: ValueError for an unknown type, a malformed id, or a cursor of another list.

        DynamoDB: Query.
        """
        page = await self._table.query(
            Query(
                pk=balance_key(wallet(owner_type, owner_id)).pk,
                prefix=LINE_PREFIX,
                limit=limit,
                cursor=cursor,
                forward=False,
            )
        )
        return {"items": [line_view(line) for line in page.items], "nextCursor": page.cursor}

    async def wallet_details(self, owner_type: str, owner_id: str) -> dict[str, Any]:
        """All that is known of a wallet and its owner's debts. DynamoDB: GetItem, BatchGetItem."""
        account = wallet(owner_type, owner_id)
        balance = read_balance(account, await self._table.get(balance_key(account)))
        owed = await self.owner_balance(owner_type, owner_id)
        return {
            "account": account,
            "status": balance.status,
            "posted": balance.posted,
            "held": balance.held,
            "availableBalance": balance.available,
            "totalEarned": balance.earned,
            "lines": balance.seq,
            "cashOwed": owed.cash_in_hand,
            "debt": owed.debt,
        }

    async def owner_balance(self, owner_type: str, owner_id: str) -> OwnerBalance:
        """What an owner has and owes. DynamoDB: BatchGetItem."""
        names = [wallet(owner_type, owner_id), receivable(owner_type, owner_id)]
        if owner_type == AccountKind.RIDER:
            names.append(rider_cash(owner_id))
        items = await self._table.get_many([balance_key(name) for name in names])
        own, *debts = (read_balance(n, item) for n, item in zip(names, items, strict=True))
        cash = -debts[1].posted if owner_type == AccountKind.RIDER else 0
        return OwnerBalance(own.available, cash, -debts[0].posted)

    async def trial_balance(self) -> dict[str, Any]:
        """Every account with its balance, and their sum, which is zero.

        On a moving ledger the accounts are read until two readings agree, which is then one true
        moment; where that never happens the last reading is told as it is.

        Units: whole XAF.

        DynamoDB: Query of the account lists, BatchGetItem; no Scan.
        """
        last = await self._read_balances()
        for _ in range(READINGS_MAX):
            reading = await self._read_balances()
            is_moment = reading == last
            last = reading
            if is_moment and not sum(reading.balances.values()):
                break
            await asyncio.sleep(READING_PAUSE_S)
        return {
            "total": sum(last.balances.values()),
            "accounts": [
                {"account": account, "balance": balance}
                for account, balance in sorted(last.balances.items())
            ],
            "entries": last.entries,
        }

    async def _read_balances(self) -> BalanceReading:
        listed = [self._list_all(f"ACCOUNTS#{shard}") for shard in range(LIST_SHARDS)]
        held = [
            self._list_all(f"{name}#{shard}", index="GSI2")
            for name in (OPEN_ESCROW, PENDING_SETTLEMENT)
            for shard in range(LIST_SHARDS)
        ]
        rows = await asyncio.gather(*listed, *held)
        accounts = [item["SK"] for row in rows[: len(listed)] for item in row]
        orders = [item["orderId"] for row in rows[len(listed) :] for item in row]
        keys = [*map(balance_key, accounts), *map(funds_key, orders)]
        items = await self._table.get_many(keys)
        wallets = dict(zip(accounts, items, strict=False))
        fins = dict(zip(orders, items[len(accounts) :], strict=True))
        return _build_reading(wallets, fins)

    async def _list_all(self, pk: str, index: str | None = None) -> list[Item]:
        items: list[Item] = []
        cursor: str | None = None
        while True:
            page = await self._table.query(
                Query(pk=pk, index=index, limit=PAGE_ITEMS, cursor=cursor)
            )
            items += page.items
            cursor = page.cursor
            if cursor is None:
                return items


def _build_reading(wallets: dict[str, Item | None], fins: dict[str, Item | None]) -> BalanceReading:
    balances = {account: item["posted"] if item else 0 for account, item in wallets.items()}
    entries = sum(item["entries"] for item in wallets.values() if item)
    versions = {account: item["v"] for account, item in wallets.items() if item}
    for order_id, item in fins.items():
        account = escrow(order_id)
        if item is not None and item["escrow"]:
            balances[account] = item["escrow"]
            versions[account] = item["v"]
    return BalanceReading(balances, entries, versions)


def line_view(line: Item) -> dict[str, Any]:
    """A line as its owner sees it."""
    shown = {
        "transactionId": line["transactionId"],
        "seq": line["seq"],
        "type": "CREDIT" if line["amount"] > 0 else "DEBIT",
        "category": line["category"],
        "amount": abs(line["amount"]),
        "balanceBefore": line["balanceBefore"],
        "balanceAfter": line["balanceAfter"],
        "createdAt": line["createdAt"],
    }
    return shown | ({"orderId": line["orderId"]} if "orderId" in line else {})
