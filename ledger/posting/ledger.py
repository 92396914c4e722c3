"""The one commit path: a fact becomes an entry in one transaction, once, or says why not.

What DynamoDB answers is weighed in this order: the entry is there already, a guard failed, the
order's money or a balance forbids it, or they only moved on and the fact is planned again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from concurrency.backoff import delay_s
from ledger.core import accounts
from ledger.core.accounts import balance_key
from ledger.core.entries import JournalEntry, Leg, hash_fact
from ledger.core.facts import (
    Fact,
    OrderFact,
    PartialRefund,
    Rejection,
    RejectionCode,
    Settle,
    entry_key,
)
from ledger.core.order_funds import (
    PENDING_SETTLEMENT,
    FundingMethod,
    FundsState,
    OrderFunds,
    funds_key,
    open_funds,
    read_funds,
)
from ledger.core.entry_planning import AvailableBalances, plan_entry
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import (
    Item,
    Put,
    Query,
    Table,
    TableUnavailable,
    TransactionCancelled,
    Write,
)
from ledger.posting.group_commit import GroupCommit
from ledger.posting.locks import AccountShards, KeyedLocks
from ledger.posting.transaction import (
    PostedEntry,
    PostingPart,
    TransactionDraft,
    compose,
    compose_batch,
    read_posted,
    wallet_legs,
)
from ledger.records.effects import build_effects
from ledger.records.payments import ProviderPayment, payment_key, read_payment
from ledger.records.wallets import ACTIVE, Balance, explain_rejected_balance, read_balance

# How long a fact is planned again because balances moved on; the locks make one try enough where a
# single process writes to a wallet. Source: as long as a call to the table is repeated.
DEADLINE_S = 5.0
# Writes of one transaction. Source: API limit of TransactWriteItems.
WRITES_MAX = 100
# Balances remembered; the oldest is forgotten first, which costs a read.
BALANCES_CACHED_MAX = 10_000
# Orders read from each shard of those that wait to be settled.
UNSETTLED_PAGE_ORDERS = 100


class LedgerRefused(Exception):
    """The fact cannot be posted as things stand; nothing was written."""

    def __init__(self, code: RejectionCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class GuardFailed(Exception):
    """A write of the caller's stood in the way; nothing was written. `item` is what was there."""

    def __init__(self, position: int, item: Item | None) -> None:
        super().__init__(position)
        self.position = position
        self.item = item


class _Request(NamedTuple):
    fact: Fact
    guards: Sequence[Write]
    expected_funds: OrderFunds | None


class Ledger:
    """The books of one table."""

    def __init__(
        self, table: Table, now_ms: Callable[[], int], shards: int = 8, first_shard: int = 0
    ) -> None:
        self._table = table
        self._now_ms = now_ms
        self._shards = AccountShards(shards, first_shard)
        self._locks = KeyedLocks()
        self._cached_balances: OrderedDict[str, Balance] = OrderedDict()
        self._group_commit = GroupCommit(self._post_one, self._post_batch)

    async def post(
        self, fact: Fact, guards: Sequence[Write] = (), expected_funds: OrderFunds | None = None
    ) -> PostedEntry:
        """Post a fact together with the caller's own writes, once and for ever.

        A repetition gets the first answer; its guards are not looked at, for the first writer's
        were applied. A cancelled caller does not stop the transaction. `believed` is the order's
        money as the caller knows it; it spares a read where it is true and costs a try where not.
        Settlements of one vendor that come at once, with what is believed, go together.

        Errors: LedgerRefused; GuardFailed; TableUnavailable, when the fact may or may not stand
        and the same call will tell.

        DynamoDB: one TransactWriteItems; before it one read of FUNDS for a fact about an order that
        believes nothing, and one batch for balances that are not remembered.
        """
        request = _Request(fact, guards, expected_funds)
        if (
            isinstance(fact, Settle)
            and expected_funds is not None
            and expected_funds.vendor_id is not None
        ):
            return await self._group_commit.submit(
                accounts.vendor(expected_funds.vendor_id), request
            )
        return await self._post_one(request)

    async def _post_one(self, request: _Request) -> PostedEntry:
        fact, guards, believed = request
        loop = asyncio.get_running_loop()
        until_s = loop.time() + DEADLINE_S
        failures = 0
        with self._shards.borrow() as lane:
            async with self._locks.hold([entry_key(fact).pk]):
                while not failures or loop.time() < until_s:
                    fin, entry = await self._plan_fact(fact, believed, lane)
                    believed = None
                    posted = await self._try_commit(fact, fin, entry, guards)
                    if posted is not None:
                        return posted
                    failures += 1
                    await self._back_off(failures, entry)
        raise TableUnavailable(f"{entry_key(fact)} was overtaken {failures} times")

    async def _post_batch(self, requests: Sequence[_Request]) -> list[PostedEntry] | None:
        """Post several settlements in one transaction; None where each must go by itself.

        DynamoDB: one TransactWriteItems, with one update of each balance.
        """
        keys = [entry_key(request.fact).pk for request in requests]
        if len(set(keys)) < len(keys):
            return None
        with self._shards.borrow() as lane:
            async with self._locks.hold(keys):
                parts = self._plan_batch(requests, lane)
                legs = [leg for part in parts or () for leg in wallet_legs(part.entry)]
                if parts is None:
                    return None
                async with self._locks.hold(leg.account for leg in legs):
                    return await self._commit_batch(parts, sorted({leg.account for leg in legs}))

    def _plan_batch(self, requests: Sequence[_Request], shard: int) -> list[PostingPart] | None:
        parts: list[PostingPart] = []
        for fact, guards, fin in requests:
            entry = plan_entry(fact, fin, shard)
            if isinstance(entry, Rejection):
                return None
            parts.append(PostingPart(entry, build_effects(fact, fin, self._now_ms()), guards))
        return parts

    async def _commit_batch(
        self, parts: Sequence[PostingPart], accounts_: Sequence[str]
    ) -> list[PostedEntry] | None:
        balances = await self._read_balances(accounts_)
        bundle = compose_batch(parts, balances, self._now_ms())
        if len(bundle.writes) > WRITES_MAX:
            return None
        try:
            await self._table.transact(bundle.writes)
        except (TransactionCancelled, TableUnavailable):
            # Each by itself finds out what stood in the way, or whether it stands already.
            for account in accounts_:
                self._cached_balances.pop(account, None)
            return None
        for balance in bundle.balances:
            self._cache_balance(balance)
        return list(bundle.posted)

    async def get_funds(self, order_id: str) -> OrderFunds | None:
        """An order's money as it stands. DynamoDB: GetItem."""
        item = await self._table.get(funds_key(order_id))
        return None if item is None else read_funds(item)

    def open_cash_funds(
        self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing
    ) -> Put:
        """The write that opens a cash order's money at placement."""
        return self._open_funds(order_id, user_id, vendor_id, pricing, is_cash=True)

    def open_pending_funds(
        self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing
    ) -> Put:
        """The write that opens the money of an order to be paid by mobile money."""
        return self._open_funds(order_id, user_id, vendor_id, pricing, is_cash=False)

    async def match_payment(self, provider: str, payment_id: str, amount: int) -> ProviderPayment:
        """The payment that a provider reports, if it is what was asked for.

        Errors: LedgerRefused `not_found`, or `conflict` where the amount is another.
        """
        item = await self._table.get(payment_key(provider, payment_id))
        if item is None:
            raise LedgerRefused("not_found", "no such payment was asked for")
        payment = read_payment(item)
        if payment.amount != amount:
            raise LedgerRefused("conflict", "the payment is not what was asked for")
        return payment

    async def list_unsettled(self, shard: int, now_ms: int, older_than_ms: int) -> list[str]:
        """Delivered orders of a shard whose money still waits after that time, the oldest first.

        DynamoDB: Query of GSI2, one page; act on it only by `post`, the index may lag.
        """
        query = Query(pk=f"{PENDING_SETTLEMENT}#{shard}", index="GSI2", limit=UNSETTLED_PAGE_ORDERS)
        waiting = (await self._table.query(query)).items
        late = [item for item in waiting if item["deliveredAt"] <= now_ms - older_than_ms]
        return [item["orderId"] for item in late]

    def _open_funds(
        self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing, *, is_cash: bool
    ) -> Put:
        fin = OrderFunds(
            order_id=order_id,
            funds_state=FundsState.DUE if is_cash else FundsState.NONE,
            method=FundingMethod.CASH if is_cash else FundingMethod.MOBILE_MONEY,
            user_id=user_id,
            vendor_id=vendor_id,
            pricing=pricing,
            escrow=0,
        )
        return open_funds(fin, self._now_ms())

    async def _back_off(self, failures: int, entry: JournalEntry | Rejection) -> None:
        # The refusal itself brought the balance as it stands; only who fails again has rivals.
        if failures == 1 or isinstance(entry, Rejection):
            return
        await asyncio.sleep(delay_s(failures))
        for leg in entry.legs:
            self._cached_balances.pop(leg.account, None)

    async def _plan_fact(
        self, fact: Fact, expected_funds: OrderFunds | None, shard: int
    ) -> tuple[OrderFunds | None, JournalEntry | Rejection]:
        if expected_funds is not None:
            entry = plan_entry(fact, expected_funds, shard)
            # A refusal is never founded on a belief.
            if not isinstance(entry, Rejection):
                return expected_funds, entry
        fin = await self.get_funds(fact.order_id) if isinstance(fact, OrderFact) else None
        means = await self._read_available(fin) if isinstance(fact, PartialRefund) and fin else {}
        return fin, plan_entry(fact, fin, shard, means)

    async def _read_available(self, funds: OrderFunds) -> AvailableBalances:
        """What those who share in an order could give back now. DynamoDB: BatchGetItem."""
        parties = [accounts.vendor(funds.vendor_id)] if funds.vendor_id else []
        parties += [accounts.rider(funds.rider_id)] if funds.rider_id else []
        items = await self._table.get_many([balance_key(account) for account in parties])
        found = [read_balance(a, item) for a, item in zip(parties, items, strict=True)]
        return {each.account: each.available for each in found if each.status == ACTIVE}

    async def _try_commit(
        self,
        fact: Fact,
        funds: OrderFunds | None,
        entry: JournalEntry | Rejection,
        guards: Sequence[Write],
    ) -> PostedEntry | None:
        """Try once; None when what was planned with has moved on."""
        if isinstance(entry, Rejection):
            posted = await self._find_posted(fact)
            if posted is None:
                raise LedgerRefused(entry.code, entry.message)
            return posted
        async with self._locks.hold(leg.account for leg in wallet_legs(entry)):
            draft = await self._compose_draft(fact, funds, entry, guards)
            try:
                await self._table.transact(draft.writes)
            except TransactionCancelled as cancelled:
                return await self._explain_cancelled(fact, draft, cancelled)
            except TableUnavailable:
                return await self._resolve_unknown(fact, draft)
            for balance in draft.balances:
                self._cache_balance(balance)
            return draft.entry_posted

    async def _compose_draft(
        self, fact: Fact, funds: OrderFunds | None, entry: JournalEntry, guards: Sequence[Write]
    ) -> TransactionDraft:
        now_ms = self._now_ms()
        balances = await self._read_balances([leg.account for leg in wallet_legs(entry)])
        return compose(entry, build_effects(fact, funds, now_ms), guards, balances, now_ms)

    async def _explain_cancelled(
        self, fact: Fact, draft: TransactionDraft, error: TransactionCancelled
    ) -> PostedEntry | None:
        # Read back even where the entry is not among the reasons: they need not all be reported.
        posted = await self._find_posted(fact)
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
                self._cached_balances.pop(draft.legs[role.position].account, None)
        for role, item in failed:
            if role.kind == "balance":
                self._check_balance(fact, draft.legs[role.position], item)
        return None

    def _check_balance(self, fact: Fact, leg: Leg, item: Item | None) -> None:
        self._cache_balance(read_balance(leg.account, item))
        # A refund takes less where there is less.
        if not isinstance(fact, PartialRefund):
            _raise_if_rejected(explain_rejected_balance(leg, item))

    async def _resolve_unknown(self, fact: Fact, draft: TransactionDraft) -> PostedEntry:
        for balance in draft.balances:
            self._cached_balances.pop(balance.account, None)
        posted = await self._find_posted(fact)
        if posted is None:
            raise TableUnavailable(f"{draft.entry.entry_id} may or may not stand")
        return posted

    async def _find_posted(self, fact: Fact) -> PostedEntry | None:
        """The answer of the entry, where it stands already."""
        item = await self._table.get(entry_key(fact))
        if item is None:
            return None
        if item["factHash"] != hash_fact(fact):
            raise LedgerRefused("conflict", f"{item['PK']}/{item['SK']} says something else")
        return read_posted(item, replayed=True)

    async def _read_balances(self, accounts: Sequence[str]) -> list[Balance]:
        found = {a: self._cached_balances[a] for a in accounts if a in self._cached_balances}
        unknown = [account for account in accounts if account not in found]
        if unknown:
            items = await self._table.get_many([balance_key(account) for account in unknown])
            for account, item in zip(unknown, items, strict=True):
                found[account] = read_balance(account, item)
                self._cache_balance(found[account])
        return [found[account] for account in accounts]

    def _cache_balance(self, balance: Balance) -> None:
        self._cached_balances[balance.account] = balance
        self._cached_balances.move_to_end(balance.account)
        if len(self._cached_balances) > BALANCES_CACHED_MAX:
            self._cached_balances.popitem(last=False)


def _raise_if_rejected(rejection: Rejection | None) -> None:
    if rejection is not None:
        raise LedgerRefused(rejection.code, rejection.message)
