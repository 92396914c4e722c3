"""The ledger's commit path: posts a fact as one transaction, once, or says why it was refused."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from concurrency.backoff import delay_s
from ledger.core import accounts
from ledger.core.accounts import balance_key
from ledger.core.entries import JournalEntry
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import (
    Fact,
    OrderFact,
    PartialRefund,
    PayoutPaidLate,
    Rejection,
    Settle,
    entry_key,
)
from ledger.core.order_entries import AvailableBalances
from ledger.core.order_funds import (
    PENDING_SETTLEMENT,
    FundsState,
    OrderFunds,
    PaymentMethod,
    funds_key,
    open_funds,
    read_funds,
)
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import (
    TRANSACTION_WRITES_MAX,
    Put,
    Query,
    Table,
    TableUnavailable,
    TransactionCancelled,
    Write,
)
from ledger.posting.balance_cache import BALANCES_CACHED_MAX, BalanceCache
from ledger.posting.commit import Committer, Plan
from ledger.posting.errors import LedgerRefused
from ledger.posting.group_commit import GroupCommit
from ledger.posting.locks import AccountShards, KeyedLocks
from ledger.posting.transaction import (
    PostedEntry,
    PostingBatch,
    PostingPart,
    compose_batch,
    wallet_legs,
)
from ledger.records.effects import build_effects
from ledger.records.payments import ProviderPayment, payment_key, read_payment
from ledger.records.wallets import ACTIVE, read_balance

# Orders read from each shard of the list of unsettled orders.
UNSETTLED_PAGE_ORDERS = 100


class PostingLimits(NamedTuple):
    """Bounds of the commit path. Units: seconds, balances."""

    # How long a fact is planned again because balances changed; within one process the locks make
    # one attempt enough. Source: as long as a call to the table is retried.
    deadline_s: float = 5.0
    balances_cached_max: int = BALANCES_CACHED_MAX


DEFAULT_LIMITS = PostingLimits()


class _Request(NamedTuple):
    fact: Fact
    guards: Sequence[Write]
    expected_funds: OrderFunds | None


class Ledger:
    """Posts facts to the ledger in one table."""

    def __init__(
        self,
        table: Table,
        now_ms: Callable[[], int],
        shards: int = 8,
        first_shard: int = 0,
        limits: PostingLimits = DEFAULT_LIMITS,
    ) -> None:
        self._table = table
        self._now_ms = now_ms
        self._limits = limits
        self._shards = AccountShards(shards, first_shard)
        self._locks = KeyedLocks()
        self._balances = BalanceCache(table, limits.balances_cached_max)
        self._committer = Committer(table, now_ms, self._balances, self._locks)
        self._group_commit = GroupCommit(self._post_one, self._post_batch)

    async def post(
        self, fact: Fact, guards: Sequence[Write] = (), expected_funds: OrderFunds | None = None
    ) -> PostedEntry:
        """Post a fact, once, in one transaction with the caller's own writes (`guards`).

        A repetition gets the first answer, and its guards are ignored, since those of the first
        call were applied. A cancelled caller does not stop the transaction. `expected_funds` are
        the order's funds as the caller knows them: they spare a read if they are current and cost
        an attempt if not. Concurrent settlements of one vendor with expected funds are posted in
        one transaction.

        Units: whole XAF.

        Errors: LedgerRefused; GuardFailed; TableUnavailable where the outcome is unknown, which
        the same call repeated finds out.

        DynamoDB: one TransactWriteItems; before it GetItem of FUNDS for an order's fact without
        expected funds, and BatchGetItem of the balances that are not cached.
        """
        request = _Request(fact, guards, expected_funds)
        vendor_id = expected_funds.vendor_id if expected_funds is not None else None
        if isinstance(fact, Settle) and vendor_id is not None:
            return await self._group_commit.submit(accounts.vendor(vendor_id), request)
        return await self._post_one(request)

    async def get_funds(self, order_id: str) -> OrderFunds | None:
        """Funds of an order, read consistently. Units: whole XAF. DynamoDB: GetItem."""
        item = await self._table.get(funds_key(order_id))
        return None if item is None else read_funds(item)

    def open_cash_funds(
        self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing
    ) -> Put:
        """The write that creates the funds of an order to be paid in cash. Units: whole XAF."""
        return self._open_funds(order_id, user_id, vendor_id, pricing, is_cash=True)

    def open_pending_funds(
        self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing
    ) -> Put:
        """The write that creates the funds of an order to be paid by mobile money.

        Units: whole XAF.
        """
        return self._open_funds(order_id, user_id, vendor_id, pricing, is_cash=False)

    async def match_payment(self, provider: str, payment_id: str, amount: int) -> ProviderPayment:
        """The requested payment that a provider reports. Units: whole XAF.

        Errors: LedgerRefused with `not_found`, or with `conflict` for another amount.

        DynamoDB: GetItem.
        """
        item = await self._table.get(payment_key(provider, payment_id))
        if item is None:
            raise LedgerRefused("not_found", "no such payment was requested")
        payment = read_payment(item)
        if payment.amount != amount:
            raise LedgerRefused("conflict", "the payment is not the one that was requested")
        return payment

    async def list_unsettled(self, shard: int, now_ms: int, older_than_ms: int) -> list[str]:
        """Ids of a shard's orders that have waited so long for settlement, the oldest first.

        Units: Unix milliseconds, milliseconds.

        DynamoDB: Query of GSI2, one page; the index may lag, so only `post` may act on it.
        """
        query = Query(pk=f"{PENDING_SETTLEMENT}#{shard}", index="GSI2", limit=UNSETTLED_PAGE_ORDERS)
        waiting = (await self._table.query(query)).items
        late = [item for item in waiting if item["deliveredAt"] <= now_ms - older_than_ms]
        return [item["orderId"] for item in late]

    def _open_funds(
        self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing, *, is_cash: bool
    ) -> Put:
        funds = OrderFunds(
            order_id=order_id,
            funds_state=FundsState.DUE if is_cash else FundsState.NONE,
            method=PaymentMethod.CASH if is_cash else PaymentMethod.MOBILE_MONEY,
            user_id=user_id,
            vendor_id=vendor_id,
            pricing=pricing,
            escrow=0,
        )
        return open_funds(funds, self._now_ms())

    async def _post_one(self, request: _Request) -> PostedEntry:
        fact, guards, expected_funds = request
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._limits.deadline_s
        failures = 0
        with self._shards.borrow() as shard:
            async with self._locks.hold([entry_key(fact).pk]):
                while not failures or loop.time() < until_s:
                    plan = await self._plan_fact(fact, expected_funds, shard)
                    expected_funds = None
                    if isinstance(plan, Rejection):
                        return await self._find_posted_or_refuse(fact, plan)
                    posted = await self._committer.commit(plan, guards)
                    if posted is not None:
                        return posted
                    failures += 1
                    await self._back_off(failures, plan.entry)
        raise TableUnavailable(f"{entry_key(fact)}: the state changed during {failures} attempts")

    async def _post_batch(self, requests: Sequence[_Request]) -> list[PostedEntry] | None:
        """Post several settlements in one transaction; None where each must be posted alone.

        DynamoDB: one TransactWriteItems, with one update of each balance.
        """
        keys = [entry_key(request.fact).pk for request in requests]
        if len(set(keys)) < len(keys):
            return None
        with self._shards.borrow() as shard:
            async with self._locks.hold(keys):
                parts = self._plan_batch(requests, shard)
                if parts is None:
                    return None
                names = sorted({leg.account for part in parts for leg in wallet_legs(part.entry)})
                async with self._locks.hold(names):
                    return await self._commit_batch(parts, names)

    def _plan_batch(self, requests: Sequence[_Request], shard: int) -> list[PostingPart] | None:
        parts: list[PostingPart] = []
        for fact, guards, funds in requests:
            entry = plan_entry(fact, funds, shard)
            if isinstance(entry, Rejection):
                return None
            parts.append(PostingPart(entry, build_effects(fact, funds, self._now_ms()), guards))
        return parts

    async def _commit_batch(
        self, parts: Sequence[PostingPart], account_names: Sequence[str]
    ) -> list[PostedEntry] | None:
        balances = await self._balances.read(account_names)
        batch = compose_batch(parts, balances, self._now_ms())
        if len(batch.writes) > TRANSACTION_WRITES_MAX:
            return None
        try:
            await self._table.transact(batch.writes)
        except (TransactionCancelled, TableUnavailable):
            # Posted alone, each finds out what failed or whether it was posted.
            self._balances.forget(account_names)
            return None
        return self._store_batch(batch)

    def _store_batch(self, batch: PostingBatch) -> list[PostedEntry]:
        for balance in batch.balances:
            self._balances.store(balance)
        return list(batch.posted)

    async def _back_off(self, failures: int, entry: JournalEntry) -> None:
        # The cancelled transaction returned the current balance; a second failure means contention.
        if failures == 1:
            return
        await asyncio.sleep(delay_s(failures))
        self._balances.forget(leg.account for leg in entry.legs)

    async def _plan_fact(
        self, fact: Fact, expected_funds: OrderFunds | None, shard: int
    ) -> Plan | Rejection:
        if expected_funds is not None:
            entry = plan_entry(fact, expected_funds, shard)
            # Expected funds never cause a refusal: they may be stale.
            if not isinstance(entry, Rejection):
                return Plan(fact, expected_funds, entry)
        funds = await self.get_funds(fact.order_id) if isinstance(fact, OrderFact) else None
        available: AvailableBalances = {}
        if isinstance(fact, PartialRefund) and funds is not None:
            available = await self._read_available(_bearers(funds))
        elif isinstance(fact, PayoutPaidLate):
            available = await self._read_available([accounts.owner(fact.owner_type, fact.owner_id)])
        entry = plan_entry(fact, funds, shard, available)
        return entry if isinstance(entry, Rejection) else Plan(fact, funds, entry)

    async def _read_available(self, wallets: Sequence[str]) -> AvailableBalances:
        """What these wallets could pay now. DynamoDB: BatchGetItem."""
        items = await self._table.get_many([balance_key(account) for account in wallets])
        found = [read_balance(a, item) for a, item in zip(wallets, items, strict=True)]
        return {each.account: each.available for each in found if each.status == ACTIVE}

    async def _find_posted_or_refuse(self, fact: Fact, rejection: Rejection) -> PostedEntry:
        posted = await self._committer.find_posted(fact)
        if posted is None:
            raise LedgerRefused(rejection.code, rejection.message)
        return posted


def _bearers(funds: OrderFunds) -> list[str]:
    """The wallets of an order's vendor and rider, who bear its refunds."""
    vendors = [accounts.vendor(funds.vendor_id)] if funds.vendor_id else []
    riders = [accounts.rider(funds.rider_id)] if funds.rider_id else []
    return vendors + riders
