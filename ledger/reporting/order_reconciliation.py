"""Reconciliation of an order: its entries against its funds."""

import asyncio

from ledger.core.order_funds import funds_key
from ledger.dynamodb.pages import iterate_pages
from ledger.dynamodb.table import Query, Table
from ledger.reporting.checks import LedgerBreak

# How often a suspected break is read before it is reported, and the pause between the reads.
CONFIRMATIONS = 5
CONFIRM_PAUSE_S = 0.5


async def reconcile_order(table: Table, account: str) -> list[LedgerBreak]:
    """The break of an order whose entries and funds differ in each of several reads.

    `account` is the order's escrow account. Units: whole XAF. Errors: TableUnavailable.

    DynamoDB: Query of the order, GetItem.
    """
    found: list[LedgerBreak] = []
    for _ in range(CONFIRMATIONS):
        escrow, refunded = await _sum_entries(table, account)
        funds = await table.get(funds_key(account.partition("#")[2])) or {}
        stored = (funds.get("escrow", 0), funds.get("refunded", 0))
        if stored == (escrow, refunded):
            return []
        rule = "refunds" if stored[0] == escrow else "escrow"
        has = f"has {stored[0]} in escrow, {stored[1]} refunded"
        detail = f"{has}; its entries {escrow}, {refunded}"
        found = [LedgerBreak(rule, account, detail)]
        await asyncio.sleep(CONFIRM_PAUSE_S)
    return found


async def _sum_entries(table: Table, account: str) -> tuple[int, int]:
    """Sums of an order's entries: its escrow, and what was refunded after the settlement."""
    escrow = refunded = 0
    async for page in iterate_pages(table, Query(pk=account, prefix="JE#")):
        for item in page:
            is_refund = item["SK"].startswith("JE#REFUND#")
            for leg in item["legs"]:
                escrow += leg["amount"] if leg["account"] == account else 0
                is_refunded = is_refund and leg["account"].startswith("USER#")
                refunded += leg["amount"] if is_refunded else 0
    return escrow, refunded
