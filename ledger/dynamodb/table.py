"""The DynamoDB port: keys, writes, queries, errors, and the interface of the table.

Pure; the rules and records use it without the client. Orders and the ledger write through it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

# One item: attribute names to JSON values.
Item = dict[str, Any]

# Source: API limits of BatchGetItem and TransactWriteItems.
BATCH_KEYS_MAX = 100
TRANSACTION_WRITES_MAX = 100
# Source: DynamoDB API reference, TransactWriteItems, CancellationReasons.
CONDITION_FAILED = "ConditionalCheckFailed"


class Key(NamedTuple):
    """Primary key of an item."""

    pk: str
    sk: str


def time_sort_key(at_ms: int, name: str) -> str:
    """Sort key that puts the older first. Units: Unix ms. Source: 13 digits last until 2286."""
    return f"{at_ms:013d}#{name}"


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """Write a whole item (with `PK` and `SK` in it), if `condition` holds."""

    item: Item
    condition: str | None = None
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """Change attributes of an item, if `condition` holds; creates the item if it is missing."""

    key: Key
    expression: str
    condition: str | None = None
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    """Delete an item, if `condition` holds."""

    key: Key
    condition: str | None = None
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Change nothing, but cancel the transaction unless `condition` holds."""

    key: Key
    condition: str
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


Write = Put | Update | Delete | Check


def key_of(write: Write) -> Key:
    """Key of the item that a write is about."""
    return Key(write.item["PK"], write.item["SK"]) if isinstance(write, Put) else write.key


class CancelReason(NamedTuple):
    """Result of one write of a cancelled transaction; `code` is None where it did not fail.

    `item` is the item that was found when a condition failed.
    """

    code: str | None
    item: Item | None


class TransactionCancelled(Exception):
    """A condition failed and nothing was written; `reasons` are in the order of the writes."""

    def __init__(self, reasons: Sequence[CancelReason]) -> None:
        super().__init__(tuple(reason.code for reason in reasons))
        self.reasons = tuple(reasons)

    def failed_positions(self) -> list[int]:
        """Positions of the writes whose condition failed."""
        return [i for i, reason in enumerate(self.reasons) if reason.code == CONDITION_FAILED]


class TableUnavailable(Exception):
    """DynamoDB did not answer within the deadline; the outcome of a write may be unknown."""


class Page(NamedTuple):
    """One page of a query; `cursor` is where the next page starts, None on the last page."""

    items: list[Item]
    cursor: str | None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Items of one partition in the order of their sort keys.

    `index` is None for the table or "GSI1" to "GSI4"; `prefix` limits the sort key; `equals`
    filters by attributes after reading, and a page is still filled up to `limit` matches.
    """

    pk: str
    prefix: str = ""
    index: str | None = None
    limit: int = 50
    cursor: str | None = None
    forward: bool = True
    equals: dict[str, Any] = {}


class Table(Protocol):
    """Interface of the table. Reads are strongly consistent, except those of an index."""

    async def get(self, key: Key) -> Item | None:
        """One item, read consistently. Errors: TableUnavailable."""
        ...

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items in the order of `keys`; each consistent by itself, not with one another."""
        ...

    async def query(self, query: Query) -> Page:
        """One page of a partition or index.

        Errors: TableUnavailable; ValueError for a cursor of another list.
        """
        ...

    async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
        """All writes or none; conflicts, throttling and lost replies are retried inside.

        A lost reply is retried with the same body and token, so that it has one effect.

        Errors: TransactionCancelled where a condition failed; TableUnavailable after the deadline.
        """
        ...
