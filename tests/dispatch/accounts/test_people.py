"""People: lists by standing, bounded searches, and what nodes read of changes."""

import pytest
from msgspec.structs import replace

from dispatch.accounts.people import (
    People,
    Person,
    change_standing,
    end_sign_ins,
    register_person,
    set_person_wallet,
    verify_person_phone,
    write_notice,
)
from dispatch.accounts.standing import Standing, StandingRules
from dispatch.errors import Refusal, Refused
from dispatch.storage.paging import PageRequest
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import TransactionCancelled

pytestmark = pytest.mark.engines


@pytest.fixture
def people(table: DynamoTable) -> People:
    return People(table, StandingRules())


def a_person(number: int, user_type: OwnerType = "RIDER") -> Person:
    return Person(
        person_id=f"rdr_{number}",
        user_type=user_type,
        standing=Standing.PENDING,
        registered_at=number,
        phone=f"+23767000000{number}",
        name=f"Awa {number}",
    )


async def decide(table: DynamoTable, before: Person, standing: Standing, at_ms: int = 9) -> Person:
    after = replace(before, standing=standing, standing_version=before.standing_version + 1)
    await table.transact([change_standing(before, after, at_ms), write_notice(after, at_ms)])
    return after


async def ids_of(people: People, standing: Standing | None, text: str = "") -> list[str]:
    """Every id of a list, read in pages of two."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = PageRequest(2, cursor)
        some, cursor = await people.list_people("RIDER", standing, text, page)
        found += [person.person_id for person in some]
        if cursor is None:
            return sorted(found)


async def test_people_are_listed_by_standing(people: People, table: DynamoTable):
    """Each is in the list of all and in that of its standing, which it leaves with a decision."""
    registered = [a_person(number) for number in range(5)]
    for person in registered:
        await table.transact([register_person(person, person.registered_at or 0)])
    await decide(table, registered[3], Standing.APPROVED)

    assert await ids_of(people, None) == [f"rdr_{number}" for number in range(5)]
    assert await ids_of(people, Standing.APPROVED) == ["rdr_3"]
    assert await ids_of(people, Standing.PENDING) == ["rdr_0", "rdr_1", "rdr_2", "rdr_4"]
    assert (await people.list_people("VENDOR", None, "", PageRequest(10)))[0] == []


@pytest.mark.parametrize("text", ["rdr_2", "awa 2", "670000002"])
async def test_people_are_found_by_id_name_or_phone(people: People, table: DynamoTable, text: str):
    """Upper and lower case are the same."""
    for number in range(5):
        await table.transact([register_person(a_person(number), number)])
    assert await ids_of(people, None, text) == ["rdr_2"]


async def test_a_person_known_from_a_token_is_decided_about(people: People, table: DynamoTable):
    """Until then it has no standing and is in no list."""
    unknown = await people.get("RIDER", "rdr_9")
    assert unknown == Person(person_id="rdr_9", user_type="RIDER")
    await decide(table, unknown, Standing.SUSPENDED)
    assert await ids_of(people, None) == await ids_of(people, Standing.SUSPENDED) == ["rdr_9"]


async def test_of_two_decisions_at_once_one_is_written(people: People, table: DynamoTable):
    """The second was taken without knowing the first."""
    unknown = await people.get("RIDER", "rdr_9")
    first = await decide(table, unknown, Standing.SUSPENDED)
    for stale in (unknown, replace(first, standing_version=7)):
        with pytest.raises(TransactionCancelled):
            await decide(table, stale, Standing.APPROVED)
    assert (await people.get("RIDER", "rdr_9")).standing is Standing.SUSPENDED


async def test_nodes_read_changes_and_barred_people(people: People, table: DynamoTable):
    """A change is told with its version; a node that starts reads who is barred."""
    suspended = await decide(table, a_person(1), Standing.SUSPENDED, at_ms=100)
    await decide(table, suspended, Standing.APPROVED, at_ms=200)
    await decide(table, a_person(2), Standing.CLOSED, at_ms=300)

    recent = await people.notices_since(200)
    assert [(each.person_id, each.standing_version) for each in recent] == [
        ("rdr_2", 1),
        ("rdr_1", 2),
    ]
    assert [each.person_id for each in await people.list_barred()] == ["rdr_2"]


async def test_other_facts_are_kept_beside_the_standing(people: People, table: DynamoTable):
    """Ends of sign-ins, a proven phone and a frozen wallet, also of unknown people."""
    await table.transact([end_sign_ins("RIDER", "rdr_9", 5)])
    await table.transact([verify_person_phone("RIDER", "rdr_9", 6)])
    await table.transact([set_person_wallet("RIDER", "rdr_9", "FROZEN")])
    found = await people.get("RIDER", "rdr_9")
    assert (found.sessions_valid_from, found.phone_verified_at) == (6, 6)
    assert (found.wallet_status, found.standing) == ("FROZEN", None)


async def test_only_active_people_pass(people: People, table: DynamoTable):
    """A refusal has standing and reason."""
    await people.require_active("RIDER", "rdr_9")
    person = replace(a_person(1), reason="papers are missing")
    await table.transact([register_person(person, 1)])
    with pytest.raises(Refused) as refused:
        await people.require_active("RIDER", "rdr_1")
    assert refused.value.code is Refusal.NOT_APPROVED
    assert refused.value.details == {"standing": "PENDING", "reason": "papers are missing"}
