"""One order's entries, all of them, against what its money says."""

import asyncio

from ledger.core.order_funds import fin_key
from ledger.dynamodb.pages import PAGE, pages_of
from ledger.dynamodb.table import Query, Table
from ledger.reporting.checks import Break

# How often a suspicion is looked into before it is believed, and how long apart.
LOOKS = 5
PAUSE_S = 0.5


async def order_against_entries(table: Table, account: str) -> list[Break]:
    """The break of an order whose entries and money differ, in every one of several looks.

    DynamoDB: Query of the order, GetItem.
    """
    found: list[Break] = []
    for _ in range(LOOKS):
        escrow, refunded = await _sums_of(table, account)
        fin = await table.get(fin_key(account.partition("#")[2])) or {}
        said = (fin.get("escrow", 0), fin.get("refunded", 0))
        if said == (escrow, refunded):
            return []
        rule = "refunds" if said[0] == escrow else "escrow"
        what = f"says {said[0]} in escrow, {said[1]} back; its entries {escrow}, {refunded}"
        found = [Break(rule, account, what)]
        await asyncio.sleep(PAUSE_S)
    return found


async def _sums_of(table: Table, account: str) -> tuple[int, int]:
    """What an order's entries say of its escrow, and of what went back after it was settled."""
    escrow = refunded = 0
    async for page in pages_of(table, Query(pk=account, prefix="JE#", limit=PAGE)):
        for item in page:
            is_refund = item["SK"].startswith("JE#REFUND#")
            for leg in item["legs"]:
                escrow += leg["amount"] if leg["account"] == account else 0
                is_back = is_refund and leg["account"].startswith("USER#")
                refunded += leg["amount"] if is_back else 0
    return escrow, refunded
