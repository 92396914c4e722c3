"""An entry as one transaction: every write, and what each of them stands for."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from ledger.core.accounts import Kind, kind_of
from ledger.core.entries import JournalEntry, Leg, entry_item
from ledger.core.order_funds import ABSENT
from ledger.dynamodb.table import Item, Key, Put, Write
from ledger.records.effects import Effect
from ledger.records.wallets import (
    Balance,
    Line,
    Stamp,
    move,
    transaction_id,
    write_balance,
)


class Role(NamedTuple):
    """What a write is; `at` is its place among the guards, the effects or the legs."""

    kind: Literal["entry", "guard", "effect", "balance", "line", "listing"]
    at: int = 0


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that stands in the books. Units: whole XAF.

    `lines` are those of wallets, by account; `replayed` that it stood there before; `total` how
    much it moved.
    """

    entry_id: str
    lines: dict[str, Line]
    replayed: bool
    total: int


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction about to be tried."""

    entry: JournalEntry
    legs: tuple[Leg, ...]
    effects: Sequence[Effect]
    writes: tuple[Write, ...]
    roles: tuple[Role, ...]
    balances: tuple[Balance, ...]
    posted: Posted


def wallet_legs(entry: JournalEntry) -> tuple[Leg, ...]:
    """The legs that have a balance; an order's escrow is in its FIN."""
    return tuple(leg for leg in entry.legs if kind_of(leg.account) != Kind.ORDER)


def compose(
    entry: JournalEntry,
    effects: Sequence[Effect],
    guards: Sequence[Write],
    balances: Sequence[Balance],
    now_ms: int,
) -> Draft:
    """Lay out the transaction; `balances` stand in the order of `wallet_legs`."""
    legs = wallet_legs(entry)
    parts: list[tuple[Role, Write | None]] = []
    standing = {balance.account: balance for balance in balances}
    item = _carry(Part(entry, effects, guards), standing, now_ms, parts)
    for i, before in enumerate(balances):
        parts.append((Role("balance", i), write_balance(before, standing[before.account])))
    kept = [(role, write) for role, write in parts if write is not None]
    writes = tuple(write for _, write in kept)
    _check_keys(writes)
    return Draft(
        entry=entry,
        legs=legs,
        effects=effects,
        writes=writes,
        roles=tuple(role for role, _ in kept),
        balances=tuple(standing[leg.account] for leg in legs),
        posted=posted_from(item, replayed=False),
    )


class Part(NamedTuple):
    """One of several entries that go into the books together."""

    entry: JournalEntry
    effects: Sequence[Effect]
    guards: Sequence[Write]


class Bundle(NamedTuple):
    """Several entries as one transaction; `posted` in their order."""

    writes: tuple[Write, ...]
    balances: tuple[Balance, ...]
    posted: tuple[Posted, ...]


def compose_together(parts: Sequence[Part], balances: Sequence[Balance], now_ms: int) -> Bundle:
    """Lay out several entries as one transaction: each account's balance is written once.

    `balances` are those of all accounts; the entries move each in one direction only.
    """
    before = {balance.account: balance for balance in balances}
    standing = dict(before)
    laid: list[tuple[Role, Write | None]] = []
    items = [_carry(part, standing, now_ms, laid) for part in parts]
    writes = [write for _, write in laid if write is not None]
    writes += [write_balance(each, standing[account]) for account, each in before.items()]
    _check_keys(writes)
    posted = tuple(posted_from(item, replayed=False) for item in items)
    return Bundle(tuple(writes), tuple(standing.values()), posted)


def _carry(
    part: Part,
    standing: dict[str, Balance],
    now_ms: int,
    parts: list[tuple[Role, Write | None]],
) -> Item:
    """Carry one entry: `standing` moves on, `parts` grows, the entry's item is returned."""
    legs = wallet_legs(part.entry)
    # An entry and all its lines share a moment, and no wallet's lines go back in time.
    lined = [standing[leg.account] for leg in legs if kind_of(leg.account).has_lines]
    recorded_at = max([now_ms, *(balance.updated_at for balance in lined)])
    stamp = Stamp(part.entry, recorded_at, legs[0].account)
    moves = {leg.account: move(leg, standing[leg.account], stamp) for leg in legs}
    lines = {account: moved.line.item for account, moved in moves.items() if moved.line}
    item = entry_item(part.entry, recorded_at, lines)
    parts.append((Role("entry"), Put(item=item, condition=ABSENT)))
    parts += [(Role("guard", i), guard) for i, guard in enumerate(part.guards)]
    parts += [(Role("effect", i), effect.write) for i, effect in enumerate(part.effects)]
    for i, (account, moved) in enumerate(moves.items()):
        parts.append((Role("line", i), moved.line))
        parts.append((Role("listing", i), moved.listing))
        standing[account] = moved.after
    return item


def posted_from(item: Item, *, replayed: bool) -> Posted:
    """The answer that an entry's item holds, the same today and for ever."""
    entry_id = f"{item['PK']}/{item['SK']}"
    lines = {
        leg["account"]: Line(
            transaction_id(entry_id, leg["account"]), leg["seq"], leg["amount"], leg["after"]
        )
        for leg in item["legs"]
        if "seq" in leg
    }
    total = sum(leg["amount"] for leg in item["legs"] if leg["amount"] > 0)
    return Posted(entry_id=entry_id, lines=lines, replayed=replayed, total=total)


def _check_keys(writes: Sequence[Write]) -> None:
    keys = [_key_of(write) for write in writes]
    doubled = {key for key in keys if keys.count(key) > 1}
    if doubled:
        raise ValueError(f"two writes to {sorted(doubled)}")


def _key_of(write: Write) -> Key:
    return Key(write.item["PK"], write.item["SK"]) if isinstance(write, Put) else write.key
