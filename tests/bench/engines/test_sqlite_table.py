"""The table in a SQLite file reads like a ledger table."""

import asyncio
from pathlib import Path
from typing import Any

from bench.engines.sqlite_table import SqliteTable
from ledger.dynamodb.table import Key, Query


def test_pages_are_those_of_a_table(tmp_path: Path) -> None:
    """Pages go in both directions, by prefix and through an index; a missing item is None."""
    table = SqliteTable(tmp_path / "table")
    table.create()
    rows = [{"PK": "A", "SK": f"N#{n}", "GSI2PK": "L", "GSI2SK": f"{9 - n}"} for n in range(5)]
    table.put([*rows, {"PK": "A", "SK": "OTHER"}])
    table.flush()

    async def pages(**query: Any) -> list[list[str]]:
        found: list[list[str]] = []
        cursor = None
        while not found or cursor is not None:
            page = await table.query(Query(limit=2, cursor=cursor, **query))
            found.append([item["SK"] for item in page.items])
            cursor = page.cursor
        return found

    forward = asyncio.run(pages(pk="A", prefix="N#"))
    backward = asyncio.run(pages(pk="A", prefix="N#", forward=False))
    indexed = asyncio.run(pages(pk="L", index="GSI2"))
    assert forward == [["N#0", "N#1"], ["N#2", "N#3"], ["N#4"]]
    assert backward == [["N#4", "N#3"], ["N#2", "N#1"], ["N#0"]]
    assert indexed == backward
    assert asyncio.run(table.get(Key("A", "NONE"))) is None
    assert asyncio.run(table.get_many([Key("A", "N#1"), Key("B", "N#1")])) == [rows[1], None]


def test_items_with_the_same_keys_are_replaced(tmp_path: Path) -> None:
    """The last item put under its keys is read after `flush`."""
    table = SqliteTable(tmp_path / "table")
    table.create()
    for value in (1, 2):
        table.put([{"PK": "A", "SK": "B", "value": value}])
        table.flush()
    assert asyncio.run(table.get(Key("A", "B"))) == {"PK": "A", "SK": "B", "value": 2}
    table.close()
