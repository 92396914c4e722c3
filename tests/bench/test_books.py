"""The bench of the audit: a ledger without faults has none found, a planted one is found."""

import asyncio
from pathlib import Path

import pytest

from bench.books import audit_ledger, build_ledger
from bench.engines.sqlite_table import SqliteTable
from ledger.core.accounts import line_key, vendor

LINES = 800


@pytest.fixture(scope="module")
def ledger_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of two hundred orders in a file."""
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    build_ledger(path, LINES, seed=1)
    return path


def test_a_ledger_without_faults_has_no_breaks(ledger_path: Path) -> None:
    """Every line and entry is audited, and no break is found."""
    run = asyncio.run(audit_ledger(ledger_path, LINES))
    assert (run.breaks, run.lines, run.entries) == ([], 800, 600)


def test_one_franc_too_many_is_found(ledger_path: Path) -> None:
    """A changed amount in one line of one vendor is a break, until it is put back."""
    table = SqliteTable(ledger_path)
    key = line_key(vendor("v7"), 1)
    before = asyncio.run(table.get(key))
    assert before is not None
    table.put([{**before, "amount": before["amount"] + 1}])
    table.flush()
    run = asyncio.run(audit_ledger(ledger_path, LINES))
    table.put([before])
    table.flush()
    assert any("VENDOR#v7" in each for each in run.breaks)
    assert asyncio.run(audit_ledger(ledger_path, LINES)).breaks == []
