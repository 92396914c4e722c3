"""One attempt to commit a planned entry, and what a failed or unanswered transaction means."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ledger.core.entries import JournalEntry, Leg, hash_fact
from ledger.core.facts import Fact, PartialRefund, PayoutPaidLate, Rejection, entry_key
from ledger.core.order_funds import OrderFunds
from ledger.dynamodb.table import Item, Table, TableUnavailable, TransactionCancelled, Write
from ledger.posting.balance_cache import BalanceCache
from ledger.posting.errors import GuardFailed, LedgerRefused
from ledger.posting.locks import KeyedLocks
from ledger.posting.transaction import (
    PostedEntry,
    PostingPart,
    TransactionDraft,
    compose,
    read_posted,
    wallet_legs,
)
from ledger.records.balance_writes import explain_rejected_balance
from ledger.records.effects import build_effects
from ledger.records.wallets import read_balance


class Plan(NamedTuple):
    """A fact with the entry that was planned for it, and the order's funds it was planned with."""

    fact: Fact
    funds: OrderFunds | None
    entry: JournalEntry


class Committer:
    """Commits entries one by one.

    After a cancelled transaction the causes are checked in this order: the entry exists already, a
    guard failed, the order's funds or a balance forbid it, or they only changed.
    """

    def __init__(
        self,
        table: Table,
        now_ms: Callable[[], int],
        balances: BalanceCache,
        locks: KeyedLocks,
    ) -> None:
        self._table = table
        self._now_ms = now_ms
        self._balances = balances
        self._locks = locks

    async def commit(self, plan: Plan, guards: Sequence[Write]) -> PostedEntry | None:
        """Commit a planned entry, or find out that it was posted before.

        None where the state that was planned with has changed. Units: whole XAF.

        Errors: LedgerRefused; GuardFailed; TableUnavailable where the outcome is unknown.

        DynamoDB: TransactWriteItems; GetItem of the entry where it failed.
        """
        async with self._locks.hold(leg.account for leg in wallet_legs(plan.entry)):
            draft = await self._compose_draft(plan, guards)
            try:
                await self._table.transact(draft.writes)
            except TransactionCancelled as cancelled:
                return await self._explain_cancelled(plan.fact, draft, cancelled)
            except TableUnavailable:
                return await self._resolve_unknown(plan.fact, draft)
            for balance in draft.balances:
                self._balances.store(balance)
            return draft.entry_posted

    async def _compose_draft(self, plan: Plan, guards: Sequence[Write]) -> TransactionDraft:
        now_ms = self._now_ms()
        balances = await self._balances.read([leg.account for leg in wallet_legs(plan.entry)])
        effects = build_effects(plan.fact, plan.funds, now_ms)
        return compose(PostingPart(plan.entry, effects, guards), balances, now_ms)

    async def _explain_cancelled(
        self, fact: Fact, draft: TransactionDraft, error: TransactionCancelled
    ) -> PostedEntry | None:
        # Always look for the entry: DynamoDB need not report every failed condition.
        posted = await self.find_posted(fact)
        if posted is not None:
            return posted
        failed = [(draft.roles[i], error.reasons[i].item) for i in error.failed_positions()]
        for role, item in failed:
            if role.kind == "guard":
                raise GuardFailed(role.position, item)
        for role, item in failed:
            if role.kind == "effect":
                _raise_if_rejected(draft.effects[role.position].explain(item))
        for role, _ in failed:
            if role.kind == "line":
                self._balances.forget([draft.legs[role.position].account])
        for role, item in failed:
            if role.kind == "balance":
                self._check_balance(fact, draft.legs[role.position], item)
        return None

    def _check_balance(self, fact: Fact, leg: Leg, item: Item | None) -> None:
        self._balances.store(read_balance(leg.account, item))
        # These take less where less is available: they are planned again.
        if not isinstance(fact, PartialRefund | PayoutPaidLate):
            _raise_if_rejected(explain_rejected_balance(leg, item))

    async def _resolve_unknown(self, fact: Fact, draft: TransactionDraft) -> PostedEntry:
        self._balances.forget(balance.account for balance in draft.balances)
        posted = await self.find_posted(fact)
        if posted is None:
            raise TableUnavailable(f"{draft.entry.entry_id}: the outcome is unknown")
        return posted

    async def find_posted(self, fact: Fact) -> PostedEntry | None:
        """The answer of a fact that was posted before. Errors: LedgerRefused for another fact."""
        item = await self._table.get(entry_key(fact))
        if item is None:
            return None
        if item["factHash"] != hash_fact(fact):
            raise LedgerRefused("conflict", f"{item['PK']}/{item['SK']} is of another fact")
        return read_posted(item, replayed=True)


def _raise_if_rejected(rejection: Rejection | None) -> None:
    if rejection is not None:
        raise LedgerRefused(rejection.code, rejection.message)
