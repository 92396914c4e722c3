"""One order's entries, all of them, against what its money says."""

import asyncio

from ledger.core.order_funds import funds_key
from ledger.dynamodb.pages import PAGE_ITEMS, iterate_pages
from ledger.dynamodb.table import Query, Table
from ledger.reporting.checks import LedgerBreak

# How often a suspicion is looked into before it is believed, and how long apart.
CONFIRMATIONS = 5
CONFIRM_PAUSE_S = 0.5


async def reconcile_order(table: Table, account: str) -> list[LedgerBreak]:
    """The break of an order whose entries and money differ, in every one of several looks.

    DynamoDB: Query of the order, GetItem.
    """
    found: list[LedgerBreak] = []
    for _ in range(CONFIRMATIONS):
        escrow, refunded = await _sum_entries(table, account)
        fin = await table.get(funds_key(account.partition("#")[2])) or {}
        said = (fin.get("escrow", 0), fin.get("refunded", 0))
        if said == (escrow, refunded):
            return []
        rule = "refunds" if said[0] == escrow else "escrow"
        what = f"says {said[0]} in escrow, {said[1]} back; its entries {escrow}, {refunded}"
        found = [LedgerBreak(rule, account, what)]
        await asyncio.sleep(CONFIRM_PAUSE_S)
    return found


async def _sum_entries(table: Table, account: str) -> tuple[int, int]:
    """What an order's entries say of its escrow, and of what went back after it was settled."""
    escrow = refunded = 0
    async for page in iterate_pages(table, Query(pk=account, prefix="JE#", limit=PAGE_ITEMS)):
        for item in page:
            is_refund = item["SK"].startswith("JE#REFUND#")
            for leg in item["legs"]:
                escrow += leg["amount"] if leg["account"] == account else 0
                is_back = is_refund and leg["account"].startswith("USER#")
                refunded += leg["amount"] if is_back else 0
    return escrow, refunded
