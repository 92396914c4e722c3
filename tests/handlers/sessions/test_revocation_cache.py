"""The revocation cache: every node learns of revoked tokens, and their sockets are closed."""

from collections.abc import AsyncIterator

import pytest

from dispatch import keys
from dispatch.accounts.people import People
from dispatch.accounts.revocations import (
    PAGE_SIZE,
    REVOCATION_TTL_MS,
    RevocationRequest,
    Revocations,
    identity_subject,
    token_subject,
)
from dispatch.accounts.standing import StandingRules
from dispatch.clock import ManualClock
from dispatch.events.idempotency_records import request_key
from dispatch.settings import Settings
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, open_redis
from handlers.sessions.auth import Principal, TokenRefused, Tokens
from handlers.sessions.barred_identities import BarredIdentities
from handlers.sessions.revocation_cache import RevocationCache
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from tests.handlers.socket_edge import run_edge
from tests.waiting import Until

pytestmark = pytest.mark.engines

SETTINGS = Settings(jwt_secret="s" * 32)
AWA = "rider:rdr_1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(table: DynamoTable, redis: RedisClients, clock: ManualClock) -> Revocations:
    return Revocations(table, redis, clock)


@pytest.fixture
def pubsub(redis: RedisClients) -> PubSub:
    return PubSub(redis)


@pytest.fixture
def barred(table: DynamoTable) -> BarredIdentities:
    return BarredIdentities(People(table, StandingRules()))


@pytest.fixture
async def cache(
    store: Revocations, pubsub: PubSub, clock: ManualClock, barred: BarredIdentities
) -> RevocationCache:
    # Polling is left to the tests: a test would fail before it comes.
    return RevocationCache(store, pubsub, clock, barred, refresh_every_s=3600)


@pytest.fixture
def tokens(cache: RevocationCache) -> Tokens:
    return Tokens(SETTINGS, cache.is_revoked)


def revocation_request(*subjects: str) -> RevocationRequest:
    return RevocationRequest(subjects, "ops:adm_1", "a stolen phone")


def is_good(tokens: Tokens, token: str, clock: ManualClock) -> bool:
    try:
        return bool(tokens.verify(token, clock.now_ms()))
    except TokenRefused as refused:
        return refused.code != "token_invalid"


async def test_one_token_is_revoked(
    store: Revocations, cache: RevocationCache, tokens: Tokens, clock: ManualClock
):
    """Revoking one token leaves the other tokens of the same identity valid."""
    one, other = (tokens.issue("RIDER", "rdr_1", 600, clock.now_ms()) for _ in range(2))
    await store.add(
        revocation_request(token_subject(tokens.read(one, clock.now_ms()).token_id)), {}, None
    )
    assert is_good(tokens, one, clock)
    await cache.refresh()

    assert [is_good(tokens, each, clock) for each in (one, other)] == [False, True]


async def test_all_tokens_of_an_identity_are_revoked(
    store: Revocations, cache: RevocationCache, tokens: Tokens, clock: ManualClock
):
    """Those issued until then, in whole seconds; later ones and other identities' stay valid."""
    before = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    other = tokens.issue("USER", "rdr_1", 600, clock.now_ms())
    clock.advance(1_500)
    await store.add(revocation_request(identity_subject(AWA)), {}, None)
    await cache.refresh()
    same_second = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    clock.advance(1_000)
    after = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())

    good = [is_good(tokens, each, clock) for each in (before, same_second, after, other)]
    assert good == [False, False, True, True]


async def test_all_pages_of_revocations_are_read(
    store: Revocations, cache: RevocationCache, tokens: Tokens, clock: ManualClock
):
    """The first refresh reads every entry and calls `on_revoked` once; the next finds nothing."""
    subjects = [token_subject(f"tok_{number}") for number in range(PAGE_SIZE + 20)]
    for at in range(0, len(subjects), 40):
        await store.add(revocation_request(*subjects[at : at + 40]), {}, None)
        clock.advance(1)
    calls: list[int] = []
    cache.on_revoked = lambda: calls.append(len(cache))
    await cache.refresh()
    await cache.refresh()

    assert {entry.subject for entry in await store.since(0)} == set(subjects)
    assert calls == [len(subjects)]


async def test_expired_revocations_are_discarded(
    store: Revocations, cache: RevocationCache, tokens: Tokens, clock: ManualClock
):
    """The cache holds a revocation only until every token that it covers has expired."""
    await store.add(revocation_request(identity_subject(AWA)), {}, None)
    await cache.refresh()
    assert len(cache) == 1
    clock.advance(REVOCATION_TTL_MS)
    await cache.refresh()
    assert len(cache) == 0


async def test_a_repeated_revocation_has_one_effect(
    store: Revocations, table: DynamoTable, clock: ManualClock
):
    """A repeat gets the first answer, and one audit record says who revoked what and why."""
    key = request_key("ops:adm_1", "HTTP#1", b"")
    first = await store.add(revocation_request(identity_subject(AWA)), {"identities": [AWA]}, key)
    clock.advance(5_000)
    again = await store.add(revocation_request(identity_subject(AWA)), {"identities": [AWA]}, key)
    day = clock.now_ms() // 86_400_000
    records = (await table.query(Query(pk=f"AUDIT#{day}"))).items

    assert first == again
    assert len(await store.since(0)) == 1
    assert [(r["actor"], r["reason"]) for r in records] == [("ops:adm_1", "a stolen phone")]


@pytest.fixture
async def running_cache(cache: RevocationCache, pubsub: PubSub) -> AsyncIterator[RevocationCache]:
    async with Until().running(cache.run, pubsub.run):
        yield cache


@pytest.mark.usefixtures("running_cache")
async def test_a_revocation_is_announced_over_redis(
    store: Revocations, pubsub: PubSub, tokens: Tokens, clock: ManualClock, until: Until
):
    """It is known at once, long before the next poll."""
    token = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    await pubsub.subscribe(keys.revoked_channel(), lambda _: None)
    other = tokens.issue("RIDER", "rdr_2", 600, clock.now_ms())
    await store.add(revocation_request(identity_subject(AWA)), {}, None)
    await until.true(lambda: not is_good(tokens, token, clock))
    assert is_good(tokens, other, clock)


async def test_without_redis_the_table_is_polled(
    table: DynamoTable, clock: ManualClock, barred: BarredIdentities, until: Until
):
    """The table alone is enough, within the promised five seconds."""
    # Port 9 refuses connections.
    async with open_redis("redis://127.0.0.1:9") as unreachable:
        store = Revocations(table, unreachable, clock)
        cache = RevocationCache(store, PubSub(unreachable), clock, barred)
        tokens = Tokens(SETTINGS, cache.is_revoked)
        token = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
        other = tokens.issue("RIDER", "rdr_2", 600, clock.now_ms())
        async with until.running(cache.run):
            await store.add(revocation_request(identity_subject(AWA)), {}, None)
            await until.true(lambda: not is_good(tokens, token, clock), deadline_s=5)
            assert is_good(tokens, other, clock)


async def test_sockets_of_revoked_tokens_are_closed():
    """Other sockets stay, and the revoked token connects no new one."""
    revoked: set[str] = set()

    def is_revoked(principal: Principal) -> bool:
        return principal.identity in revoked

    async with (
        run_edge(is_revoked=is_revoked) as edge,
        edge.connect_rider("rdr_2") as other,
        edge.connect_rider() as raw,
    ):
        token = edge.issue_token()
        revoked.add(AWA)
        assert edge.sessions.end_revoked(is_revoked) == 1
        assert await raw.next_packet() == "closed"
        assert (await other.send_command("arrived_pickup", "ord_1"))["ok"] is True
        async with edge.connect() as again:
            assert await again.join("/rider", token=token) == '44/rider,{"message":"token_invalid"}'
