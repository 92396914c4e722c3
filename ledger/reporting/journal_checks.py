"""Audit of journal entries: each entry by itself, and against its order's funds or its payout."""

from collections.abc import AsyncIterator, Iterator, Sequence

from ledger.core.accounts import LIST_SHARDS, AccountKind, accounts_pk, kind_of
from ledger.core.entries import DAY_MS, business_day, journal_pk
from ledger.core.order_funds import funds_key, read_funds
from ledger.dynamodb.pages import iterate_pages
from ledger.dynamodb.table import Item, Query
from ledger.records.payouts import PayoutState, payout_key
from ledger.reporting.audit_state import AuditSpan, AuditState, BreakPages
from ledger.reporting.checks import (
    LedgerBreak,
    entry_breaks,
    entry_name,
    order_breaks,
    settlement_breaks,
)


async def check_journal(state: AuditState, span: AuditSpan) -> BreakPages:
    """Breaks of every entry of the span.

    DynamoDB: Query of each day's entries, BatchGetItem of funds, GetItem of payouts.
    """
    async for page in entry_pages(state, span):
        yield await _check_entries(state, page)


async def entry_pages(state: AuditState, span: AuditSpan) -> AsyncIterator[list[Item]]:
    """All entries of the span, page by page. DynamoDB: Query of GSI3, by day and shard."""
    first_ms = span.from_ms or await _first_movement_ms(state)
    for at_ms in range(first_ms - first_ms % DAY_MS - DAY_MS, span.to_ms + DAY_MS, DAY_MS):
        day = business_day(at_ms)
        if not business_day(first_ms) <= day <= business_day(span.to_ms):
            continue
        for shard in range(LIST_SHARDS):
            query = Query(pk=journal_pk(day, shard), index="GSI3")
            async for page in iterate_pages(state.table, query):
                yield [item for item in page if span.contains(item["recordedAt"])]


async def _first_movement_ms(state: AuditState) -> int:
    """Time of the first movement of any account. Units: Unix milliseconds."""
    first_ms = state.now_ms()
    for shard in range(LIST_SHARDS):
        query = Query(pk=accounts_pk(shard))
        async for page in iterate_pages(state.table, query):
            first_ms = min([first_ms, *(item["createdAt"] for item in page)])
    return first_ms


async def _check_entries(state: AuditState, page: Sequence[Item]) -> list[LedgerBreak]:
    state.entry_count += len(page)
    found: list[LedgerBreak] = []
    for item in page:
        found += entry_breaks(item)
        found += _note_entry(state, item)
    of_orders = [item for item in page if item["PK"].startswith("ORDER#")]
    keys = [funds_key(item["PK"].removeprefix("ORDER#")) for item in of_orders]
    for item, stored in zip(of_orders, await state.table.get_many(keys), strict=True):
        funds = None if stored is None else read_funds(stored)
        found += settlement_breaks(item, funds)
        found += order_breaks(funds) if funds else ()
    for item in page:
        if item["PK"].startswith("PAYOUT#"):
            found += await _check_payout(state, item)
    state.on_progress()
    return found


def _note_entry(state: AuditState, item: Item) -> Iterator[LedgerBreak]:
    name = entry_name(item)
    if item["SK"].startswith("JE#REFUND#"):
        state.refunded_orders.add(item["PK"])
    for leg in item["legs"]:
        account = leg["account"]
        kind = kind_of(account)
        if kind is AccountKind.ORDER:
            state.escrow_sums[account] += leg["amount"]
            # Settled orders are dropped, so that memory holds open ones only.
            if not state.escrow_sums[account]:
                del state.escrow_sums[account]
        elif not kind.has_lines:
            state.shard_sums[account] += leg["amount"]
        elif "seq" not in leg:
            yield LedgerBreak("entry_has_its_lines", name, f"{account} has no line")
        else:
            state.legs_hash.add_expected(account, name, leg["seq"], leg["amount"], leg["after"])


async def _check_payout(state: AuditState, item: Item) -> list[LedgerBreak]:
    payout = await state.table.get(payout_key(item["PK"].removeprefix("PAYOUT#")))
    payout_state = payout["payoutState"] if payout else "missing"
    allowed = {
        "JE#PAID": (PayoutState.PAID, PayoutState.RETURNED),
        "JE#RETURNED": (PayoutState.RETURNED,),
    }.get(item["SK"], tuple(PayoutState))
    # A netting is posted before its payout is requested, which may be refused.
    if payout_state in allowed or item["SK"] == "JE#NET":
        return []
    return [LedgerBreak("payout_state", entry_name(item), f"the payout is {payout_state}")]
