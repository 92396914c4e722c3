"""The DynamoDB table: one low-level client, a few verbs, and errors that say what to do next.

This file fixes the interface; orders and the ledger both write through it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

Item = dict[str, Any]


class Key(NamedTuple):
    """The primary key of an item."""

    pk: str
    sk: str


def time_sort_key(at_ms: int, name: str) -> str:
    """A sort key: the older first. Units: Unix milliseconds. Source: 13 digits last until 2286."""
    return f"{at_ms:013d}#{name}"


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """Write a whole item (with `PK` and `SK` inside), if `condition` holds."""

    item: Item
    condition: str | None = None
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """Change parts of an item, if `condition` holds."""

    key: Key
    expression: str
    condition: str | None = None
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    """Remove an item, if `condition` holds."""

    key: Key
    condition: str | None = None
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Change nothing, but let the transaction through only if `condition` holds."""

    key: Key
    condition: str
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


Write = Put | Update | Delete | Check


class CancelReason(NamedTuple):
    """Why one write of a cancelled transaction stood in the way; `code` is None where it did not.

    `item` is what was there when a condition failed.
    """

    code: str | None
    item: Item | None


class TransactionCancelled(Exception):
    """A condition did not hold; nothing was written. `reasons` stand in the order of the writes."""

    def __init__(self, reasons: Sequence[CancelReason]) -> None:
        super().__init__(tuple(reason.code for reason in reasons))
        self.reasons = tuple(reasons)

    def failed_positions(self) -> list[int]:
        """Positions of the writes whose condition failed."""
        return [i for i, r in enumerate(self.reasons) if r.code == "ConditionalCheckFailed"]


class TableUnavailable(Exception):
    """DynamoDB did not answer within the deadline; whether a write happened may be unknown."""


class Page(NamedTuple):
    """A part of a query's answer; `cursor` opens the next part, None at the end."""

    items: list[Item]
    cursor: str | None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Items of one partition in the order of their sort keys.

    `index` is None for the table or "GSI1".."GSI4"; `prefix` limits the sort key; `equals` filters
    by attributes after reading, and a page is still filled up to `limit` matches.
    """

    pk: str
    prefix: str = ""
    index: str | None = None
    limit: int = 50
    cursor: str | None = None
    forward: bool = True
    equals: dict[str, Any] = {}


class Table(Protocol):
    """What the house asks of DynamoDB. Reads are strongly consistent where the index allows it."""

    async def get(self, key: Key) -> Item | None:
        """One item, consistently read."""
        ...

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items in the order of `keys`; each consistent by itself, not with one another."""
        ...

    async def snapshot(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items as they stood at one moment (TransactGetItems)."""
        ...

    async def query(self, query: Query) -> Page:
        """One page of a partition or index."""
        ...

    async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
        """All writes or none; conflicts, throttling and lost replies are retried inside.

        A lost reply is retried with the same body and token.

        Errors: TransactionCancelled where a condition failed; TableUnavailable after the deadline.
        """
        ...
