"""Statements: a wallet's balance and lines, and the trial balance over all accounts."""

import asyncio
from typing import Literal, NamedTuple, NotRequired, TypedDict

from ledger.core.accounts import (
    LINE_PREFIX,
    LIST_SHARDS,
    AccountKind,
    accounts_pk,
    balance_key,
    escrow,
    receivable,
    rider_cash,
)
from ledger.core.accounts import owner as wallet
from ledger.core.money import CURRENCY
from ledger.core.order_funds import OPEN_ESCROW, PENDING_SETTLEMENT, funds_key
from ledger.dynamodb.pages import read_all
from ledger.dynamodb.table import Item, Query, Table
from ledger.records.wallets import read_balance

# Readings of a moving ledger before the last one is returned as it is. Source: chosen.
READINGS_MAX = 20
# Pause between readings; an index shows a write within this time as a rule.
READING_PAUSE_S = 0.05


class WalletBalance(TypedDict):
    """Balance as its owner sees it. Units: whole XAF.

    `pendingBalance` is held for payouts, `totalEarned` is what deliveries brought since the start.
    """

    availableBalance: int
    pendingBalance: int
    totalEarned: int
    currency: str


class LineView(TypedDict):
    """A line as its owner sees it; `orderId` only for lines of orders.

    Units: whole XAF, Unix milliseconds.
    """

    transactionId: str
    seq: int
    type: Literal["CREDIT", "DEBIT"]
    category: str
    amount: int
    balanceBefore: int
    balanceAfter: int
    createdAt: int
    orderId: NotRequired[str]


class LinePage(TypedDict):
    """One page of lines; `nextCursor` is None on the last page."""

    items: list[LineView]
    nextCursor: str | None


class WalletDetails(TypedDict):
    """A wallet as operators see it, with its owner's debts. Units: whole XAF."""

    account: str
    status: str
    posted: int
    held: int
    availableBalance: int
    totalEarned: int
    lines: int
    cashOwed: int
    debt: int


class AccountBalance(TypedDict):
    """One account of the trial balance. Units: whole XAF."""

    account: str
    balance: int


class TrialBalance(TypedDict):
    """All accounts, their sum, and the number of entries. Units: whole XAF."""

    total: int
    accounts: list[AccountBalance]
    entries: int


class OwnerBalance(NamedTuple):
    """What an owner has, and what it owes: unremitted cash, and debts. Units: whole XAF."""

    available: int
    cash_in_hand: int
    debt: int


class BalanceReading(NamedTuple):
    """All accounts, read one after another; two equal readings are one moment. Units: whole XAF."""

    balances: dict[str, int]
    entries: int
    versions: dict[str, int]


class Statements:
    """Reads the current state of the ledger."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def balance(self, owner_type: str, owner_id: str) -> WalletBalance:
        """Balance of a customer, vendor or rider; zeros for an unused wallet. Units: whole XAF.

        Errors: ValueError for an unknown type or a malformed id; TableUnavailable.

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
    ) -> LinePage:
        """One page of a wallet's lines, newest first. Units: whole XAF.

        Errors: ValueError for an unknown type, a malformed id, or a cursor of another list;
        TableUnavailable.

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

    async def wallet_details(self, owner_type: str, owner_id: str) -> WalletDetails:
        """A wallet with its owner's debts. Units: whole XAF.

        Errors: ValueError for an unknown type or a malformed id; TableUnavailable.

        DynamoDB: GetItem, BatchGetItem.
        """
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
        """What an owner has and owes. Units: whole XAF. DynamoDB: BatchGetItem.

        Errors: ValueError for an unknown type or a malformed id; TableUnavailable.
        """
        names = [wallet(owner_type, owner_id), receivable(owner_type, owner_id)]
        if owner_type == AccountKind.RIDER:
            names.append(rider_cash(owner_id))
        items = await self._table.get_many([balance_key(name) for name in names])
        own, *debts = (read_balance(n, item) for n, item in zip(names, items, strict=True))
        cash = -debts[1].posted if owner_type == AccountKind.RIDER else 0
        return OwnerBalance(own.available, cash, -debts[0].posted)

    async def trial_balance(self) -> TrialBalance:
        """Every account with its balance, and their sum, which is zero. Units: whole XAF.

        While money moves, the accounts are read until two readings agree, which are then one
        moment; where that never happens the last reading is returned as it is.

        Errors: TableUnavailable.

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
        shards = range(LIST_SHARDS)
        listed = [Query(pk=accounts_pk(shard)) for shard in shards]
        with_funds = [
            Query(pk=f"{name}#{shard}", index="GSI2")
            for name in (OPEN_ESCROW, PENDING_SETTLEMENT)
            for shard in shards
        ]
        queries = [*listed, *with_funds]
        rows = await asyncio.gather(*(read_all(self._table, query) for query in queries))
        accounts = [item["SK"] for row in rows[: len(listed)] for item in row]
        orders = [item["orderId"] for row in rows[len(listed) :] for item in row]
        keys = [*map(balance_key, accounts), *map(funds_key, orders)]
        items = await self._table.get_many(keys)
        wallets = dict(zip(accounts, items, strict=False))
        funds = dict(zip(orders, items[len(accounts) :], strict=True))
        return _build_reading(wallets, funds)


def line_view(line: Item) -> LineView:
    """A line as its owner sees it. Units: whole XAF, Unix milliseconds."""
    view: LineView = {
        "transactionId": line["transactionId"],
        "seq": line["seq"],
        "type": "CREDIT" if line["amount"] > 0 else "DEBIT",
        "category": line["category"],
        "amount": abs(line["amount"]),
        "balanceBefore": line["balanceBefore"],
        "balanceAfter": line["balanceAfter"],
        "createdAt": line["createdAt"],
    }
    if "orderId" in line:
        view["orderId"] = line["orderId"]
    return view


def _build_reading(
    wallets: dict[str, Item | None], funds: dict[str, Item | None]
) -> BalanceReading:
    balances = {account: item["posted"] if item else 0 for account, item in wallets.items()}
    entries = sum(item["entries"] for item in wallets.values() if item)
    versions = {account: item["v"] for account, item in wallets.items() if item}
    for order_id, item in funds.items():
        account = escrow(order_id)
        if item is not None and item["escrow"]:
            balances[account] = item["escrow"]
            versions[account] = item["v"]
    return BalanceReading(balances, entries, versions)
