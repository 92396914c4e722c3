"""Barred identities: who may not connect, read whole once and then change by change."""

import pytest

from dispatch.accounts.people import People, Person, change_standing, write_notice
from dispatch.accounts.standing import Standing, StandingRules
from handlers.sessions.barred_identities import BarredIdentities
from ledger.dynamodb.client import DynamoTable

pytestmark = pytest.mark.engines

AWA = "rider:rdr_1"


@pytest.fixture
def people(table: DynamoTable) -> People:
    return People(table, StandingRules())


async def decide(table: DynamoTable, people: People, standing: Standing, at_ms: int) -> None:
    before = await people.get("RIDER", "rdr_1")
    after = Person(
        person_id="rdr_1",
        user_type="RIDER",
        standing=standing,
        standing_version=before.standing_version + 1,
        reason=f"at {at_ms}",
    )
    await table.transact([change_standing(before, after, at_ms), write_notice(after, at_ms)])


async def test_a_node_that_starts_reads_who_is_barred(table: DynamoTable, people: People):
    """Also one who was barred long before the notices that are still kept."""
    await decide(table, people, Standing.CLOSED, 100)
    barred = BarredIdentities(people)
    assert barred.standing_of(AWA) is None
    assert await barred.refresh(since_ms=10_000)
    assert barred.standing_of(AWA) == (Standing.CLOSED, "at 100")
    assert len(barred) == 1


async def test_changes_are_read_once(table: DynamoTable, people: People):
    """A refresh says whether it found something new; the newest change counts."""
    barred = BarredIdentities(people)
    assert not await barred.refresh(since_ms=0)
    await decide(table, people, Standing.SUSPENDED, 100)
    assert await barred.refresh(since_ms=0)
    assert not await barred.refresh(since_ms=0)
    await decide(table, people, Standing.APPROVED, 200)
    assert await barred.refresh(since_ms=0)
    assert barred.standing_of(AWA) is None
    assert len(barred) == 0


@pytest.mark.parametrize(
    ("standing", "calls"),
    [
        (Standing.SUSPENDED, [AWA]),
        (Standing.UNDER_REVIEW, [AWA]),
        (Standing.REJECTED, [AWA]),
        (Standing.APPROVED, []),
    ],
)
async def test_inactive_people_are_reported(
    table: DynamoTable, people: People, standing: Standing, calls: list[str]
):
    """Whoever may not take part, also where it stays connected."""
    barred = BarredIdentities(people)
    reported: list[str] = []
    barred.on_inactive = reported.append
    await decide(table, people, standing, 100)
    await barred.refresh(since_ms=0)
    assert sorted(set(reported)) == calls


@pytest.mark.parametrize("steps", [2, 4])
async def test_an_older_change_bars_nobody(table: DynamoTable, people: People, steps: int):
    """A node that starts reads every notice of an hour, whose times may not be in sequence."""
    for number in range(steps):
        standing = Standing.APPROVED if number % 2 else Standing.SUSPENDED
        await decide(table, people, standing, 1_000 - number)
    barred = BarredIdentities(people)
    await barred.refresh(since_ms=0)
    assert barred.standing_of(AWA) is None
