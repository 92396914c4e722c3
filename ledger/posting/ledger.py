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
from ledger.core.entries import JournalEntry, Leg, intent_of
from ledger.core.facts import (
    Code,
    Fact,
    OrderFact,
    PartRefund,
    Rejection,
    Settle,
    entry_key,
)
from ledger.core.order_funds import (
    PENDING_SETTLEMENT,
    Fin,
    FinState,
    Method,
    fin_key,
    open_fin,
    read_fin,
)
from ledger.core.plan import Means, plan
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
from ledger.posting.group_commit import Crowds
from ledger.posting.locks import Lanes, Locks
from ledger.posting.transaction import (
    Draft,
    Part,
    Posted,
    compose,
    compose_together,
    posted_from,
    wallet_legs,
)
from ledger.records.effects import effects
from ledger.records.payments import Payment, payment_key, read_payment
from ledger.records.wallets import ACTIVE, Balance, read_balance, weigh

# How long a fact is planned again because balances moved on; the locks make one try enough where a
# single process writes to a wallet. Source: as long as a call to the table is repeated.
DEADLINE_S = 5.0
# Writes of one transaction. Source: API limit of TransactWriteItems.
WRITES_MAX = 100
# Balances remembered; the oldest is forgotten first, which costs a read.
REMEMBERED = 10_000
# Orders read from each shard of those that wait to be settled.
UNSETTLED_PAGE = 100


class LedgerRefused(Exception):
    """The fact cannot be posted as things stand; nothing was written."""

    def __init__(self, code: Code, message: str) -> None:
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
    believed: Fin | None


class Ledger:
    """The books of one table."""

    def __init__(
        self, table: Table, now_ms: Callable[[], int], lanes: int = 8, first_lane: int = 0
    ) -> None:
        self._table = table
        self._now_ms = now_ms
        self._lanes = Lanes(lanes, first_lane)
        self._locks = Locks()
        self._balances: OrderedDict[str, Balance] = OrderedDict()
        self._crowds = Crowds(self._alone, self._together)

    async def post(
        self, fact: Fact, guards: Sequence[Write] = (), believed: Fin | None = None
    ) -> Posted:
        """Post a fact together with the caller's own writes, once and for ever.

        A repetition gets the first answer; its guards are not looked at, for the first writer's
        were applied. A cancelled caller does not stop the transaction. `believed` is the order's
        money as the caller knows it; it spares a read where it is true and costs a try where not.
        Settlements of one vendor that come at once, with what is believed, go together.

        Errors: LedgerRefused; GuardFailed; TableUnavailable, when the fact may or may not stand
        and the same call will tell.

        DynamoDB: one TransactWriteItems; before it one read of FIN for a fact about an order that
        believes nothing, and one batch for balances that are not remembered.
        """
        request = _Request(fact, guards, believed)
        if isinstance(fact, Settle) and believed is not None and believed.vendor_id is not None:
            return await self._crowds.join(accounts.vendor(believed.vendor_id), request)
        return await self._alone(request)

    async def _alone(self, request: _Request) -> Posted:
        fact, guards, believed = request
        loop = asyncio.get_running_loop()
        until_s = loop.time() + DEADLINE_S
        failures = 0
        with self._lanes.borrow() as lane:
            async with self._locks.hold([entry_key(fact).pk]):
                while not failures or loop.time() < until_s:
                    fin, entry = await self._plan(fact, believed, lane)
                    believed = None
                    posted = await self._try(fact, fin, entry, guards)
                    if posted is not None:
                        return posted
                    failures += 1
                    await self._give_way(failures, entry)
        raise TableUnavailable(f"{entry_key(fact)} was overtaken {failures} times")

    async def _together(self, requests: Sequence[_Request]) -> list[Posted] | None:
        """Post several settlements in one transaction; None where each must go by itself.

        DynamoDB: one TransactWriteItems, with one update of each balance.
        """
        keys = [entry_key(request.fact).pk for request in requests]
        if len(set(keys)) < len(keys):
            return None
        with self._lanes.borrow() as lane:
            async with self._locks.hold(keys):
                parts = self._parts(requests, lane)
                legs = [leg for part in parts or () for leg in wallet_legs(part.entry)]
                if parts is None:
                    return None
                async with self._locks.hold(leg.account for leg in legs):
                    return await self._post_parts(parts, sorted({leg.account for leg in legs}))

    def _parts(self, requests: Sequence[_Request], lane: int) -> list[Part] | None:
        parts: list[Part] = []
        for fact, guards, fin in requests:
            entry = plan(fact, fin, lane)
            if isinstance(entry, Rejection):
                return None
            parts.append(Part(entry, effects(fact, fin, self._now_ms()), guards))
        return parts

    async def _post_parts(
        self, parts: Sequence[Part], accounts_: Sequence[str]
    ) -> list[Posted] | None:
        balances = await self._read_balances(accounts_)
        bundle = compose_together(parts, balances, self._now_ms())
        if len(bundle.writes) > WRITES_MAX:
            return None
        try:
            await self._table.transact(bundle.writes)
        except (TransactionCancelled, TableUnavailable):
            # Each by itself finds out what stood in the way, or whether it stands already.
            for account in accounts_:
                self._balances.pop(account, None)
            return None
        for balance in bundle.balances:
            self._remember(balance)
        return list(bundle.posted)

    async def fin(self, order_id: str) -> Fin | None:
        """An order's money as it stands. DynamoDB: GetItem."""
        item = await self._table.get(fin_key(order_id))
        return None if item is None else read_fin(item)

    def fin_cash(self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing) -> Put:
        """The write that opens a cash order's money at placement."""
        return self._open(order_id, user_id, vendor_id, pricing, cash=True)

    def fin_pending(
        self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing
    ) -> Put:
        """The write that opens the money of an order to be paid by mobile money."""
        return self._open(order_id, user_id, vendor_id, pricing, cash=False)

    async def payment(self, provider: str, payment_id: str, amount: int) -> Payment:
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

    async def unsettled(self, shard: int, now_ms: int, older_than_ms: int) -> list[str]:
        """Delivered orders of a shard whose money still waits after that time, the oldest first.

        DynamoDB: Query of GSI2, one page; act on it only by `post`, the index may lag.
        """
        query = Query(pk=f"{PENDING_SETTLEMENT}#{shard}", index="GSI2", limit=UNSETTLED_PAGE)
        waiting = (await self._table.query(query)).items
        late = [item for item in waiting if item["deliveredAt"] <= now_ms - older_than_ms]
        return [item["orderId"] for item in late]

    def _open(
        self, order_id: str, user_id: str, vendor_id: str | None, pricing: Pricing, *, cash: bool
    ) -> Put:
        fin = Fin(
            order_id=order_id,
            fin_state=FinState.DUE if cash else FinState.NONE,
            method=Method.CASH if cash else Method.MOBILE_MONEY,
            user_id=user_id,
            vendor_id=vendor_id,
            pricing=pricing,
            escrow=0,
        )
        return open_fin(fin, self._now_ms())

    async def _give_way(self, failures: int, entry: JournalEntry | Rejection) -> None:
        # The refusal itself brought the balance as it stands; only who fails again has rivals.
        if failures == 1 or isinstance(entry, Rejection):
            return
        await asyncio.sleep(delay_s(failures))
        for leg in entry.legs:
            self._balances.pop(leg.account, None)

    async def _plan(
        self, fact: Fact, believed: Fin | None, lane: int
    ) -> tuple[Fin | None, JournalEntry | Rejection]:
        if believed is not None:
            entry = plan(fact, believed, lane)
            # A refusal is never founded on a belief.
            if not isinstance(entry, Rejection):
                return believed, entry
        fin = await self.fin(fact.order_id) if isinstance(fact, OrderFact) else None
        means = await self._means(fin) if isinstance(fact, PartRefund) and fin else {}
        return fin, plan(fact, fin, lane, means)

    async def _means(self, fin: Fin) -> Means:
        """What those who share in an order could give back now. DynamoDB: BatchGetItem."""
        parties = [accounts.vendor(fin.vendor_id)] if fin.vendor_id else []
        parties += [accounts.rider(fin.rider_id)] if fin.rider_id else []
        items = await self._table.get_many([balance_key(account) for account in parties])
        found = [read_balance(a, item) for a, item in zip(parties, items, strict=True)]
        return {each.account: each.available for each in found if each.status == ACTIVE}

    async def _try(
        self,
        fact: Fact,
        fin: Fin | None,
        entry: JournalEntry | Rejection,
        guards: Sequence[Write],
    ) -> Posted | None:
        """Try once; None when what was planned with has moved on."""
        if isinstance(entry, Rejection):
            posted = await self._replayed(fact)
            if posted is None:
                raise LedgerRefused(entry.code, entry.message)
            return posted
        async with self._locks.hold(leg.account for leg in wallet_legs(entry)):
            draft = await self._draft(fact, fin, entry, guards)
            try:
                await self._table.transact(draft.writes)
            except TransactionCancelled as cancelled:
                return await self._weigh(fact, draft, cancelled)
            except TableUnavailable:
                return await self._unknown(fact, draft)
            for balance in draft.balances:
                self._remember(balance)
            return draft.posted

    async def _draft(
        self, fact: Fact, fin: Fin | None, entry: JournalEntry, guards: Sequence[Write]
    ) -> Draft:
        now_ms = self._now_ms()
        balances = await self._read_balances([leg.account for leg in wallet_legs(entry)])
        return compose(entry, effects(fact, fin, now_ms), guards, balances, now_ms)

    async def _weigh(
        self, fact: Fact, draft: Draft, cancelled: TransactionCancelled
    ) -> Posted | None:
        # Read back even where the entry is not among the reasons: they need not all be reported.
        posted = await self._replayed(fact)
        if posted is not None:
            return posted
        failed = [(draft.roles[i], cancelled.reasons[i].item) for i in cancelled.failed()]
        for role, item in failed:
            if role.kind == "guard":
                raise GuardFailed(role.at, item)
        for role, item in failed:
            if role.kind == "effect":
                _refuse(draft.effects[role.at].weigh(item))
        for role, _ in failed:
            if role.kind == "line":
                self._balances.pop(draft.legs[role.at].account, None)
        for role, item in failed:
            if role.kind == "balance":
                self._weigh_balance(fact, draft.legs[role.at], item)
        return None

    def _weigh_balance(self, fact: Fact, leg: Leg, item: Item | None) -> None:
        self._remember(read_balance(leg.account, item))
        # A refund takes less where there is less.
        if not isinstance(fact, PartRefund):
            _refuse(weigh(leg, item))

    async def _unknown(self, fact: Fact, draft: Draft) -> Posted:
        for balance in draft.balances:
            self._balances.pop(balance.account, None)
        posted = await self._replayed(fact)
        if posted is None:
            raise TableUnavailable(f"{draft.entry.entry_id} may or may not stand")
        return posted

    async def _replayed(self, fact: Fact) -> Posted | None:
        """The answer of the entry, where it stands already."""
        item = await self._table.get(entry_key(fact))
        if item is None:
            return None
        if item["intent"] != intent_of(fact):
            raise LedgerRefused("conflict", f"{item['PK']}/{item['SK']} says something else")
        return posted_from(item, replayed=True)

    async def _read_balances(self, accounts: Sequence[str]) -> list[Balance]:
        found = {a: self._balances[a] for a in accounts if a in self._balances}
        unknown = [account for account in accounts if account not in found]
        if unknown:
            items = await self._table.get_many([balance_key(account) for account in unknown])
            for account, item in zip(unknown, items, strict=True):
                found[account] = read_balance(account, item)
                self._remember(found[account])
        return [found[account] for account in accounts]

    def _remember(self, balance: Balance) -> None:
        self._balances[balance.account] = balance
        self._balances.move_to_end(balance.account)
        if len(self._balances) > REMEMBERED:
            self._balances.popitem(last=False)


def _refuse(rejection: Rejection | None) -> None:
    if rejection is not None:
        raise LedgerRefused(rejection.code, rejection.message)
