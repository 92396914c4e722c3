"""Standing decisions: allowed changes, audit record, recall, and repeats."""

import asyncio
from typing import Any, NamedTuple

import pytest

from dispatch.accounts.people import People
from dispatch.accounts.revocations import Revocations
from dispatch.accounts.sign_ins import SignIns
from dispatch.accounts.standing import TRANSITIONS, Standing, StandingRules
from dispatch.accounts.standing_decisions import StandingDecision, StandingDecisions
from dispatch.accounts.store import Account, Accounts, Login, NewCredentials
from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import request_key
from dispatch.riders.store import Riders, set_availability
from dispatch.storage.redis_client import RedisClients
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query

pytestmark = pytest.mark.engines

LOGIN = Login("RIDER", "237670000001")
S = Standing


@pytest.fixture
def people(table: DynamoTable) -> People:
    return People(table, StandingRules())


@pytest.fixture
def revocations(table: DynamoTable, redis: RedisClients, clock: ManualClock) -> Revocations:
    return Revocations(table, redis, clock)


@pytest.fixture
def decisions(
    table: DynamoTable, people: People, revocations: Revocations, clock: ManualClock
) -> StandingDecisions:
    return StandingDecisions(table, people, revocations, clock)


class Node(NamedTuple):
    """A table and the clock of those who write it."""

    table: DynamoTable
    clock: ManualClock


@pytest.fixture
def node(table: DynamoTable, clock: ManualClock) -> Node:
    return Node(table, clock)


@pytest.fixture
async def rider(accounts: Accounts) -> Account:
    made = await accounts.create(LOGIN, NewCredentials(password_hash="hash", name="Awa"))
    assert made is not None
    return made


async def audit_of(table: DynamoTable, clock: ManualClock) -> list[dict[str, Any]]:
    return (await table.query(Query(pk=f"AUDIT#{clock.now_ms() // 86_400_000}"))).items


def decision(person_id: str, standing: Standing, reason: str = "papers") -> StandingDecision:
    return StandingDecision("RIDER", person_id, standing, reason)


async def test_a_decision_is_written_with_its_audit_record(
    decisions: StandingDecisions,
    people: People,
    rider: Account,
    table: DynamoTable,
    clock: ManualClock,
):
    """Standing, reason, operator and time are kept, and who decided what stays."""
    clock.advance(5_000)
    answer = await decisions.decide(decision(rider.user_id, S.APPROVED), "adm_1", None)

    person = await people.get("RIDER", rider.user_id)
    assert (person.standing, person.reason, person.by) == (S.APPROVED, "papers", "adm_1")
    assert (answer["standing"], answer["at"], answer["name"]) == ("APPROVED", clock.now_ms(), "Awa")
    (record,) = await audit_of(table, clock)
    assert (record["action"], record["resource"]) == ("set_standing", f"rider:{rider.user_id}")
    assert record["details"] == {"before": "PENDING", "standing": "APPROVED"}


# How an id that only a token names is brought to each standing.
PATHS: dict[Standing, tuple[Standing, ...]] = {
    S.UNDER_REVIEW: (S.UNDER_REVIEW,),
    S.APPROVED: (S.APPROVED,),
    S.REJECTED: (S.UNDER_REVIEW, S.REJECTED),
    S.SUSPENDED: (S.SUSPENDED,),
    S.CLOSED: (S.CLOSED,),
}


@pytest.mark.parametrize("before", PATHS)
async def test_allowed_changes_are_made(
    decisions: StandingDecisions, people: People, before: Standing
):
    """Every standing that may follow, and the same one again."""
    for after in (before, *TRANSITIONS[before]):
        for step in (*PATHS[before], after):
            await decisions.decide(decision(f"rdr_{after}", step), "adm_1", None)
        assert (await people.get("RIDER", f"rdr_{after}")).standing is after


@pytest.mark.parametrize("before", PATHS)
async def test_other_changes_are_refused(
    decisions: StandingDecisions, people: People, before: Standing
):
    """Every other standing; the person's stays."""
    for step in PATHS[before]:
        await decisions.decide(decision("rdr_1", step), "adm_1", None)
    for after in set(Standing) - TRANSITIONS[before] - {before}:
        with pytest.raises(Refused) as refused:
            await decisions.decide(decision("rdr_1", after), "adm_1", None)
        assert refused.value.code is Refusal.WRONG_STATE
        assert (await people.get("RIDER", "rdr_1")).standing is before


@pytest.mark.parametrize("barred", [S.SUSPENDED, S.CLOSED])
async def test_a_barred_person_is_recalled_whole(
    decisions: StandingDecisions,
    revocations: Revocations,
    rider: Account,
    node: Node,
    barred: Standing,
):
    """Its tokens are revoked, its sign-ins cannot be renewed, it does not sign in, it is off duty.

    Approved again it signs in, and the old sign-in stays ended.
    """
    table, clock = node
    sign_ins = SignIns(table, clock)
    before = await sign_ins.begin(LOGIN, rider)
    await table.transact([set_availability(rider.user_id, available=True)])
    await decisions.decide(decision(rider.user_id, barred, "fraud"), "adm_1", None)

    subjects = [each.subject for each in await revocations.since(0)]
    assert subjects == [f"identity:rider:{rider.user_id}"]
    assert await sign_ins.renew(before.sign_in_id, 0) is None
    with pytest.raises(Refused) as refused:
        await sign_ins.begin(LOGIN, rider)
    assert refused.value.code is Refusal.NOT_APPROVED
    assert refused.value.details == {"standing": barred.value, "reason": "fraud"}
    assert not (await Riders(table, clock).workload(rider.user_id)).available

    for step in (S.UNDER_REVIEW, S.APPROVED):
        await decisions.decide(decision(rider.user_id, step), "adm_1", None)
    clock.advance(1_000)
    later = await sign_ins.begin(LOGIN, rider)
    assert await sign_ins.renew(before.sign_in_id, 0) is None
    assert await sign_ins.renew(later.sign_in_id, 0) is not None


async def test_a_repeated_decision_has_one_effect(
    decisions: StandingDecisions, people: People, table: DynamoTable, clock: ManualClock
):
    """Ten copies under one key, and the same decision again without one: one audit record."""
    key = request_key("ops:adm_1", "HTTP#1", b"body")
    suspended = decision("rdr_1", S.SUSPENDED)
    copies = (decisions.decide(suspended, "adm_1", key) for _ in range(10))
    answers = await asyncio.gather(*copies)
    answers.append(await decisions.decide(suspended, "adm_2", None))
    assert {answer["standing"] for answer in answers} == {"SUSPENDED"}
    assert len(await audit_of(table, clock)) == 1
    assert (await people.get("RIDER", "rdr_1")).standing_version == 1


async def test_operators_who_decide_at_once_do_not_overwrite_each_other(
    decisions: StandingDecisions, people: People, table: DynamoTable, clock: ManualClock
):
    """Each decision is one version with one record; the last standing is one of theirs."""
    wanted = [S.SUSPENDED, S.UNDER_REVIEW, S.CLOSED]
    results = await asyncio.gather(
        *(decisions.decide(decision("rdr_1", each), f"adm_{each}", None) for each in wanted),
        return_exceptions=True,
    )
    written = [each for each in results if isinstance(each, dict)]
    assert all(isinstance(each, dict | Refused) for each in results)
    person = await people.get("RIDER", "rdr_1")
    assert person.standing_version == len(written) == len(await audit_of(table, clock))
    assert person.standing in wanted
