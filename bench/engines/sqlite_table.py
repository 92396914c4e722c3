"""A ledger table in one SQLite file: larger than memory, read by the audit without an engine."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from ledger.dynamodb.table import (
    Item,
    Key,
    Page,
    Put,
    Query,
)
from ledger.posting.transaction import TransactionDraft

_SCHEMA = """
CREATE TABLE item (pk TEXT, sk TEXT, body BLOB, PRIMARY KEY (pk, sk)) WITHOUT ROWID;
CREATE TABLE index_row (idx TEXT, pk TEXT, sk TEXT, item_pk TEXT, item_sk TEXT,
                        PRIMARY KEY (idx, pk, sk, item_pk, item_sk)) WITHOUT ROWID;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
"""
_INDEXES = ("GSI2", "GSI3")
# Rows written at a time.
BATCH_ROWS = 20_000
# Above every character of a key.
_KEY_END = "\U0010ffff"


class SqliteTable:
    """Reads like `ledger.dynamodb.table.Table`; a cursor is the last sort key of its page."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._item_rows: list[tuple[str, str, bytes]] = []
        self._index_rows: list[tuple[str, str, str, str, str]] = []

    def create(self) -> None:
        """Create the empty table."""
        self._connection.executescript(_SCHEMA)

    def put(self, items: Iterable[Item]) -> None:
        """Queue items to be written; `flush` replaces those with the same keys."""
        for item in items:
            pk, sk = item["PK"], item["SK"]
            self._item_rows.append((pk, sk, orjson.dumps(item)))
            self._index_rows += [
                (name, item[f"{name}PK"], item[f"{name}SK"], pk, sk)
                for name in _INDEXES
                if f"{name}PK" in item
            ]
        if len(self._item_rows) >= BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the queued items."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO item VALUES (?, ?, ?)", self._item_rows
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO index_row VALUES (?, ?, ?, ?, ?)", self._index_rows
        )
        self._connection.commit()
        self._item_rows.clear()
        self._index_rows.clear()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    async def get(self, key: Key) -> Item | None:
        """One item; None where there is none."""
        sql = "SELECT body FROM item WHERE pk = ? AND sk = ?"
        row = self._connection.execute(sql, key).fetchone()
        return None if row is None else orjson.loads(row[0])

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items in the order of `keys`."""
        return [await self.get(key) for key in keys]

    async def query(self, query: Query) -> Page:
        """One page of a partition or an index."""
        assert not query.equals, "the audit uses no filter"
        low, high = query.prefix, query.prefix + _KEY_END
        if query.cursor is not None and query.forward:
            low = query.cursor + "\0"
        elif query.cursor is not None:
            high = query.cursor
        order = "ASC" if query.forward else "DESC"
        if query.index is None:
            sql = (
                f"SELECT sk, body FROM item WHERE pk = ? AND sk >= ? AND sk < ? ORDER BY sk {order}"
            )
            rows = self._connection.execute(
                f"{sql} LIMIT ?", (query.pk, low, high, query.limit + 1)
            )
        else:
            sql = (
                "SELECT index_row.sk, body FROM index_row JOIN item ON item.pk = item_pk AND "
                "item.sk = item_sk WHERE idx = ? AND index_row.pk = ? AND index_row.sk >= ? AND "
                f"index_row.sk < ? ORDER BY index_row.sk {order} LIMIT ?"
            )
            wanted = (query.index, query.pk, low, high, query.limit + 1)
            rows = self._connection.execute(sql, wanted)
        found = rows.fetchall()
        page = found[: query.limit]
        cursor = page[-1][0] if len(found) > query.limit else None
        return Page([orjson.loads(body) for _, body in page], cursor)


def put_items(draft: TransactionDraft) -> list[Item]:
    """The items that a transaction puts; its updates of balances are left out."""
    return [write.item for write in draft.writes if isinstance(write, Put)]
