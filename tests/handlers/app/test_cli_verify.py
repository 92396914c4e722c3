"""`reeyo ledger verify` says by its exit code whether the books are right, and names a break."""

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

pytestmark = pytest.mark.engines

# Entries younger than a quarter of a minute are left to the next look.
AGE_MS = 60_000


async def verify(table: DynamoTable, *args: str) -> Result:
    """Run the command on a table, as an operator beside the server."""
    environ = {
        "DYNAMODB_ENDPOINT": table.client.meta.endpoint_url,
        "DYNAMODB_TABLE": table.name,
        "REDIS_URL": "redis://unused",
    }
    command = ["ledger", "verify", *args]
    return await asyncio.to_thread(CliRunner(env=environ).invoke, main, command)


async def post_top_ups(table: DynamoTable) -> None:
    """Three movements of a wallet, a minute ago."""
    ledger = Ledger(table, lambda: SystemClock().now_ms() - AGE_MS)
    for number in range(3):
        await ledger.post(TopUp("u", 1_000, "sandbox", f"p{number}"))


async def corrupt_line(table: DynamoTable, seq: int) -> None:
    """A franc more in one line."""
    change = Update(
        key=line_key(user("u"), seq),
        expression="SET amount = amount + :one",
        values={":one": 1},
    )
    await table.transact([change])


async def test_right_books_end_with_zero(table: DynamoTable):
    """Nothing on stdout, what was looked at on stderr; an empty table is right, too."""
    empty = await verify(table)
    await post_top_ups(table)
    full = await verify(table)
    day = await verify(table, "--from", "2026-01-01", "--to", "2026-01-02T12:00")

    assert [each.exit_code for each in (empty, full, day)] == [0, 0, 0]
    assert full.stdout == ""
    assert "2 accounts, 3 lines, 3 entries" in full.stderr


async def test_the_first_break_is_named_and_ends_with_one(table: DynamoTable):
    """The rule, the place and the amounts of a franc too many; and nothing is corrected."""
    await post_top_ups(table)
    before = await table.get(line_key(user("u"), 2))
    assert before is not None
    await corrupt_line(table, 2)
    told = await verify(table)
    after = await table.get(line_key(user("u"), 2))

    assert told.exit_code == 1
    assert told.stdout == "line_adds_up: USER#u line 2: 1000 +1001\n"
    assert after == {**before, "amount": 1_001}


async def test_a_break_outside_of_the_span_is_not_looked_for(table: DynamoTable):
    """A day is verified by itself, so that last year's books need not be read every night."""
    await post_top_ups(table)
    await corrupt_line(table, 1)
    told = await verify(table, "--from", "2030-01-01")

    assert told.exit_code == 0


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", "12"])
async def test_a_time_that_is_none_is_refused(table: DynamoTable, when: str):
    """With two, as every wrong option; the books are not even opened."""
    told = await verify(table, "--from", when)

    assert told.exit_code == 2
    assert "ISO 8601" in told.stderr
