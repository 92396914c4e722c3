"""Journal entries: signed legs that sum to zero, under a key that the fact decides."""

import hashlib
from collections.abc import Iterable
from datetime import date
from typing import Any
from zlib import crc32

import msgspec
import orjson

from ledger.core.accounts import LIST_SHARDS, kind_of
from ledger.core.money import AMOUNT_MAX, CURRENCY
from ledger.dynamodb.table import Item, Key, time_sort_key

# Douala keeps UTC+1 the whole year. Source: IANA time zone Africa/Douala.
DAY_OFFSET_MS = 3_600_000
DAY_MS = 86_400_000


class UnbalancedEntry(ValueError):
    """Legs that cannot be a journal entry; a fault in a plan, never in what someone asked."""


class Leg(msgspec.Struct, frozen=True):
    """One account's part of an entry: a credit above zero, a debit below. Units: whole XAF."""

    account: str
    amount: int
    category: str


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in double entry.

    `key` is where it is kept, and decides that the fact happens once. `fact_hash` is a hash of the
    fact itself, which tells a repetition from a contradiction.
    """

    key: Key
    kind: str
    fact_hash: str
    legs: tuple[Leg, ...]
    order_id: str | None = None
    details: dict[str, Any] = {}

    @property
    def entry_id(self) -> str:
        """The entry's name in lines and answers."""
        return f"{self.key.pk}/{self.key.sk}"

    @property
    def total(self) -> int:
        """How much moved. Units: whole XAF."""
        return sum(leg.amount for leg in self.legs if leg.amount > 0)


def balance_legs(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """Legs of an entry: one an account, none of zero, in the order of their accounts.

    Errors: Unbalanced when they do not sum to zero, are none, or one passes the largest amount.
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
        raise UnbalancedEntry("an entry moves something")
    if sum(leg.amount for leg in kept) != 0:
        raise UnbalancedEntry(f"legs sum to {sum(leg.amount for leg in kept)}")
    if any(abs(leg.amount) > AMOUNT_MAX for leg in kept):
        raise UnbalancedEntry(f"a leg is above {AMOUNT_MAX}")
    return kept


def hash_fact(fact: msgspec.Struct) -> str:
    """A hash of everything a fact says. Source: SHA-256 over JSON with sorted keys."""
    body = [type(fact).__name__, msgspec.to_builtins(fact)]
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def business_day(at_ms: int) -> str:
    """The business day of a moment, as `2026-11-21` in Douala."""
    days = (at_ms + DAY_OFFSET_MS) // DAY_MS
    return date.fromordinal(date(1970, 1, 1).toordinal() + days).isoformat()


def entry_item(entry: JournalEntry, recorded_at_ms: int, lines: dict[str, Item]) -> Item:
    """The entry as it is kept; `lines` are the wallet lines that its legs became.

    DynamoDB: under its cause, and in GSI3 by business day, sharded.
    """
    key = entry.key
    shard = crc32(entry.entry_id.encode()) % LIST_SHARDS
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
        "GSI3PK": f"JE#{business_day(recorded_at_ms)}#{shard}",
        "GSI3SK": time_sort_key(recorded_at_ms, entry.entry_id),
    }


def _leg_item(leg: Leg, line: Item | None) -> Item:
    kept = {"account": leg.account, "amount": leg.amount}
    if line is not None:
        kept |= {"seq": line["seq"], "after": line["balanceAfter"]}
    return kept
