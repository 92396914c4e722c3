"""Journal entries: signed legs that sum to zero, under a key derived from their fact."""

import hashlib
from collections.abc import Iterable
from datetime import date
from typing import Any

import msgspec
import orjson

from ledger.core.accounts import kind_of, list_shard_of
from ledger.core.facts import Fact, entry_key
from ledger.core.money import AMOUNT_MAX, CURRENCY
from ledger.dynamodb.table import Item, Key, time_sort_key

# Douala is at UTC+1 all year. Source: IANA time zone Africa/Douala.
DAY_OFFSET_MS = 3_600_000
DAY_MS = 86_400_000


class UnbalancedEntry(ValueError):
    """Legs that do not form a journal entry; a bug in planning, never a wrong request."""


class Leg(msgspec.Struct, frozen=True):
    """One account's part of an entry: a credit above zero, a debit below. Units: whole XAF."""

    account: str
    amount: int
    category: str


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in double entry.

    `key` is the key of the entry's item; it is derived from the fact, so that a fact is posted
    once. `fact_hash` tells a repetition of the fact from another fact with the same key.
    """

    key: Key
    kind: str
    fact_hash: str
    legs: tuple[Leg, ...]
    order_id: str | None = None
    details: dict[str, Any] = {}

    @property
    def entry_id(self) -> str:
        """Name of the entry in wallet lines and answers."""
        return f"{self.key.pk}/{self.key.sk}"

    @property
    def total(self) -> int:
        """Sum of the credits: how much moved. Units: whole XAF."""
        return sum(leg.amount for leg in self.legs if leg.amount > 0)


def balance_legs(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """Merge legs to one per account, without zeros, sorted by account.

    Units: whole XAF.

    Errors: UnbalancedEntry where they do not sum to zero, none is left, or one is above AMOUNT_MAX.
    """
    merged: dict[str, Leg] = {}
    for leg in legs:
        kind_of(leg.account)
        before = merged.get(leg.account)
        amount = leg.amount + (before.amount if before else 0)
        category = before.category if before else leg.category
        merged[leg.account] = Leg(leg.account, amount, category)
    kept = tuple(leg for _, leg in sorted(merged.items()) if leg.amount)
    if not kept:
        raise UnbalancedEntry("the entry moves nothing")
    if sum(leg.amount for leg in kept) != 0:
        raise UnbalancedEntry(f"legs sum to {sum(leg.amount for leg in kept)}")
    if any(abs(leg.amount) > AMOUNT_MAX for leg in kept):
        raise UnbalancedEntry(f"a leg is above {AMOUNT_MAX}")
    return kept


def build_entry(
    fact: Fact, kind: str, legs: Iterable[Leg], order_id: str | None = None, **details: Any
) -> JournalEntry:
    """The entry of a fact; `details` are stored with it. Units: whole XAF.

    Errors: UnbalancedEntry as in `balance_legs`.
    """
    return JournalEntry(
        key=entry_key(fact),
        kind=kind,
        fact_hash=hash_fact(fact),
        legs=balance_legs(legs),
        order_id=order_id,
        details=details,
    )


def hash_fact(fact: msgspec.Struct) -> str:
    """Hash of all fields of a fact. Source: SHA-256 over JSON with sorted keys."""
    body = [type(fact).__name__, msgspec.to_builtins(fact)]
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def business_day(at_ms: int) -> str:
    """Business day of a moment, as `2026-11-21` in Douala. Units: Unix milliseconds."""
    days = (at_ms + DAY_OFFSET_MS) // DAY_MS
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).isoformat()


def entry_item(entry: JournalEntry, recorded_at_ms: int, lines: dict[str, Item]) -> Item:
    """Item of an entry; `lines` are the wallet lines of its legs, by account. Units: whole XAF.

    DynamoDB: under the key of its fact, and in GSI3 by business day, sharded.
    """
    key = entry.key
    return {
        "PK": key.pk,
        "SK": key.sk,
        "kind": entry.kind,
        "factHash": entry.fact_hash,
        "ccy": CURRENCY,
        "legs": [_leg_item(leg, lines.get(leg.account)) for leg in entry.legs],
        "orderId": entry.order_id,
        "recordedAt": recorded_at_ms,
        **entry.details,
        "GSI3PK": journal_pk(business_day(recorded_at_ms), list_shard_of(entry.entry_id)),
        "GSI3SK": time_sort_key(recorded_at_ms, entry.entry_id),
    }


def journal_pk(day: str, shard: int) -> str:
    """Partition of one shard of a business day's entries in GSI3."""
    return f"JE#{day}#{shard}"


def _leg_item(leg: Leg, line: Item | None) -> Item:
    item: Item = {"account": leg.account, "amount": leg.amount}
    if line is not None:
        item |= {"seq": line["seq"], "after": line["balanceAfter"]}
    return item
