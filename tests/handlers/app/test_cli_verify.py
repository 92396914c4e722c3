"""`reeyo ledger verify`: its exit code, its report of a break, and its time range."""

import asyncio

import pytest
from click.testing import CliRunner, Result

from dispatch.clock import SystemClock
from handlers.app.cli import main
from ledger.core.accounts import line_key, user
from ledger.core.facts import TopUp
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Update
from ledger.posting.ledger import Ledger

pytestmark = [pytest.mark.engines, pytest.mark.dynamodb_engine]

# The audit leaves entries younger than a quarter of a minute to the next run.
AGE_MS = 60_000


async def verify(table: DynamoTable, *args: str) -> Result:
    """Run the command on a table."""
    environ = {
        "DYNAMODB_ENDPOINT": table.client.meta.endpoint_url,
        "DYNAMODB_TABLE": table.name,
        "REDIS_URL": "redis://unused",
    }
    command = ["ledger", "verify", *args]
    return await asyncio.to_thread(CliRunner(env=environ).invoke, main, command)


async def post_top_ups(table: DynamoTable) -> None:
    """Post three movements of a wallet, a minute ago."""
    ledger = Ledger(table, lambda: SystemClock().now_ms() - AGE_MS)
    for number in range(3):
        await ledger.post(TopUp("u", 1_000, "sandbox", f"p{number}"))


async def corrupt_line(table: DynamoTable, seq: int) -> None:
    """Add a franc to one line."""
    change = Update(
        key=line_key(user("u"), seq),
        expression="SET amount = amount + :one",
        values={":one": 1},
    )
    await table.transact([change])


async def test_a_ledger_without_breaks_exits_0(table: DynamoTable):
    """Nothing on stdout, the counts on stderr; an empty table has no breaks either."""
    empty = await verify(table)
    await post_top_ups(table)
    full = await verify(table)
    day = await verify(table, "--from", "2026-01-01", "--to", "2026-01-02T12:00")

    assert [each.exit_code for each in (empty, full, day)] == [0, 0, 0]
    assert full.stdout == ""
    assert "2 accounts, 3 lines, 3 entries" in full.stderr


async def test_the_first_break_is_printed_and_exits_1(table: DynamoTable):
    """With its rule, its line and the amounts; nothing is corrected."""
    await post_top_ups(table)
    before = await table.get(line_key(user("u"), 2))
    assert before is not None
    await corrupt_line(table, 2)
    result = await verify(table)
    after = await table.get(line_key(user("u"), 2))

    assert result.exit_code == 1
    assert result.stdout == "line_adds_up: USER#u line 2: 1000 +1001\n"
    assert after == {**before, "amount": 1_001}


async def test_a_break_outside_the_range_is_not_found(table: DynamoTable):
    """A day can be verified by itself, without reading last year's entries."""
    await post_top_ups(table)
    await corrupt_line(table, 1)
    result = await verify(table, "--from", "2030-01-01")

    assert result.exit_code == 0


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", "12"])
async def test_a_bad_time_exits_2(table: DynamoTable, when: str):
    """As every bad option; the message names the format."""
    result = await verify(table, "--from", when)

    assert result.exit_code == 2
    assert "ISO 8601" in result.stderr
