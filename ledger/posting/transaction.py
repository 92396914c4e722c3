"""The transaction of one entry or several: its writes, and what each of them is for."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from ledger.core.accounts import AccountKind, kind_of
from ledger.core.entries import JournalEntry, Leg, entry_item
from ledger.core.order_funds import IF_ABSENT
from ledger.dynamodb.table import Item, Put, Write, key_of
from ledger.records.balance_writes import write_balance
from ledger.records.effects import Effect
from ledger.records.wallets import (
    Balance,
    EntryStamp,
    WalletLine,
    apply_leg,
    transaction_id,
)


class WriteRole(NamedTuple):
    """Kind of a write; `position` is its index among the guards, the effects or the legs."""

    kind: Literal["entry", "guard", "effect", "balance", "line", "listing"]
    position: int = 0


class PostedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A posted entry. Units: whole XAF.

    `lines` are its wallet lines by account; `is_replayed` says that it had been posted before;
    `total` is how much it moved.
    """

    entry_id: str
    lines: dict[str, WalletLine]
    is_replayed: bool
    total: int


class PostingPart(NamedTuple):
    """One entry with the writes that go into the same transaction."""

    entry: JournalEntry
    effects: Sequence[Effect]
    guards: Sequence[Write]


class TransactionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """The transaction of one entry; `roles[i]` is the role of `writes[i]`.

    `balances` are those after it, in the order of `legs`.
    """

    entry: JournalEntry
    legs: tuple[Leg, ...]
    effects: Sequence[Effect]
    writes: tuple[Write, ...]
    roles: tuple[WriteRole, ...]
    balances: tuple[Balance, ...]
    entry_posted: PostedEntry


class PostingBatch(NamedTuple):
    """The transaction of several entries; `posted` in their order, `balances` those after it."""

    writes: tuple[Write, ...]
    balances: tuple[Balance, ...]
    posted: tuple[PostedEntry, ...]


def wallet_legs(entry: JournalEntry) -> tuple[Leg, ...]:
    """The legs that have a balance item; an order's escrow is in its FUNDS item instead."""
    return tuple(leg for leg in entry.legs if kind_of(leg.account) != AccountKind.ORDER)


def compose(part: PostingPart, balances: Sequence[Balance], now_ms: int) -> TransactionDraft:
    """Compose the transaction of one entry; `balances` are in the order of `wallet_legs`.

    Units: whole XAF, Unix milliseconds. Errors: ValueError for two writes to one item.
    """
    composer = _Composer(balances, now_ms)
    item = composer.add_entry(part)
    composer.add_balances()
    legs = wallet_legs(part.entry)
    return TransactionDraft(
        entry=part.entry,
        legs=legs,
        effects=part.effects,
        writes=composer.checked_writes(),
        roles=tuple(composer.roles),
        balances=tuple(composer.balances[leg.account] for leg in legs),
        entry_posted=read_posted(item, replayed=False),
    )


def compose_batch(
    parts: Sequence[PostingPart], balances: Sequence[Balance], now_ms: int
) -> PostingBatch:
    """Compose the transaction of several entries, which writes each account's balance once.

    `balances` are those of all their accounts; each account must be moved in one direction only.
    Units: whole XAF, Unix milliseconds. Errors: ValueError for two writes to one item.
    """
    composer = _Composer(balances, now_ms)
    items = [composer.add_entry(part) for part in parts]
    composer.add_balances()
    posted = tuple(read_posted(item, replayed=False) for item in items)
    return PostingBatch(composer.checked_writes(), tuple(composer.balances.values()), posted)


def read_posted(item: Item, *, replayed: bool) -> PostedEntry:
    """The answer of a posted entry, read from its item: the same for every repetition."""
    entry_id = f"{item['PK']}/{item['SK']}"
    lines = {
        leg["account"]: WalletLine(
            transaction_id(entry_id, leg["account"]), leg["seq"], leg["amount"], leg["after"]
        )
        for leg in item["legs"]
        if "seq" in leg
    }
    total = sum(leg["amount"] for leg in item["legs"] if leg["amount"] > 0)
    return PostedEntry(entry_id=entry_id, lines=lines, is_replayed=replayed, total=total)


class _Composer:
    """Collects writes and applies legs to balances, entry by entry."""

    def __init__(self, balances: Sequence[Balance], now_ms: int) -> None:
        self._before = {balance.account: balance for balance in balances}
        self._now_ms = now_ms
        self._writes: list[Write] = []
        self.roles: list[WriteRole] = []
        self.balances = dict(self._before)

    def add_entry(self, part: PostingPart) -> Item:
        """Add all writes of an entry but its balances; the entry's item."""
        legs = wallet_legs(part.entry)
        # An entry and its lines have one timestamp, and a wallet's timestamps never decrease.
        lined = [self.balances[leg.account] for leg in legs if kind_of(leg.account).has_lines]
        recorded_at = max([self._now_ms, *(balance.updated_at for balance in lined)])
        stamp = EntryStamp(part.entry, recorded_at, legs[0].account)
        moves = {leg.account: apply_leg(leg, self.balances[leg.account], stamp) for leg in legs}
        lines = {account: move.line.item for account, move in moves.items() if move.line}
        item = entry_item(part.entry, recorded_at, lines)
        self._add("entry", [Put(item=item, condition=IF_ABSENT)])
        self._add("guard", part.guards)
        self._add("effect", [effect.write for effect in part.effects])
        self._add("line", [move.line for move in moves.values()])
        self._add("listing", [move.listing for move in moves.values()])
        self.balances |= {account: move.balance_after for account, move in moves.items()}
        return item

    def add_balances(self) -> None:
        """Add one write for each account's balance."""
        accounts = self._before
        self._add("balance", [write_balance(accounts[a], self.balances[a]) for a in accounts])

    def checked_writes(self) -> tuple[Write, ...]:
        """All writes. Errors: ValueError for two writes to one item."""
        keys = [key_of(write) for write in self._writes]
        if len(set(keys)) < len(keys):
            doubled = {key for key in keys if keys.count(key) > 1}
            raise ValueError(f"two writes to {sorted(doubled)}")
        return tuple(self._writes)

    def _add(
        self,
        kind: Literal["entry", "guard", "effect", "balance", "line", "listing"],
        writes: Iterable[Write | None],
    ) -> None:
        for position, write in enumerate(writes):
            if write is not None:
                self._writes.append(write)
                self.roles.append(WriteRole(kind, position))
