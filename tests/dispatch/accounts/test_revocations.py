"""Revocations: written once, announced to every node, and listed until they expire."""

import pytest

from dispatch import keys
from dispatch.accounts.revocations import (
    PAGE_SIZE,
    REVOCATION_TTL_MS,
    SIGN_OUT_TTL_MS,
    RevocationRequest,
    Revocations,
    identity_subject,
    sign_in_subject,
    token_subject,
)
from dispatch.clock import ManualClock
from dispatch.events.audit_records import DAY_MS
from dispatch.events.idempotency_records import request_key
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, open_redis
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from tests.waiting import Until

REQUEST = RevocationRequest([token_subject("tok_1"), identity_subject("user:usr_1")], "ops:adm_1")
KEY = request_key("ops:adm_1", "cmd_1", b"body")


@pytest.fixture
def revocations(table: DynamoTable, redis: RedisClients, clock: ManualClock) -> Revocations:
    return Revocations(table, redis, clock)


async def subjects_since(revocations: Revocations, at_ms: int) -> list[str]:
    return [each.subject for each in await revocations.since(at_ms)]


async def test_revocations_are_listed_newest_first(revocations: Revocations, clock: ManualClock):
    """Every revocation since a time is listed, newest first, with its time and end."""
    start_ms = clock.now_ms()
    await revocations.add(REQUEST, {}, None)
    clock.advance(1_000)
    await revocations.add(RevocationRequest(["token:tok_2"], "ops:adm_1", until_ms=5), {}, None)
    found = await revocations.since(start_ms)
    assert found[0].subject == "token:tok_2"
    assert {each.subject for each in found[1:]} == set(REQUEST.subjects)
    assert (found[0].at_ms, found[0].until_ms) == (start_ms + 1_000, 5)
    assert found[1].until_ms == start_ms + REVOCATION_TTL_MS
    assert await subjects_since(revocations, start_ms + 1) == ["token:tok_2"]


async def test_repeat_has_one_effect(revocations: Revocations, clock: ManualClock):
    """A repeat revokes nothing again and gets the first answer."""
    first = await revocations.add(REQUEST, {"revoked": 2}, KEY)
    assert first == {"revoked": 2, "revokedAt": clock.now_ms()}
    clock.advance(1_000)
    assert await revocations.add(REQUEST, {"revoked": 2}, KEY) == first
    assert len(await revocations.since(0)) == 2


async def test_revocation_is_audited(
    revocations: Revocations, table: DynamoTable, clock: ManualClock
):
    """The audit record has the operator, the subjects and the reason."""
    await revocations.add(RevocationRequest(["token:tok_1"], "ops:adm_1", "stolen"), {}, None)
    [record] = (await table.query(Query(pk=f"AUDIT#{clock.now_ms() // DAY_MS}"))).items
    names = ("action", "actor", "resource", "details", "reason")
    assert {name: record[name] for name in names} == {
        "action": "revoke_tokens",
        "actor": "ops:adm_1",
        "resource": "token:tok_1",
        "details": {"subjects": ["token:tok_1"]},
        "reason": "stolen",
    }


async def test_sign_out_is_listed_for_an_hour(revocations: Revocations, clock: ManualClock):
    """A sign-out is listed while access tokens of the sign-in may live."""
    await revocations.end_sign_in("sin_1")
    assert await subjects_since(revocations, 0) == [sign_in_subject("sin_1")]
    clock.advance(SIGN_OUT_TTL_MS + 1)
    assert await subjects_since(revocations, 0) == []


async def test_every_page_is_read(revocations: Revocations):
    """More revocations than one page holds are all listed."""
    for number in range(0, PAGE_SIZE + 20, 20):
        tokens = [token_subject(f"tok_{number + n}") for n in range(20)]
        await revocations.add(RevocationRequest(tokens, "ops:adm_1"), {}, None)
    assert len(set(await subjects_since(revocations, 0))) == PAGE_SIZE + 20


async def test_nodes_are_notified(revocations: Revocations, redis: RedisClients, until: Until):
    """Each revocation and each sign-out is announced on the channel."""
    received: list[bytes] = []
    pubsub = PubSub(redis)
    async with until.running(pubsub.run):
        await pubsub.subscribe(keys.revoked_channel(), received.append)
        await revocations.add(REQUEST, {}, None)
        await revocations.end_sign_in("sin_1")
        await until.true(lambda: len(received) >= 2)
    assert len(received) == 2


async def test_revocation_succeeds_without_redis(table: DynamoTable, clock: ManualClock):
    """While Redis is unavailable tokens are revoked all the same."""
    async with open_redis("redis://127.0.0.1:1") as unavailable:
        revocations = Revocations(table, unavailable, clock)
        await revocations.add(REQUEST, {}, None)
        assert len(await revocations.since(0)) == 2
