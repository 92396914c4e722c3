"""Audit of what should have happened: settlements in time, entries of paid payouts."""

from collections.abc import Sequence

from ledger.core.accounts import LIST_SHARDS
from ledger.core.facts import paid_entry_key
from ledger.core.order_funds import PENDING_SETTLEMENT, FundsState, funds_key
from ledger.dynamodb.pages import iterate_pages
from ledger.dynamodb.table import Item, Query
from ledger.records.payouts import PayoutState, payout_queue_pk
from ledger.reporting.audit_state import AuditSpan, AuditState, BreakPages
from ledger.reporting.checks import LedgerBreak

# Source: docs/promises.md: a delivered order is settled within 60 s even after a kill.
SETTLEMENT_DUE_MS = 60_000


async def check_overdue(state: AuditState, span: AuditSpan) -> BreakPages:
    """Deliveries that are not settled in time, and paid payouts without an entry.

    DynamoDB: Query of GSI2, BatchGetItem.
    """
    for shard in range(LIST_SHARDS):
        query = Query(pk=f"{PENDING_SETTLEMENT}#{shard}", index="GSI2")
        async for page in iterate_pages(state.table, query):
            yield await _late_settlements(state, page)
        pk = payout_queue_pk(PayoutState.PAID, shard)
        async for page in iterate_pages(state.table, Query(pk=pk, index="GSI2")):
            paid = [item for item in page if span.contains(item["updatedAt"])]
            yield await _paid_without_entry(state, paid)


async def _late_settlements(state: AuditState, page: Sequence[Item]) -> list[LedgerBreak]:
    late = [i for i in page if i["deliveredAt"] < state.now_ms() - SETTLEMENT_DUE_MS]
    items = await state.table.get_many([funds_key(item["orderId"]) for item in late])
    return [
        LedgerBreak("settled_in_time", item["PK"], "is delivered and not settled")
        for item in items
        if item and item["fundsState"] == FundsState.DELIVERED
    ]


async def _paid_without_entry(state: AuditState, page: Sequence[Item]) -> list[LedgerBreak]:
    keys = [paid_entry_key(item["payoutId"]) for item in page]
    entries = await state.table.get_many(keys)
    return [
        LedgerBreak("payout_state", item["PK"], "is PAID and has no entry")
        for item, entry in zip(page, entries, strict=True)
        if entry is None
    ]
