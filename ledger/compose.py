"""An entry as one transaction: every write, and what each of them stands for."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from ledger.accounts import Kind, kind_of
from ledger.effects import Effect
from ledger.entries import JournalEntry, Leg, entry_item
from ledger.fin import ABSENT
from ledger.table import Item, Key, Put, Write
from ledger.wallets import Balance, Line, Stamp, move, transaction_id


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
    stamp = Stamp(entry, now_ms, legs[0].account)
    moves = [move(leg, balance, stamp) for leg, balance in zip(legs, balances, strict=True)]
    lines = {
        leg.account: moved.line.item
        for leg, moved in zip(legs, moves, strict=True)
        if moved.line is not None
    }
    item = entry_item(entry, now_ms, lines)
    parts: list[tuple[Role, Write | None]] = [(Role("entry"), Put(item=item, condition=ABSENT))]
    parts += [(Role("guard", i), guard) for i, guard in enumerate(guards)]
    parts += [(Role("effect", i), effect.write) for i, effect in enumerate(effects)]
    for i, moved in enumerate(moves):
        parts.append((Role("balance", i), moved.balance))
        parts.append((Role("line", i), moved.line))
        parts.append((Role("listing", i), moved.listing))
    kept = [(role, write) for role, write in parts if write is not None]
    writes = tuple(write for _, write in kept)
    _check_keys(writes)
    return Draft(
        entry=entry,
        legs=legs,
        effects=effects,
        writes=writes,
        roles=tuple(role for role, _ in kept),
        balances=tuple(moved.after for moved in moves),
        posted=posted_from(item, replayed=False),
    )


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
