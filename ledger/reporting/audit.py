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
    LIST_SHARDS,
    AccountKind,
    balance_key,
    kind_of,
    line_key,
    listing_key,
    rider_cash,
)
from ledger.core.entries import DAY_MS, business_day
from ledger.core.order_funds import (
    OPEN_ESCROW,
    PENDING_SETTLEMENT,
    FundsState,
    funds_key,
    read_funds,
)
from ledger.dynamodb.pages import PAGE_ITEMS, iterate_pages
from ledger.dynamodb.table import Item, Key, Query, Table
from ledger.records.cash_holds import OPEN_HOLDS
from ledger.records.payouts import OPEN_STATES, PayoutState, payout_queue_pk, read_payout
from ledger.records.wallets import Balance, read_balance
from ledger.reporting.checks import (
    LedgerBreak,
    WalletChain,
    balance_breaks,
    entry_breaks,
    order_breaks,
    settlement_breaks,
)
from ledger.reporting.multiset_hash import MultisetHash
from ledger.reporting.order_reconciliation import CONFIRM_PAUSE_S, CONFIRMATIONS, reconcile_order

# Accounts looked at side by side.
ACCOUNTS_AT_ONCE = 16
# Entries younger than this may still be on their way into an index, or into the table.
# Source: a call to the table is repeated for 5 s, an index is behind by less than a second.
CONSISTENT_AFTER_MS = 15_000
# Source: ledger design, a delivered order is settled within 60 s even after a kill.
SETTLEMENT_DUE_MS = 60_000
SUSPENSE_MAX_MS = DAY_MS


BreakPages = AsyncIterator[list[LedgerBreak]]


class AuditSpan(NamedTuple):
    """Which time is looked at, both ends included. Units: Unix milliseconds."""

    from_ms: int
    to_ms: int

    def contains(self, at_ms: int) -> bool:
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
        self._legs_hash = MultisetHash()
        self._shard_sums: dict[str, int] = defaultdict(int)
        self._escrow_sums: dict[str, int] = defaultdict(int)
        self._refunded_orders: set[str] = set()
        self.line_count = self.entry_count = self.account_count = 0

    async def find_breaks(
        self, from_ms: int = 0, to_ms: int | None = None
    ) -> AsyncIterator[LedgerBreak]:
        """Everything that is wrong, as it is found; nothing where the books are right.

        `from_ms` and `to_ms` bound the lines and entries that are looked at.

        Errors: TableUnavailable.

        DynamoDB: Query of each wallet and each day's entries, consistent reads of what they name.
        """
        settled = self._now_ms() - CONSISTENT_AFTER_MS
        span = AuditSpan(from_ms, settled if to_ms is None else min(to_ms, settled))
        for stage in (
            self._check_wallets,
            self._check_journal,
            self._cross_check,
            self._check_overdue,
        ):
            async for found in stage(span):
                for each in found:
                    yield each

    # Wallets.

    async def _check_wallets(self, span: AuditSpan) -> BreakPages:
        held = await self._sum_open_holds()
        async for accounts in self._account_pages():
            self.account_count += len(accounts)
            for start in range(0, len(accounts), ACCOUNTS_AT_ONCE):
                part = accounts[start : start + ACCOUNTS_AT_ONCE]
                looks = [self._check_account(each, held.pop(each, 0), span) for each in part]
                for found in await asyncio.gather(*looks):
                    yield found
        # Wallets that hold something and have never moved.
        for account, amount in held.items():
            yield await self._check_account(account, amount, span)

    async def _account_pages(self) -> AsyncIterator[list[str]]:
        for shard in range(LIST_SHARDS):
            async for page in iterate_pages(
                self._table, Query(pk=f"ACCOUNTS#{shard}", limit=PAGE_ITEMS)
            ):
                yield [item["SK"] for item in page]

    async def _check_account(
        self, account: str, held_total: int, span: AuditSpan
    ) -> list[LedgerBreak]:
        balance = await self._read_balance(account)
        kind = kind_of(account)
        found: list[LedgerBreak] = []
        is_old = balance.updated_at < span.to_ms - SUSPENSE_MAX_MS
        if kind is AccountKind.SUSPENSE and balance.posted and is_old:
            found.append(LedgerBreak("suspense_is_empty", account, f"has {balance.posted}"))
        if not kind.has_lines:
            return found
        found += await self._check_lines(balance, span)
        if list(balance_breaks(balance, held_total)):
            found += await self._confirm_hold_breaks(account)
        return found

    async def _check_lines(self, balance: Balance, span: AuditSpan) -> list[LedgerBreak]:
        chain, found = WalletChain(balance), list[LedgerBreak]()
        pk = balance_key(balance.account).pk
        query = Query(pk=pk, prefix=LINE_PREFIX, limit=PAGE_ITEMS, forward=False)
        async for page in iterate_pages(self._table, query):
            for line in page:
                # Lines that came after the balance was read are the next look's.
                if line["seq"] > balance.seq and span.to_ms < line["createdAt"]:
                    continue
                if line["createdAt"] < span.from_ms:
                    return found
                found += chain.check_line(line)
                self._note_line(balance.account, line, span)
            self.line_count += len(page)
            self._progress()
        found += chain.check_start()
        return found

    def _note_line(self, account: str, line: Item, span: AuditSpan) -> None:
        if span.contains(line["createdAt"]):
            told = (line["entry"], line["seq"], line["amount"], line["balanceAfter"])
            self._legs_hash.add_found(account, *told)

    async def _read_balance(self, account: str) -> Balance:
        return read_balance(account, await self._table.get(balance_key(account)))

    async def _sum_open_holds(self) -> dict[str, int]:
        """What open payouts and open holds on cash come to, by account."""
        held: dict[str, int] = defaultdict(int)
        for shard in range(LIST_SHARDS):
            for state in OPEN_STATES:
                query = Query(pk=payout_queue_pk(state, shard), index="GSI2", limit=PAGE_ITEMS)
                async for page in iterate_pages(self._table, query):
                    for item in page:
                        held[read_payout(item).account] += item["amount"]
            query = Query(pk=f"{OPEN_HOLDS}#{shard}", index="GSI2", limit=PAGE_ITEMS)
            async for page in iterate_pages(self._table, query):
                for item in page:
                    held[rider_cash(item["riderId"])] += item["amount"]
        return held

    async def _confirm_hold_breaks(self, account: str) -> list[LedgerBreak]:
        """The same break in every of several looks at a balance that stands still, or none."""
        last: list[LedgerBreak] = []
        version = -1
        for _ in range(CONFIRMATIONS):
            balance = await self._read_balance(account)
            found = list(balance_breaks(balance, (await self._sum_open_holds()).get(account, 0)))
            if not found:
                return []
            if version not in (-1, balance.v):
                # It moves; the next look at the books will see it at rest.
                return []
            last, version = found, balance.v
            await asyncio.sleep(CONFIRM_PAUSE_S)
        return last

    # Entries.

    async def _check_journal(self, span: AuditSpan) -> BreakPages:
        async for page in self._entry_pages(span):
            yield await self._check_entries(page)

    async def _entry_pages(self, span: AuditSpan) -> AsyncIterator[list[Item]]:
        first = span.from_ms or await self._first_movement_ms()
        for at_ms in range(first - first % DAY_MS - DAY_MS, span.to_ms + DAY_MS, DAY_MS):
            day = business_day(at_ms)
            if not business_day(first) <= day <= business_day(span.to_ms):
                continue
            for shard in range(LIST_SHARDS):
                query = Query(pk=f"JE#{day}#{shard}", index="GSI3", limit=PAGE_ITEMS)
                async for page in iterate_pages(self._table, query):
                    yield [item for item in page if span.contains(item["recordedAt"])]

    async def _first_movement_ms(self) -> int:
        """When the first account moved for the first time."""
        began = self._now_ms()
        for shard in range(LIST_SHARDS):
            async for page in iterate_pages(
                self._table, Query(pk=f"ACCOUNTS#{shard}", limit=PAGE_ITEMS)
            ):
                began = min([began, *(item["createdAt"] for item in page)])
        return began

    async def _check_entries(self, page: Sequence[Item]) -> list[LedgerBreak]:
        self.entry_count += len(page)
        found: list[LedgerBreak] = []
        for item in page:
            found += entry_breaks(item)
            found += self._note_entry(item)
        orders = [item for item in page if item["PK"].startswith("ORDER#")]
        fins = await self._table.get_many([Key(item["PK"], "FUNDS") for item in orders])
        for item, fin in zip(orders, fins, strict=True):
            money = None if fin is None else read_funds(fin)
            found += settlement_breaks(item, money)
            found += order_breaks(money) if money else ()
        for item in page:
            if item["PK"].startswith("PAYOUT#"):
                found += await self._check_payout(item)
        self._progress()
        return found

    def _note_entry(self, item: Item) -> Iterator[LedgerBreak]:
        name = f"{item['PK']}/{item['SK']}"
        if item["SK"].startswith("JE#REFUND#"):
            self._refunded_orders.add(item["PK"])
        for leg in item["legs"]:
            account = leg["account"]
            kind = kind_of(account)
            if kind is AccountKind.ORDER:
                self._escrow_sums[account] += leg["amount"]
                if not self._escrow_sums[account]:
                    del self._escrow_sums[account]
            elif not kind.has_lines:
                self._shard_sums[account] += leg["amount"]
            elif "seq" not in leg:
                yield LedgerBreak("entry_has_its_lines", name, f"{account} has no line")
            else:
                self._legs_hash.add_expected(account, name, leg["seq"], leg["amount"], leg["after"])

    async def _check_payout(self, item: Item) -> list[LedgerBreak]:
        payout = await self._table.get(Key(item["PK"], "REQUEST"))
        state = payout["payoutState"] if payout else "missing"
        wanted = {
            "JE#PAID": (PayoutState.PAID, PayoutState.RETURNED),
            "JE#RETURNED": (PayoutState.RETURNED,),
        }.get(item["SK"], tuple(PayoutState))
        # A netting stands before its payout, which may never have been asked for after all.
        if state in wanted or item["SK"] == "JE#NET":
            return []
        return [LedgerBreak("payout_state", f"{item['PK']}/{item['SK']}", f"the payout is {state}")]

    # Both together.

    async def _cross_check(self, span: AuditSpan) -> BreakPages:
        odd = set(self._legs_hash.mismatched_accounts())
        for account in sorted(odd):
            async for found in self._lines_without_legs(account, span):
                yield found
        if odd:
            async for page in self._entry_pages(span):
                yield await self._legs_without_lines(page, odd)
        orders = self._escrow_sums.keys() | self._refunded_orders
        # Of a part of the time nobody knows what came before it.
        if not span.from_ms:
            orders |= await self._orders_with_escrow()
            yield await self._shard_breaks(span)
        for account in sorted(orders):
            yield await reconcile_order(self._table, account)

    async def _orders_with_escrow(self) -> set[str]:
        """Orders that say they hold money."""
        found: set[str] = set()
        for shard in range(LIST_SHARDS):
            query = Query(pk=f"{OPEN_ESCROW}#{shard}", index="GSI2", limit=PAGE_ITEMS)
            async for page in iterate_pages(self._table, query):
                found.update(item["PK"] for item in page)
        return found

    async def _lines_without_legs(self, account: str, span: AuditSpan) -> BreakPages:
        if await self._table.get(listing_key(account)) is None:
            yield [LedgerBreak("account_is_listed", account, "is not among the accounts")]
        query = Query(pk=balance_key(account).pk, prefix=LINE_PREFIX, limit=PAGE_ITEMS)
        async for page in iterate_pages(self._table, query):
            lines = [line for line in page if span.contains(line["createdAt"])]
            keys = [Key(*line["entry"].rsplit("/", 1)) for line in lines]
            entries = await self._table.get_many(keys)
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
        self, page: Sequence[Item], mismatched: set[str]
    ) -> list[LedgerBreak]:
        legs = [
            (item, leg)
            for item in page
            for leg in item["legs"]
            if leg["account"] in mismatched and "seq" in leg
        ]
        lines = await self._table.get_many(
            [line_key(leg["account"], leg["seq"]) for _, leg in legs]
        )
        return [
            LedgerBreak(
                "entry_has_its_lines",
                f"{item['PK']}/{item['SK']}",
                f"{leg['account']} {leg['amount']:+d} is not line {leg['seq']}",
            )
            for (item, leg), line in zip(legs, lines, strict=True)
            if line is None or not _has_leg(item, leg["account"], line)
        ]

    async def _shard_breaks(self, span: AuditSpan) -> list[LedgerBreak]:
        """Lanes whose balances are not their legs and those that came since, in every look."""
        suspects = dict(self._shard_sums)
        found: dict[str, LedgerBreak] = {}
        for _ in range(CONFIRMATIONS):
            before = {account: await self._read_balance(account) for account in suspects}
            since = await self._posted_after(span)
            found = {}
            for account, total in sorted(suspects.items()):
                legs = total + since[account]
                # One that moves meanwhile is for the next look at the books.
                if before[account].posted == legs or await self._has_moved(before[account]):
                    continue
                what = f"has {before[account].posted}, its entries {legs}"
                found[account] = LedgerBreak("lanes", account, what)
            suspects = {account: suspects[account] for account in found}
            if not suspects:
                return []
            await asyncio.sleep(CONFIRM_PAUSE_S)
        return list(found.values())

    async def _has_moved(self, before: Balance) -> bool:
        return (await self._read_balance(before.account)).v != before.v

    async def _posted_after(self, span: AuditSpan) -> dict[str, int]:
        """What was posted to each account after the span."""
        later = AuditSpan(span.to_ms + 1, self._now_ms() + DAY_MS)
        totals: dict[str, int] = defaultdict(int)
        async for page in self._entry_pages(later):
            for item in page:
                for leg in item["legs"]:
                    totals[leg["account"]] += leg["amount"]
        return totals

    # What should have happened.

    async def _check_overdue(self, span: AuditSpan) -> BreakPages:
        for shard in range(LIST_SHARDS):
            query = Query(pk=f"{PENDING_SETTLEMENT}#{shard}", index="GSI2", limit=PAGE_ITEMS)
            async for page in iterate_pages(self._table, query):
                yield await self._late_settlements(page)
            query = Query(
                pk=payout_queue_pk(PayoutState.PAID, shard), index="GSI2", limit=PAGE_ITEMS
            )
            async for page in iterate_pages(self._table, query):
                yield await self._paid_without_entry(
                    [item for item in page if span.contains(item["updatedAt"])]
                )

    async def _late_settlements(self, page: Sequence[Item]) -> list[LedgerBreak]:
        late = [i for i in page if i["deliveredAt"] < self._now_ms() - SETTLEMENT_DUE_MS]
        fins = await self._table.get_many([funds_key(item["orderId"]) for item in late])
        return [
            LedgerBreak("settled_in_time", fin["PK"], "delivered, and not settled")
            for fin in fins
            if fin and fin["fundsState"] == FundsState.DELIVERED
        ]

    async def _paid_without_entry(self, page: Sequence[Item]) -> list[LedgerBreak]:
        keys = [Key(item["PK"], "JE#PAID") for item in page]
        entries = await self._table.get_many(keys)
        return [
            LedgerBreak("payout_state", item["PK"], "is PAID, without an entry")
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
