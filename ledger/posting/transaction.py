"""An entry as one transaction: every write, and what each of them stands for."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from ledger.core.accounts import AccountKind, kind_of
from ledger.core.entries import JournalEntry, Leg, entry_item
from ledger.core.order_funds import IF_ABSENT
from ledger.dynamodb.table import Item, Key, Put, Write
from ledger.records.effects import Effect
from ledger.records.wallets import (
    Balance,
    EntryStamp,
    WalletLine,
    apply_leg,
    transaction_id,
    write_balance,
)


class WriteRole(NamedTuple):
    """What a write is; `at` is its place among the guards, the effects or the legs."""

    kind: Literal["entry", "guard", "effect", "balance", "line", "listing"]
    position: int = 0


class PostedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that stands in the books. Units: whole XAF.

    `lines` are those of wallets, by account; `replayed` that it stood there before; `total` how
    much it moved.
    """

    entry_id: str
    lines: dict[str, WalletLine]
    is_replayed: bool
    total: int


class TransactionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction about to be tried."""

    entry: JournalEntry
    legs: tuple[Leg, ...]
    effects: Sequence[Effect]
    writes: tuple[Write, ...]
    roles: tuple[WriteRole, ...]
    balances: tuple[Balance, ...]
    entry_posted: PostedEntry


def wallet_legs(entry: JournalEntry) -> tuple[Leg, ...]:
    """The legs that have a balance; an order's escrow is in its FUNDS."""
    return tuple(leg for leg in entry.legs if kind_of(leg.account) != AccountKind.ORDER)


def compose(
    entry: JournalEntry,
    effects: Sequence[Effect],
    guards: Sequence[Write],
    balances: Sequence[Balance],
    now_ms: int,
) -> TransactionDraft:
    """Lay out the transaction; `balances` stand in the order of `wallet_legs`."""
    legs = wallet_legs(entry)
    parts: list[tuple[WriteRole, Write | None]] = []
    standing = {balance.account: balance for balance in balances}
    item = _lay_out(PostingPart(entry, effects, guards), standing, now_ms, parts)
    for i, before in enumerate(balances):
        parts.append((WriteRole("balance", i), write_balance(before, standing[before.account])))
    kept = [(role, write) for role, write in parts if write is not None]
    writes = tuple(write for _, write in kept)
    _check_distinct_keys(writes)
    return TransactionDraft(
        entry=entry,
        legs=legs,
        effects=effects,
        writes=writes,
        roles=tuple(role for role, _ in kept),
        balances=tuple(standing[leg.account] for leg in legs),
        entry_posted=read_posted(item, replayed=False),
    )


class PostingPart(NamedTuple):
    """One of several entries that go into the books together."""

    entry: JournalEntry
    effects: Sequence[Effect]
    guards: Sequence[Write]


class PostingBatch(NamedTuple):
    """Several entries as one transaction; `posted` in their order."""

    writes: tuple[Write, ...]
    balances: tuple[Balance, ...]
    posted: tuple[PostedEntry, ...]


def compose_batch(
    postings: Sequence[PostingPart], balances: Sequence[Balance], now_ms: int
) -> PostingBatch:
    """Lay out several entries as one transaction: each account's balance is written once.

    `balances` are those of all accounts; the entries move each in one direction only.
    """
    before = {balance.account: balance for balance in balances}
    standing = dict(before)
    laid: list[tuple[WriteRole, Write | None]] = []
    items = [_lay_out(part, standing, now_ms, laid) for part in postings]
    writes = [write for _, write in laid if write is not None]
    writes += [write_balance(each, standing[account]) for account, each in before.items()]
    _check_distinct_keys(writes)
    posted = tuple(read_posted(item, replayed=False) for item in items)
    return PostingBatch(tuple(writes), tuple(standing.values()), posted)


def _lay_out(
    posting: PostingPart,
    balances: dict[str, Balance],
    now_ms: int,
    writes: list[tuple[WriteRole, Write | None]],
) -> Item:
    """Carry one entry: `standing` moves on, `parts` grows, the entry's item is returned."""
    legs = wallet_legs(posting.entry)
    # An entry and all its lines share a moment, and no wallet's lines go back in time.
    lined = [balances[leg.account] for leg in legs if kind_of(leg.account).has_lines]
    recorded_at = max([now_ms, *(balance.updated_at for balance in lined)])
    stamp = EntryStamp(posting.entry, recorded_at, legs[0].account)
    moves = {leg.account: apply_leg(leg, balances[leg.account], stamp) for leg in legs}
    lines = {account: moved.line.item for account, moved in moves.items() if moved.line}
    item = entry_item(posting.entry, recorded_at, lines)
    writes.append((WriteRole("entry"), Put(item=item, condition=IF_ABSENT)))
    writes += [(WriteRole("guard", i), guard) for i, guard in enumerate(posting.guards)]
    writes += [(WriteRole("effect", i), effect.write) for i, effect in enumerate(posting.effects)]
    for i, (account, moved) in enumerate(moves.items()):
        writes.append((WriteRole("line", i), moved.line))
        writes.append((WriteRole("listing", i), moved.listing))
        balances[account] = moved.balance_after
    return item


def read_posted(item: Item, *, replayed: bool) -> PostedEntry:
    """The answer that an entry's item holds, the same today and for ever."""
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


def _check_distinct_keys(writes: Sequence[Write]) -> None:
    keys = [_key_of(write) for write in writes]
    doubled = {key for key in keys if keys.count(key) > 1}
    if doubled:
        raise ValueError(f"two writes to {sorted(doubled)}")


def _key_of(write: Write) -> Key:
    return Key(write.item["PK"], write.item["SK"]) if isinstance(write, Put) else write.key
