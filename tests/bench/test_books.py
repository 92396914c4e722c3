"""The bench of the audit makes right books, and has them called right; never how fast."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.books import audit_ledger, build_ledger
from bench.engines.sqlite_table import SqliteTable
from ledger.core.accounts import line_key, vendor
from ledger.dynamodb.table import Key, Query

LINES = 800


@pytest.fixture(scope="module")
def ledger_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred orders in a file."""
    path = tmp_path_factory.mktemp("books") / "books"
    build_ledger(path, LINES, seed=1)
    return path


def test_right_books_are_called_right(ledger_path: Path) -> None:
    """Every line and entry is looked at, and nothing is found."""
    came = asyncio.run(audit_ledger(ledger_path, LINES))
    assert (came.breaks, came.lines, came.entries) == ([], 800, 600)


def test_a_franc_too_many_is_found_among_them(ledger_path: Path) -> None:
    """One line of one vendor; put right again afterwards."""
    shelf = SqliteTable(ledger_path)
    key = line_key(vendor("v7"), 1)
    before = asyncio.run(shelf.get(key))
    assert before is not None
    shelf.put([{**before, "amount": before["amount"] + 1}])
    shelf.flush()
    came = asyncio.run(audit_ledger(ledger_path, LINES))
    shelf.put([before])
    shelf.flush()
    assert any("VENDOR#v7" in each for each in came.breaks)
    assert asyncio.run(audit_ledger(ledger_path, LINES)).breaks == []


def test_a_shelf_reads_as_a_table_does(tmp_path: Path) -> None:
    """Pages in both directions, by prefix and through an index; what is not there is None."""
    shelf = SqliteTable(tmp_path / "shelf")
    shelf.create()
    rows = [{"PK": "A", "SK": f"N#{n}", "GSI2PK": "L", "GSI2SK": f"{9 - n}"} for n in range(5)]
    shelf.put([*rows, {"PK": "A", "SK": "OTHER"}])
    shelf.flush()

    async def pages(**how: Any) -> list[list[str]]:
        found: list[list[str]] = []
        cursor = None
        while not found or cursor is not None:
            page = await shelf.query(Query(limit=2, cursor=cursor, **how))
            found.append([item["SK"] for item in page.items])
            cursor = page.cursor
        return found

    forward = asyncio.run(pages(pk="A", prefix="N#"))
    backward = asyncio.run(pages(pk="A", prefix="N#", forward=False))
    indexed = asyncio.run(pages(pk="L", index="GSI2"))
    assert forward == [["N#0", "N#1"], ["N#2", "N#3"], ["N#4"]]
    assert backward == [["N#4", "N#3"], ["N#2", "N#1"], ["N#0"]]
    assert indexed == backward
    assert asyncio.run(shelf.get(Key("A", "NONE"))) is None
    assert asyncio.run(shelf.get_many([Key("A", "N#1"), Key("B", "N#1")])) == [rows[1], None]
