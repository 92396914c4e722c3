"""Sockets of one identity, counted over nodes that may be killed, on a Redis that may be away."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from dispatch import keys, metrics
from dispatch.accounts import connection_counts as module
from dispatch.accounts.connection_counts import (
    SOCKET_LIMIT_EXCEEDED,
    ConnectionCounts,
    SocketLimitExceeded,
)
from dispatch.clock import SKEW_MS
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes, parse_entry
from dispatch.events.operations_board import NODE_TIMEOUT_MS
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster

IDENTITY = "user:usr_1"
SOCKETS_MAX = 3


class Nodes:
    """Three nodes that count together, and what they hear of it."""

    def __init__(self, redis, scripts):
        self.redis = redis.commands
        self.feeds = PubSub(redis)
        self.one, self.two, self.three = (
            ConnectionCounts(Inboxes(redis, scripts).batcher, scripts, name, SOCKETS_MAX)
            for name in ("n1", "n2", "n3")
        )
        self.received = []

    def receive(self, message):
        self.received.append(parse_entry(message))

    async def sockets(self):
        return [
            each.decode() for each in await self.redis.zrange(keys.connections(IDENTITY), 0, -1)
        ]

    async def add(self, node, *sids):
        """One after the other: what is told at the same moment has no order."""
        for sid in sids:
            node.add(IDENTITY, sid)
            await node._batcher.submit(("PING", keys.connections(IDENTITY)))

    async def now_ms(self):
        seconds, micros = await self.redis.time()
        return seconds * 1000 + micros // 1000

    async def evict_excess(self, node, *reported, silent=()):
        """As after a second in which some have reported and others, killed or not, have not."""
        now_ms = await self.now_ms()
        reports = dict.fromkeys(silent, now_ms - 1) | dict.fromkeys(reported, now_ms + SKEW_MS)
        node.evict_excess(reports)
        await node._batcher.submit(("PING", keys.connections(IDENTITY)))

    async def age(self, *visits):
        """As if these had been noted so long ago that their nodes' silence is known for death."""
        was_ms = await self.now_ms() - NODE_TIMEOUT_MS - 1
        await self.redis.zadd(keys.connections(IDENTITY), dict.fromkeys(visits, was_ms), xx=True)


@pytest.fixture
async def nodes(redis: RedisClients, scripts: Scripts, until: Until):
    opened = Nodes(redis, scripts)
    async with until.running(opened.feeds.run):
        await opened.feeds.subscribe(keys.inbox_channel(IDENTITY), opened.receive)
        yield opened


def evicted_sids(entries):
    """Who was told to go."""
    assert all((each.seq, each.name) == (0, SOCKET_LIMIT_EXCEEDED) for each in entries)
    return [msgspec.json.decode(each.body, type=SocketLimitExceeded).sid for each in entries]


async def test_oldest_excess_socket_is_evicted(nodes: Nodes, until: Until):
    """Wherever it is: all nodes of the identity hear which one, and it is told once."""
    await nodes.add(nodes.one, "a", "b")
    await nodes.add(nodes.two, "c", "d")
    assert nodes.received == []
    await nodes.evict_excess(nodes.two, "n1", "n2")
    await until.true(lambda: evicted_sids(nodes.received) == ["a"])
    assert await nodes.sockets() == ["n1 b", "n2 c", "n2 d"]
    await nodes.evict_excess(nodes.two, "n1", "n2")
    await nodes.add(nodes.one, "b")
    assert evicted_sids(nodes.received) == ["a"]


async def test_socket_added_during_an_eviction_is_checked_next(nodes: Nodes, until: Until):
    """A client that goes on and on finds no gap: what came later is too many all the same."""
    await nodes.add(nodes.one, "a", "b")
    await nodes.add(nodes.two, "c", "d")
    later_ms = await nodes.redis.zscore(keys.connections(IDENTITY), "n2 d") + 1
    await nodes.redis.zadd(keys.connections(IDENTITY), {"n1 e": later_ms})

    async def is_later():
        return await nodes.now_ms() > later_ms

    await until.eventually(is_later)
    await nodes.evict_excess(nodes.two, "n1", "n2")
    await until.true(lambda: evicted_sids(nodes.received) == ["a"])
    await nodes.evict_excess(nodes.two, "n1", "n2")
    await until.true(lambda: evicted_sids(nodes.received) == ["a", "b"])
    assert await nodes.sockets() == ["n2 c", "n2 d", "n1 e"]


async def test_removed_socket_is_not_counted(nodes: Nodes):
    """And one who is noted again, as after a loss of Redis, is the same one in the same place."""
    await nodes.add(nodes.one, "a", "b", "c")
    nodes.one.remove(IDENTITY, "b")
    await nodes.add(nodes.two, "d")
    assert sorted(await nodes.sockets()) == ["n1 a", "n1 c", "n2 d"]
    came_ms = 1_763_000_000_000
    await nodes.redis.zadd(keys.connections(IDENTITY), {"n1 a": came_ms})
    await nodes.add(nodes.one, "a")
    assert await nodes.redis.zscore(keys.connections(IDENTITY), "n1 a") == came_ms
    await nodes.evict_excess(nodes.one, "n1", "n2")
    assert nodes.received == []


async def test_sockets_of_a_killed_node_evict_no_live_socket(nodes: Nodes):
    """A quiet app stays, though two others have come back before anybody knows of the kill.

    Each was counted twice for five seconds, and the oldest socket was told to stay away: the one
    that lived, for the dead ones hear nothing.
    """
    await nodes.add(nodes.two, "quiet")
    await nodes.add(nodes.one, "a", "b")
    await nodes.add(nodes.three, "a2", "b2")
    await nodes.evict_excess(nodes.three, "n2", "n3", silent=["n1"])
    assert nodes.received == []
    await nodes.age("n1 a", "n1 b")
    await nodes.evict_excess(nodes.three, "n2", "n3")
    assert nodes.received == []
    assert await nodes.sockets() == ["n2 quiet", "n3 a2", "n3 b2"]


async def test_repeated_kills_evict_no_live_socket(nodes: Nodes):
    """Five kills in five seconds; what is left of each is not counted with what came after it."""
    await nodes.add(nodes.two, "quiet")
    for at in range(5):
        await nodes.add(nodes.one, f"a{at}")
        nodes.one._node = f"n1-{at}"
        await nodes.evict_excess(
            nodes.two, "n2", silent=["n1", *(f"n1-{dead}" for dead in range(at))]
        )
    assert nodes.received == []


async def test_eviction_waits_for_a_silent_node(nodes: Nodes, until: Until):
    """One that was only slow has proved that its sockets live: then the oldest goes."""
    await nodes.add(nodes.one, "a")
    await nodes.add(nodes.two, "b", "c", "d")
    await nodes.evict_excess(nodes.two, "n2", silent=["n1"])
    assert await nodes.sockets() == ["n1 a", "n2 b", "n2 c", "n2 d"]
    await nodes.evict_excess(nodes.two, "n1", "n2")
    await until.true(lambda: evicted_sids(nodes.received) == ["a"])
    assert await nodes.sockets() == ["n2 b", "n2 c", "n2 d"]


async def test_unreported_node_keeps_its_sockets(nodes: Nodes):
    """It has not reported so far; that it noted a socket just now is a sign of life."""
    await nodes.add(nodes.one, "a")
    await nodes.add(nodes.two, "b", "c", "d")
    await nodes.evict_excess(nodes.two, "n2")
    assert await nodes.sockets() == ["n1 a", "n2 b", "n2 c", "n2 d"]
    assert nodes.received == []


async def test_excess_is_evicted_after_a_redis_outage(nodes: Nodes, until: Until):
    """They are judged when it is back."""
    await nodes.add(nodes.two, "a", "b", "c", "d")
    there = nodes.two._batcher
    for is_full in (True, False):
        nodes.two._batcher = UnavailableBatcher(is_full)
        nodes.two.evict_excess({"n2": await nodes.now_ms() + SKEW_MS})
        await asyncio.sleep(0)
    nodes.two._batcher = there
    await nodes.evict_excess(nodes.two, "n2")
    await until.true(lambda: evicted_sids(nodes.received) == ["a"])
    assert await nodes.sockets() == ["n2 b", "n2 c", "n2 d"]


async def test_pending_checks_are_bounded(
    nodes: Nodes, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Who finds no room is counted, and has its turn when its next socket comes."""
    before = count_unavailable()
    monkeypatch.setattr(module, "OVER_LIMIT_MAX", 0)
    await nodes.add(nodes.one, "a", "b", "c", "d")
    assert count_unavailable() - before == 1
    monkeypatch.undo()
    await nodes.evict_excess(nodes.one, "n1")
    assert len(await nodes.sockets()) == SOCKETS_MAX + 1
    await nodes.add(nodes.one, "e")
    await nodes.evict_excess(nodes.one, "n1")
    await until.true(lambda: evicted_sids(nodes.received) == ["a", "b"])
    assert await nodes.sockets() == ["n1 c", "n1 d", "n1 e"]


async def test_identities_are_counted_separately(nodes: Nodes):
    """Each identity has a line of its own, and it is forgotten."""
    for at in range(2 * SOCKETS_MAX):
        nodes.one.add(f"vendor:{at}", "s")
    await nodes.add(nodes.one, "a")
    assert await nodes.sockets() == ["n1 a"]
    assert 0 < await nodes.redis.pttl(keys.connections(IDENTITY)) <= 24 * 3600_000


def count_unavailable():
    return metrics.SHARED_LIMITS_UNAVAILABLE.labels("sockets")._value.get()


class UnavailableBatcher:
    """Stands where the round trips are shared, on a Redis that is away."""

    def __init__(self, is_full):
        self.is_full = is_full

    def submit(self, _command):
        if self.is_full:
            raise StoreUnavailable("redis", "too many wait")
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(StoreUnavailable("redis", "away"))
        return answer


@pytest.mark.parametrize("is_full", [True, False])
async def test_redis_outage_is_counted(redis: RedisClients, is_full):
    """Whoever comes is let in; a node's own count holds."""
    before = count_unavailable()
    away = cast("Any", UnavailableBatcher(is_full))
    alone = ConnectionCounts(away, Scripts(redis.commands), "n1", SOCKETS_MAX)
    alone.add(IDENTITY, "a")
    alone.remove(IDENTITY, "a")
    await asyncio.sleep(0)
    assert count_unavailable() - before == 2
