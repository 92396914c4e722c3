"""Recalled tokens: known at every node, and their sockets cut."""

from collections.abc import AsyncIterator

import pytest

from dispatch.accounts.revocations import (
    KEPT_MS,
    PAGE,
    Revocations,
    Wish,
    of_identity,
    of_token,
)
from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.idempotency_records import receipt_for
from dispatch.settings import Settings
from dispatch.storage.pubsub import Feeds
from dispatch.storage.redis_client import RedisClients
from handlers.sessions.auth import TokenRefused, Tokens
from handlers.sessions.revocation_cache import Revoked
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from tests.handlers.socket_edge import edge
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
async def revoked(store: Revocations, redis: RedisClients, clock: ManualClock):
    return Revoked(store, Feeds(redis), clock)


@pytest.fixture
def tokens(revoked: Revoked) -> Tokens:
    return Tokens(SETTINGS, revoked.holds)


def wish(*subjects: str) -> Wish:
    return Wish(subjects, "ops:adm_1", "a stolen phone")


def is_good(tokens: Tokens, token: str, clock: ManualClock) -> bool:
    try:
        return bool(tokens.verify(token, clock.now_ms()))
    except TokenRefused as refused:
        return refused.code != "token_invalid"


async def test_one_token_is_recalled(
    store: Revocations, revoked: Revoked, tokens: Tokens, clock: ManualClock
):
    """The others of its bearer stay."""
    one, other = (tokens.issue("RIDER", "rdr_1", 600, clock.now_ms()) for _ in range(2))
    await store.add(wish(of_token(tokens.read(one, clock.now_ms()).token_id)), {}, None)
    assert is_good(tokens, one, clock)
    await revoked.look()

    assert [is_good(tokens, each, clock) for each in (one, other)] == [False, True]


async def test_all_tokens_of_somebody_are_recalled(
    store: Revocations, revoked: Revoked, tokens: Tokens, clock: ManualClock
):
    """Those that he has; he may be given another, and nobody else loses anything."""
    before = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    other = tokens.issue("USER", "rdr_1", 600, clock.now_ms())
    clock.advance(1_500)
    await store.add(wish(of_identity(AWA)), {}, None)
    await revoked.look()
    same_second = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    clock.advance(1_000)
    after = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())

    good = [is_good(tokens, each, clock) for each in (before, same_second, after, other)]
    assert good == [False, False, True, True]


async def test_a_list_of_several_pages_is_read(
    store: Revocations, revoked: Revoked, tokens: Tokens, clock: ManualClock
):
    """A node that starts learns everything that may still matter."""
    subjects = [of_token(f"tok_{number}") for number in range(PAGE + 20)]
    for at in range(0, len(subjects), 40):
        await store.add(wish(*subjects[at : at + 40]), {}, None)
        clock.advance(1)
    told = []
    revoked.on_news = lambda: told.append(1)
    await revoked.look()
    await revoked.look()

    assert {entry.subject for entry in await store.since(0)} == set(subjects)
    assert told == [1]


async def test_what_no_token_outlives_is_forgotten(
    store: Revocations, revoked: Revoked, tokens: Tokens, clock: ManualClock
):
    """The memory holds a month of recalls and not more."""
    await store.add(wish(of_identity(AWA)), {}, None)
    await revoked.look()
    assert len(revoked._known) == 1
    clock.advance(KEPT_MS)
    await revoked.look()
    assert revoked._known == {}


async def test_a_repeated_recall_is_one(store: Revocations, table: DynamoTable, clock: ManualClock):
    """The same request gets its first answer, and one audit record says who did it and why."""
    receipt = receipt_for("ops:adm_1", "HTTP#1", b"")
    first = await store.add(wish(of_identity(AWA)), {"identities": [AWA]}, receipt)
    clock.advance(5_000)
    again = await store.add(wish(of_identity(AWA)), {"identities": [AWA]}, receipt)
    day = clock.now_ms() // 86_400_000
    records = (await table.query(Query(pk=f"AUDIT#{day}"))).items

    assert first == again
    assert len(await store.since(0)) == 1
    assert [(r["by"], r["reason"]) for r in records] == [("ops:adm_1", "a stolen phone")]


@pytest.fixture
async def listening(revoked: Revoked) -> AsyncIterator[Revoked]:
    async with Until().running(revoked.run, revoked._feeds.run):
        yield revoked


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself."""
    monkeypatch.setattr("handlers.sessions.revocation_cache.LOOK_EVERY_S", 3600)


@pytest.mark.usefixtures("patient")
async def test_news_come_over_redis(
    store: Revocations, listening: Revoked, tokens: Tokens, clock: ManualClock, until: Until
):
    """A recall is known at once, long before the next look."""
    token = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    await listening._feeds.open("tokens:{revoked}:news", lambda _: None)
    other = tokens.issue("RIDER", "rdr_2", 600, clock.now_ms())
    await store.add(wish(of_identity(AWA)), {}, None)
    await until.true(lambda: not is_good(tokens, token, clock))
    assert is_good(tokens, other, clock)


async def test_without_redis_the_list_is_looked_at(
    store: Revocations, listening: Revoked, tokens: Tokens, clock: ManualClock, until: Until
):
    """The table alone is enough, within the five seconds of the promise."""

    async def away(*_args: object) -> None:
        raise StoreUnavailable("redis", "timeout")

    store._redis.spublish = away
    token = tokens.issue("RIDER", "rdr_1", 600, clock.now_ms())
    other = tokens.issue("RIDER", "rdr_2", 600, clock.now_ms())
    await store.add(wish(of_identity(AWA)), {}, None)
    await until.true(lambda: not is_good(tokens, token, clock), deadline_s=5)
    assert is_good(tokens, other, clock)


async def test_sockets_of_recalled_tokens_are_cut():
    """The socket goes, the others stay, and the old token does not open another one."""
    recalled: set[str] = set()
    async with edge() as house, house.rider("rdr_2") as other, house.rider() as raw:
        house.tokens._is_revoked = lambda who: who.identity in recalled
        token = house.token()
        recalled.add(AWA)
        assert house.sessions.end_revoked(house.tokens._is_revoked) == 1
        assert await raw.next() == "closed"
        assert (await other.ask("arrived_pickup", "ord_1"))["ok"] is True
        async with house.raw() as again:
            assert await again.join("/rider", token=token) == '44/rider,{"message":"token_invalid"}'
