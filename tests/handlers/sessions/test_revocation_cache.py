"""Recalled tokens: known at every node, and their sockets cut."""

from collections.abc import AsyncIterator

import pytest

from dispatch.accounts.revocations import (
    PAGE_SIZE,
    REVOCATION_TTL_MS,
    RevocationRequest,
    Revocations,
    identity_subject,
    token_subject,
)
from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.idempotency_records import request_key
from dispatch.settings import Settings
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients
from handlers.sessions.auth import TokenRefused, Tokens
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
async def cache(store: Revocations, redis: RedisClients, clock: ManualClock):
    return RevocationCache(store, PubSub(redis), clock)


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


async def test_one_token_is_recalled(
    store: Revocations, cache: RevocationCache, tokens: Tokens, clock: ManualClock
):
    """The others of its bearer stay."""
    one, other = (tokens.issue("RIDER", "rdr_1", 600, clock.now_ms()) for _ in range(2))
    await store.add(
        revocation_request(token_subject(tokens.read(one, clock.now_ms()).token_id)), {}, None
    )
    assert is_good(tokens, one, clock)
    await cache.refresh()

    assert [is_good(tokens, each, clock) for each in (one, other)] == [False, True]


async def test_all_tokens_of_somebody_are_recalled(
    store: Revocations, cache: RevocationCache, tokens: Tokens, clock: ManualClock
):
    """Those that he has; he may be given another, and nobody else loses anything."""
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


async def test_a_list_of_several_pages_is_read(
    store: Revocations, cache: RevocationCache, tokens: Tokens, clock: ManualClock
):
    """A node that starts learns everything that may still matter."""
    subjects = [token_subject(f"tok_{number}") for number in range(PAGE_SIZE + 20)]
    for at in range(0, len(subjects), 40):
        await store.add(revocation_request(*subjects[at : at + 40]), {}, None)
        clock.advance(1)
    told = []
    cache.on_revoked = lambda: told.append(1)
    await cache.refresh()
    await cache.refresh()

    assert {entry.subject for entry in await store.since(0)} == set(subjects)
    assert told == [1]


async def test_what_no_token_outlives_is_forgotten(
    store: Revocations, cache: RevocationCache, tokens: Tokens, clock: ManualClock
):
    """The memory holds a month of recalls and not more."""
    await store.add(revocation_request(identity_subject(AWA)), {}, None)
    await cache.refresh()
    assert len(cache._revoked_by_subject) == 1
    clock.advance(REVOCATION_TTL_MS)
    await cache.refresh()
    assert cache._revoked_by_subject == {}


async def test_a_repeated_recall_is_one(store: Revocations, table: DynamoTable, clock: ManualClock):
    """The same request gets its first answer, and one audit record says who did it and why."""
    receipt = request_key("ops:adm_1", "HTTP#1", b"")
    first = await store.add(
        revocation_request(identity_subject(AWA)), {"identities": [AWA]}, receipt
    )
    clock.advance(5_000)
    again = await store.add(
        revocation_request(identity_subject(AWA)), {"identities": [AWA]}, receipt
    )
    day = clock.now_ms() // 86_400_000
    records = (await table.query(Query(pk=f"AUDIT#{day}"))).items

    assert first == again
    assert len(await store.since(0)) == 1
    assert [(r["by"], r["reason"]) for r in records] == [("ops:adm_1", "a stolen phone")]


@pytest.fixture
async def running_cache(cache: RevocationCache) -> AsyncIterator[RevocationCache]:
    async with Until().running(cache.run, cache._pubsub.run):
        yield cache


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself."""
    monkeypatch.setattr("handlers.sessions.revocation_cache.REFRESH_EVERY_S", 3600)


@pytest.mark.usefixtures("no_polling")
async def test_news_come_over_redis(
    store: Revocations,
    running_cache: RevocationCache,
    tokens: Tokens,
    clock: ManualClock,
    until: Until,
):
    """A recall is known at once, long before the next look."""
    token = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    await running_cache._pubsub.subscribe("tokens:{revoked}:channel", lambda _: None)
    other = tokens.issue("RIDER", "rdr_2", 600, clock.now_ms())
    await store.add(revocation_request(identity_subject(AWA)), {}, None)
    await until.true(lambda: not is_good(tokens, token, clock))
    assert is_good(tokens, other, clock)


async def test_without_redis_the_list_is_looked_at(
    store: Revocations,
    running_cache: RevocationCache,
    tokens: Tokens,
    clock: ManualClock,
    until: Until,
):
    """The table alone is enough, within the five seconds of the promise."""

    async def away(*_args: object) -> None:
        raise StoreUnavailable("redis", "timeout")

    store._redis.spublish = away
    token = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    other = tokens.issue("RIDER", "rdr_2", 600, clock.now_ms())
    await store.add(revocation_request(identity_subject(AWA)), {}, None)
    await until.true(lambda: not is_good(tokens, token, clock), deadline_s=5)
    assert is_good(tokens, other, clock)


async def test_sockets_of_recalled_tokens_are_cut():
    """The socket goes, the others stay, and the old token does not open another one."""
    recalled: set[str] = set()
    async with (
        run_edge() as house,
        house.connect_rider("rdr_2") as other,
        house.connect_rider() as raw,
    ):
        house.tokens._is_revoked = lambda who: who.identity in recalled
        token = house.issue_token()
        recalled.add(AWA)
        assert house.sessions.end_revoked(house.tokens._is_revoked) == 1
        assert await raw.next_packet() == "closed"
        assert (await other.send_command("arrived_pickup", "ord_1"))["ok"] is True
        async with house.connect() as again:
            assert await again.join("/rider", token=token) == '44/rider,{"message":"token_invalid"}'
