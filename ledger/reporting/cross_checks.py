"""Audit of entries against wallets, orders and account shards."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from ledger.core.accounts import LINE_PREFIX, LIST_SHARDS, balance_key, line_key, listing_key
from ledger.core.entries import DAY_MS
from ledger.core.order_funds import OPEN_ESCROW
from ledger.dynamodb.pages import iterate_pages
from ledger.dynamodb.table import Item, Key, Query
from ledger.records.wallets import Balance
from ledger.reporting.audit_state import AuditSpan, AuditState, BreakPages
from ledger.reporting.checks import LedgerBreak, entry_name
from ledger.reporting.journal_checks import entry_pages
from ledger.reporting.order_reconciliation import CONFIRM_PAUSE_S, CONFIRMATIONS, reconcile_order


async def cross_check(state: AuditState, span: AuditSpan) -> BreakPages:
    """Breaks between what the two stages before have summed up.

    DynamoDB: Query and BatchGetItem of the accounts whose multiset hashes differ, and of orders.
    """
    mismatched = set(state.legs_hash.mismatched_accounts())
    for account in sorted(mismatched):
        async for found in _lines_without_legs(state, account, span):
            yield found
    if mismatched:
        async for page in entry_pages(state, span):
            yield await _legs_without_lines(state, page, mismatched)
    orders = state.escrow_sums.keys() | state.refunded_orders
    # Only an audit from the beginning knows all legs of an order or a shard.
    if not span.from_ms:
        orders |= await _orders_with_escrow(state)
        yield await _shard_breaks(state, span)
    for account in sorted(orders):
        yield await reconcile_order(state.table, account)


async def _orders_with_escrow(state: AuditState) -> set[str]:
    """Accounts of the orders that are listed as holding escrow."""
    found: set[str] = set()
    for shard in range(LIST_SHARDS):
        query = Query(pk=f"{OPEN_ESCROW}#{shard}", index="GSI2")
        async for page in iterate_pages(state.table, query):
            found.update(item["PK"] for item in page)
    return found


async def _lines_without_legs(state: AuditState, account: str, span: AuditSpan) -> BreakPages:
    if await state.table.get(listing_key(account)) is None:
        yield [LedgerBreak("account_is_listed", account, "is not in the list of accounts")]
    query = Query(pk=balance_key(account).pk, prefix=LINE_PREFIX)
    async for page in iterate_pages(state.table, query):
        lines = [line for line in page if span.contains(line["createdAt"])]
        keys = [Key(*line["entry"].rsplit("/", 1)) for line in lines]
        entries = await state.table.get_many(keys)
        yield [
            LedgerBreak(
                "entry_has_its_lines",
                f"{account} line {line['seq']}",
                f"{line['amount']:+d} is not in {line['entry']}",
            )
            for line, entry in zip(lines, entries, strict=True)
            if entry is None or not _has_leg(entry, account, line)
        ]


async def _legs_without_lines(
    state: AuditState, page: Sequence[Item], mismatched: set[str]
) -> list[LedgerBreak]:
    legs = [
        (item, leg)
        for item in page
        for leg in item["legs"]
        if leg["account"] in mismatched and "seq" in leg
    ]
    keys = [line_key(leg["account"], leg["seq"]) for _, leg in legs]
    lines = await state.table.get_many(keys)
    return [
        LedgerBreak(
            "entry_has_its_lines",
            entry_name(item),
            f"{leg['account']} {leg['amount']:+d} is not line {leg['seq']}",
        )
        for (item, leg), line in zip(legs, lines, strict=True)
        if line is None or not _has_leg(item, leg["account"], line)
    ]


async def _shard_breaks(state: AuditState, span: AuditSpan) -> list[LedgerBreak]:
    """Account shards whose balance is not the sum of their legs, confirmed by several reads."""
    suspects = dict(state.shard_sums)
    found: dict[str, LedgerBreak] = {}
    for _ in range(CONFIRMATIONS):
        before = {account: await state.read_balance(account) for account in suspects}
        later = await _posted_after(state, span)
        found = {}
        for account, total in sorted(suspects.items()):
            legs = total + later[account]
            # A shard that changes meanwhile is left to the next audit.
            if before[account].posted == legs or await _has_changed(state, before[account]):
                continue
            detail = f"has {before[account].posted}, its entries {legs}"
            found[account] = LedgerBreak("account_shards", account, detail)
        suspects = {account: suspects[account] for account in found}
        if not suspects:
            return []
        await asyncio.sleep(CONFIRM_PAUSE_S)
    return list(found.values())


async def _has_changed(state: AuditState, before: Balance) -> bool:
    return (await state.read_balance(before.account)).v != before.v


async def _posted_after(state: AuditState, span: AuditSpan) -> dict[str, int]:
    """Sum of the legs after the span, by account. Units: whole XAF."""
    later = AuditSpan(span.to_ms + 1, state.now_ms() + DAY_MS)
    totals: dict[str, int] = defaultdict(int)
    async for page in entry_pages(state, later):
        for item in page:
            for leg in item["legs"]:
                totals[leg["account"]] += leg["amount"]
    return totals


def _has_leg(entry: Item, account: str, line: Item) -> bool:
    expected = (entry_name(entry), line["seq"], line["amount"], line["balanceAfter"])
    return any(
        leg["account"] == account
        and (line["entry"], leg.get("seq"), leg["amount"], leg["after"]) == expected
        for leg in entry["legs"]
        if "seq" in leg
    )
