"""Looks at the books and says what is wrong, rule by rule; it corrects nothing.

Everything it suspects on a table that moves it looks up again with consistent reads, so that what
it says is so. Wallets are checked by their own lines, entries by theirs, and both against each
other by sums that need no memory of either.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import NamedTuple

from ledger.core.accounts import (
    LINE_PREFIX,
    SHARDS,
    Kind,
    balance_key,
    kind_of,
    line_key,
    listing_key,
    rider_cash,
)
from ledger.core.entries import DAY_MS, day_of
from ledger.core.order_funds import (
    OPEN_ESCROW,
    PENDING_SETTLEMENT,
    FinState,
    fin_key,
    read_fin,
)
from ledger.dynamodb.pages import PAGE, pages_of
from ledger.dynamodb.table import Item, Key, Query, Table
from ledger.records.cash_holds import OPEN_HOLDS
from ledger.records.payouts import OPEN, PayoutState, queue_pk, read_payout
from ledger.records.wallets import Balance, read_balance
from ledger.reporting.checks import (
    Break,
    Chain,
    balance_breaks,
    entry_breaks,
    order_breaks,
    settlement_breaks,
)
from ledger.reporting.multiset_hash import Marks
from ledger.reporting.order_reconciliation import LOOKS, PAUSE_S, order_against_entries

# Accounts looked at side by side.
BESIDE = 16
# Entries younger than this may still be on their way into an index, or into the table.
# Source: a call to the table is repeated for 5 s, an index is behind by less than a second.
SETTLED_MS = 15_000
# Source: ledger design, a delivered order is settled within 60 s even after a kill.
UNSETTLED_MS = 60_000
SUSPENSE_MS = DAY_MS


Found = AsyncIterator[list[Break]]


class Span(NamedTuple):
    """Which time is looked at, both ends included. Units: Unix milliseconds."""

    from_ms: int
    to_ms: int

    def holds(self, at_ms: int) -> bool:
        """Whether a moment lies in it."""
        return self.from_ms <= at_ms <= self.to_ms


class Audit:
    """One look at the books of a table.

    `lines`, `entries` and `accounts` count what was seen so far; `progress` is told now and then.
    """

    def __init__(
        self, table: Table, now_ms: Callable[[], int], progress: Callable[[], None] | None = None
    ) -> None:
        self._table = table
        self._now_ms = now_ms
        self._progress = progress or (lambda: None)
        self._marks = Marks()
        self._lanes: dict[str, int] = defaultdict(int)
        self._escrows: dict[str, int] = defaultdict(int)
        self._refunded: set[str] = set()
        self.lines = self.entries = self.accounts = 0

    async def breaks(self, from_ms: int = 0, to_ms: int | None = None) -> AsyncIterator[Break]:
        """Everything that is wrong, as it is found; nothing where the books are right.

        `from_ms` and `to_ms` bound the lines and entries that are looked at.

        Errors: TableUnavailable.

        DynamoDB: Query of each wallet and each day's entries, consistent reads of what they name.
        """
        settled = self._now_ms() - SETTLED_MS
        span = Span(from_ms, settled if to_ms is None else min(to_ms, settled))
        for stage in (self._wallets, self._journal, self._against_each_other, self._unfinished):
            async for found in stage(span):
                for each in found:
                    yield each

    # Wallets.

    async def _wallets(self, span: Span) -> Found:
        held = await self._held()
        async for accounts in self._accounts():
            self.accounts += len(accounts)
            for start in range(0, len(accounts), BESIDE):
                part = accounts[start : start + BESIDE]
                looks = [self._account(each, held.pop(each, 0), span) for each in part]
                for found in await asyncio.gather(*looks):
                    yield found
        # Wallets that hold something and have never moved.
        for account, amount in held.items():
            yield await self._account(account, amount, span)

    async def _accounts(self) -> AsyncIterator[list[str]]:
        for shard in range(SHARDS):
            async for page in pages_of(self._table, Query(pk=f"ACCOUNTS#{shard}", limit=PAGE)):
                yield [item["SK"] for item in page]

    async def _account(self, account: str, held: int, span: Span) -> list[Break]:
        balance = await self._balance(account)
        kind = kind_of(account)
        found: list[Break] = []
        is_old = balance.updated_at < span.to_ms - SUSPENSE_MS
        if kind is Kind.SUSPENSE and balance.posted and is_old:
            found.append(Break("suspense_is_empty", account, f"has {balance.posted}"))
        if not kind.has_lines:
            return found
        found += await self._lines(balance, span)
        if list(balance_breaks(balance, held)):
            found += await self._sure_of_holds(account)
        return found

    async def _lines(self, balance: Balance, span: Span) -> list[Break]:
        chain, found = Chain(balance), list[Break]()
        pk = balance_key(balance.account).pk
        query = Query(pk=pk, prefix=LINE_PREFIX, limit=PAGE, forward=False)
        async for page in pages_of(self._table, query):
            for line in page:
                # Lines that came after the balance was read are the next look's.
                if line["seq"] > balance.seq and span.to_ms < line["createdAt"]:
                    continue
                if line["createdAt"] < span.from_ms:
                    return found
                found += chain.breaks(line)
                self._find(balance.account, line, span)
            self.lines += len(page)
            self._progress()
        found += chain.ended()
        return found

    def _find(self, account: str, line: Item, span: Span) -> None:
        if span.holds(line["createdAt"]):
            told = (line["entry"], line["seq"], line["amount"], line["balanceAfter"])
            self._marks.find(account, *told)

    async def _balance(self, account: str) -> Balance:
        return read_balance(account, await self._table.get(balance_key(account)))

    async def _held(self) -> dict[str, int]:
        """What open payouts and open holds on cash come to, by account."""
        held: dict[str, int] = defaultdict(int)
        for shard in range(SHARDS):
            for state in OPEN:
                query = Query(pk=queue_pk(state, shard), index="GSI2", limit=PAGE)
                async for page in pages_of(self._table, query):
                    for item in page:
                        held[read_payout(item).account] += item["amount"]
            query = Query(pk=f"{OPEN_HOLDS}#{shard}", index="GSI2", limit=PAGE)
            async for page in pages_of(self._table, query):
                for item in page:
                    held[rider_cash(item["riderId"])] += item["amount"]
        return held

    async def _sure_of_holds(self, account: str) -> list[Break]:
        """The same break in every of several looks at a balance that stands still, or none."""
        last: list[Break] = []
        version = -1
        for _ in range(LOOKS):
            balance = await self._balance(account)
            found = list(balance_breaks(balance, (await self._held()).get(account, 0)))
            if not found:
                return []
            if version not in (-1, balance.v):
                # It moves; the next look at the books will see it at rest.
                return []
            last, version = found, balance.v
            await asyncio.sleep(PAUSE_S)
        return last

    # Entries.

    async def _journal(self, span: Span) -> Found:
        async for page in self._entry_pages(span):
            yield await self._entries(page)

    async def _entry_pages(self, span: Span) -> AsyncIterator[list[Item]]:
        first = span.from_ms or await self._began_ms()
        for at_ms in range(first - first % DAY_MS - DAY_MS, span.to_ms + DAY_MS, DAY_MS):
            day = day_of(at_ms)
            if not day_of(first) <= day <= day_of(span.to_ms):
                continue
            for shard in range(SHARDS):
                query = Query(pk=f"JE#{day}#{shard}", index="GSI3", limit=PAGE)
                async for page in pages_of(self._table, query):
                    yield [item for item in page if span.holds(item["recordedAt"])]

    async def _began_ms(self) -> int:
        """When the first account moved for the first time."""
        began = self._now_ms()
        for shard in range(SHARDS):
            async for page in pages_of(self._table, Query(pk=f"ACCOUNTS#{shard}", limit=PAGE)):
                began = min([began, *(item["createdAt"] for item in page)])
        return began

    async def _entries(self, page: Sequence[Item]) -> list[Break]:
        self.entries += len(page)
        found: list[Break] = []
        for item in page:
            found += entry_breaks(item)
            found += self._claim(item)
        orders = [item for item in page if item["PK"].startswith("ORDER#")]
        fins = await self._table.get_many([Key(item["PK"], "FIN") for item in orders])
        for item, fin in zip(orders, fins, strict=True):
            money = None if fin is None else read_fin(fin)
            found += settlement_breaks(item, money)
            found += order_breaks(money) if money else ()
        for item in page:
            if item["PK"].startswith("PAYOUT#"):
                found += await self._payout(item)
        self._progress()
        return found

    def _claim(self, item: Item) -> Iterator[Break]:
        name = f"{item['PK']}/{item['SK']}"
        if item["SK"].startswith("JE#REFUND#"):
            self._refunded.add(item["PK"])
        for leg in item["legs"]:
            account = leg["account"]
            kind = kind_of(account)
            if kind is Kind.ORDER:
                self._escrows[account] += leg["amount"]
                if not self._escrows[account]:
                    del self._escrows[account]
            elif not kind.has_lines:
                self._lanes[account] += leg["amount"]
            elif "seq" not in leg:
                yield Break("entry_has_its_lines", name, f"{account} has no line")
            else:
                self._marks.claim(account, name, leg["seq"], leg["amount"], leg["after"])

    async def _payout(self, item: Item) -> list[Break]:
        payout = await self._table.get(Key(item["PK"], "REQUEST"))
        state = payout["pstate"] if payout else "missing"
        wanted = {
            "JE#PAID": (PayoutState.PAID, PayoutState.RETURNED),
            "JE#RETURNED": (PayoutState.RETURNED,),
        }.get(item["SK"], tuple(PayoutState))
        # A netting stands before its payout, which may never have been asked for after all.
        if state in wanted or item["SK"] == "JE#NET":
            return []
        return [Break("payout_state", f"{item['PK']}/{item['SK']}", f"the payout is {state}")]

    # Both together.

    async def _against_each_other(self, span: Span) -> Found:
        odd = set(self._marks.odd())
        for account in sorted(odd):
            async for found in self._lines_without_legs(account, span):
                yield found
        if odd:
            async for page in self._entry_pages(span):
                yield await self._legs_without_lines(page, odd)
        orders = self._escrows.keys() | self._refunded
        # Of a part of the time nobody knows what came before it.
        if not span.from_ms:
            orders |= await self._open_escrows()
            yield await self._lane_breaks(span)
        for account in sorted(orders):
            yield await order_against_entries(self._table, account)

    async def _open_escrows(self) -> set[str]:
        """Orders that say they hold money."""
        found: set[str] = set()
        for shard in range(SHARDS):
            query = Query(pk=f"{OPEN_ESCROW}#{shard}", index="GSI2", limit=PAGE)
            async for page in pages_of(self._table, query):
                found.update(item["PK"] for item in page)
        return found

    async def _lines_without_legs(self, account: str, span: Span) -> Found:
        if await self._table.get(listing_key(account)) is None:
            yield [Break("account_is_listed", account, "is not among the accounts")]
        query = Query(pk=balance_key(account).pk, prefix=LINE_PREFIX, limit=PAGE)
        async for page in pages_of(self._table, query):
            lines = [line for line in page if span.holds(line["createdAt"])]
            keys = [Key(*line["entry"].rsplit("/", 1)) for line in lines]
            entries = await self._table.get_many(keys)
            yield [
                Break(
                    "entry_has_its_lines",
                    f"{account} line {line['seq']}",
                    f"{line['amount']:+d} is not in {line['entry']}",
                )
                for line, entry in zip(lines, entries, strict=True)
                if entry is None or not _has_leg(entry, account, line)
            ]

    async def _legs_without_lines(self, page: Sequence[Item], odd: set[str]) -> list[Break]:
        legs = [
            (item, leg)
            for item in page
            for leg in item["legs"]
            if leg["account"] in odd and "seq" in leg
        ]
        lines = await self._table.get_many(
            [line_key(leg["account"], leg["seq"]) for _, leg in legs]
        )
        return [
            Break(
                "entry_has_its_lines",
                f"{item['PK']}/{item['SK']}",
                f"{leg['account']} {leg['amount']:+d} is not line {leg['seq']}",
            )
            for (item, leg), line in zip(legs, lines, strict=True)
            if line is None or not _has_leg(item, leg["account"], line)
        ]

    async def _lane_breaks(self, span: Span) -> list[Break]:
        """Lanes whose balances are not their legs and those that came since, in every look."""
        suspects = dict(self._lanes)
        found: dict[str, Break] = {}
        for _ in range(LOOKS):
            before = {account: await self._balance(account) for account in suspects}
            since = await self._since(span)
            found = {}
            for account, total in sorted(suspects.items()):
                legs = total + since[account]
                # One that moves meanwhile is for the next look at the books.
                if before[account].posted == legs or await self._has_moved(before[account]):
                    continue
                what = f"has {before[account].posted}, its entries {legs}"
                found[account] = Break("lanes", account, what)
            suspects = {account: suspects[account] for account in found}
            if not suspects:
                return []
            await asyncio.sleep(PAUSE_S)
        return list(found.values())

    async def _has_moved(self, before: Balance) -> bool:
        return (await self._balance(before.account)).v != before.v

    async def _since(self, span: Span) -> dict[str, int]:
        """What was posted to each account after the span."""
        later = Span(span.to_ms + 1, self._now_ms() + DAY_MS)
        totals: dict[str, int] = defaultdict(int)
        async for page in self._entry_pages(later):
            for item in page:
                for leg in item["legs"]:
                    totals[leg["account"]] += leg["amount"]
        return totals

    # What should have happened.

    async def _unfinished(self, span: Span) -> Found:
        for shard in range(SHARDS):
            query = Query(pk=f"{PENDING_SETTLEMENT}#{shard}", index="GSI2", limit=PAGE)
            async for page in pages_of(self._table, query):
                yield await self._late(page)
            query = Query(pk=queue_pk(PayoutState.PAID, shard), index="GSI2", limit=PAGE)
            async for page in pages_of(self._table, query):
                yield await self._paid([item for item in page if span.holds(item["updatedAt"])])

    async def _late(self, page: Sequence[Item]) -> list[Break]:
        late = [i for i in page if i["deliveredAt"] < self._now_ms() - UNSETTLED_MS]
        fins = await self._table.get_many([fin_key(item["orderId"]) for item in late])
        return [
            Break("settled_in_time", fin["PK"], "delivered, and not settled")
            for fin in fins
            if fin and fin["finState"] == FinState.DELIVERED
        ]

    async def _paid(self, page: Sequence[Item]) -> list[Break]:
        keys = [Key(item["PK"], "JE#PAID") for item in page]
        entries = await self._table.get_many(keys)
        return [
            Break("payout_state", item["PK"], "is PAID, without an entry")
            for item, entry in zip(page, entries, strict=True)
            if entry is None
        ]


def _has_leg(entry: Item, account: str, line: Item) -> bool:
    name = f"{entry['PK']}/{entry['SK']}"
    told = (name, line["seq"], line["amount"], line["balanceAfter"])
    return any(
        leg["account"] == account
        and (line["entry"], leg.get("seq"), leg["amount"], leg["after"]) == told
        for leg in entry["legs"]
        if "seq" in leg
    )
