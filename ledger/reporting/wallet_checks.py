"""Audit of wallets: balances against their lines, and held amounts against open holds."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

from ledger.core.accounts import (
    LINE_PREFIX,
    LIST_SHARDS,
    AccountKind,
    accounts_pk,
    balance_key,
    kind_of,
    rider_cash,
)
from ledger.core.entries import DAY_MS
from ledger.dynamodb.pages import iterate_pages
from ledger.dynamodb.table import Item, Query, Table
from ledger.records.cash_holds import OPEN_HOLDS
from ledger.records.payouts import OPEN_STATES, payout_queue_pk, read_payout
from ledger.records.wallets import Balance
from ledger.reporting.audit_state import AuditSpan, AuditState, BreakPages
from ledger.reporting.checks import LedgerBreak, WalletChain, balance_breaks
from ledger.reporting.order_reconciliation import CONFIRM_PAUSE_S, CONFIRMATIONS

# Accounts checked concurrently.
ACCOUNTS_AT_ONCE = 16
# How long money may stay in suspense. Source: chosen.
SUSPENSE_MAX_MS = DAY_MS


async def check_wallets(state: AuditState, span: AuditSpan) -> BreakPages:
    """Breaks of every listed account, and of unlisted wallets that hold something.

    DynamoDB: Query of the account list, the open holds, and each wallet's lines.
    """
    held = await _sum_open_holds(state.table)
    async for accounts in _account_pages(state.table):
        state.account_count += len(accounts)
        for start in range(0, len(accounts), ACCOUNTS_AT_ONCE):
            some = accounts[start : start + ACCOUNTS_AT_ONCE]
            checks = [_check_account(state, each, held.pop(each, 0), span) for each in some]
            for found in await asyncio.gather(*checks):
                yield found
    # Wallets with holds and without any movement are not listed.
    for account, amount in held.items():
        yield await _check_account(state, account, amount, span)


async def _account_pages(table: Table) -> AsyncIterator[list[str]]:
    for shard in range(LIST_SHARDS):
        async for page in iterate_pages(table, Query(pk=accounts_pk(shard))):
            yield [item["SK"] for item in page]


async def _check_account(
    state: AuditState, account: str, held_total: int, span: AuditSpan
) -> list[LedgerBreak]:
    balance = await state.read_balance(account)
    kind = kind_of(account)
    found: list[LedgerBreak] = []
    is_old = balance.updated_at < span.to_ms - SUSPENSE_MAX_MS
    if kind is AccountKind.SUSPENSE and balance.posted and is_old:
        found.append(LedgerBreak("suspense_is_empty", account, f"has {balance.posted}"))
    if not kind.has_lines:
        return found
    found += await _check_lines(state, balance, span)
    if list(balance_breaks(balance, held_total)):
        found += await _confirm_balance_breaks(state, account)
    return found


async def _check_lines(state: AuditState, balance: Balance, span: AuditSpan) -> list[LedgerBreak]:
    chain, found = WalletChain(balance), list[LedgerBreak]()
    pk = balance_key(balance.account).pk
    query = Query(pk=pk, prefix=LINE_PREFIX, forward=False)
    async for page in iterate_pages(state.table, query):
        for line in page:
            # Lines newer than the balance that was read are left to the next audit.
            if line["seq"] > balance.seq and span.to_ms < line["createdAt"]:
                continue
            if line["createdAt"] < span.from_ms:
                return found
            found += chain.check_line(line)
            _note_line(state, balance.account, line, span)
        state.line_count += len(page)
        state.on_progress()
    found += chain.check_start()
    return found


def _note_line(state: AuditState, account: str, line: Item, span: AuditSpan) -> None:
    if span.contains(line["createdAt"]):
        fields = (line["entry"], line["seq"], line["amount"], line["balanceAfter"])
        state.legs_hash.add_found(account, *fields)


async def _sum_open_holds(table: Table) -> dict[str, int]:
    """Sum of open payouts and open cash holds, by account. Units: whole XAF."""
    held: dict[str, int] = defaultdict(int)
    for shard in range(LIST_SHARDS):
        for payout_state in OPEN_STATES:
            pk = payout_queue_pk(payout_state, shard)
            async for page in iterate_pages(table, Query(pk=pk, index="GSI2")):
                for item in page:
                    held[read_payout(item).account] += item["amount"]
        query = Query(pk=f"{OPEN_HOLDS}#{shard}", index="GSI2")
        async for page in iterate_pages(table, query):
            for item in page:
                held[rider_cash(item["riderId"])] += item["amount"]
    return held


async def _confirm_balance_breaks(state: AuditState, account: str) -> list[LedgerBreak]:
    """The breaks of a balance if several reads in a row show them and it does not change."""
    last: list[LedgerBreak] = []
    version: int | None = None
    for _ in range(CONFIRMATIONS):
        balance = await state.read_balance(account)
        held = await _sum_open_holds(state.table)
        found = list(balance_breaks(balance, held.get(account, 0)))
        if not found:
            return []
        if version is not None and version != balance.v:
            # It changes; the next audit will see it at rest.
            return []
        last, version = found, balance.v
        await asyncio.sleep(CONFIRM_PAUSE_S)
    return last
