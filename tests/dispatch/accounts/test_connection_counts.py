"""Connection counts: the oldest excess sockets are evicted, through killed nodes and outages."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from concurrency.request_batcher import RequestBatcher
from dispatch import keys, metrics
from dispatch.accounts.connection_counts import (
    CONNECTIONS_TTL_MS,
    SOCKET_LIMIT_EXCEEDED,
    ConnectionCounts,
    SocketLimitExceeded,
)
from dispatch.clock import SKEW_MS
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes, parse_entry
from dispatch.events.node_reports import NODE_TIMEOUT_MS
from dispatch.storage.pipeline import Command
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.metric_values import metric_value
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster

IDENTITY = "user:usr_1"
KEY = keys.connections(IDENTITY)
SOCKETS_MAX = 3

Batcher = RequestBatcher[Command, Any]


class UnavailableBatcher:
    """A batcher without Redis: its queue is full, or every command fails."""

    def __init__(self, *, is_full: bool) -> None:
        self.is_full = is_full

    def submit(self, _command: Command) -> "asyncio.Future[Any]":
        if self.is_full:
            raise StoreUnavailable("redis", "too many wait")
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        reply.set_exception(StoreUnavailable("redis", "away"))
        return reply


class InterruptedBatcher:
    """A batcher that Redis can be taken away from."""

    def __init__(self, batcher: Batcher) -> None:
        self.connected = batcher
        self.current: Batcher | UnavailableBatcher = batcher

    def submit(self, command: Command) -> "asyncio.Future[Any]":
        return self.current.submit(command)


class Node:
    """One node's counts, and the batcher through which it counts."""

    def __init__(self, redis: RedisClients, scripts: Scripts, name: str, **limits: int) -> None:
        self.batcher = InterruptedBatcher(Inboxes(redis, scripts).batcher)
        batcher = cast("Batcher", self.batcher)
        self.counts = ConnectionCounts(batcher, scripts, name, SOCKETS_MAX, **limits)

    async def settle(self) -> None:
        """Wait until the commands submitted so far were answered."""
        await self.batcher.connected.request(("PING", KEY))
        await asyncio.sleep(0)

    async def add(self, *sids: str) -> None:
        """Add sockets one after the other, so that each is older than the next."""
        for sid in sids:
            self.counts.add(IDENTITY, sid)
            await self.settle()


class Cluster:
    """Three nodes that count together, and the messages they receive."""

    def __init__(self, redis: RedisClients, scripts: Scripts) -> None:
        self.clients, self.redis, self.scripts = redis, redis.commands, scripts
        self.pubsub = PubSub(redis)
        self.one, self.two, self.three = map(self.node, ("n1", "n2", "n3"))
        self.evicted: list[str] = []

    def node(self, name: str, **limits: int) -> Node:
        return Node(self.clients, self.scripts, name, **limits)

    def receive(self, message: bytes) -> None:
        entry = parse_entry(message)
        assert (entry.seq, entry.name) == (0, SOCKET_LIMIT_EXCEEDED)
        self.evicted.append(msgspec.json.decode(entry.body, type=SocketLimitExceeded).sid)

    async def sockets(self) -> list[str]:
        """The members of the identity's set, oldest first."""
        return [member.decode() for member in await self.redis.zrange(KEY, 0, -1)]

    async def now_ms(self) -> int:
        seconds, micros = await self.redis.time()
        return seconds * 1000 + micros // 1000

    async def evict_excess(self, node: Node, *reported: str, silent: tuple[str, ...] = ()) -> None:
        """Evict after a second in which some live nodes have reported and others have not."""
        now_ms = await self.now_ms()
        reports = dict.fromkeys(silent, now_ms - 1) | dict.fromkeys(reported, now_ms + SKEW_MS)
        node.counts.evict_excess(reports)
        await node.settle()

    async def make_old(self, *members: str) -> None:
        """Date sockets back to before the time after which a silent node counts as dead."""
        added_ms = await self.now_ms() - NODE_TIMEOUT_MS - 1
        await self.redis.zadd(KEY, dict.fromkeys(members, added_ms), xx=True)


@pytest.fixture
async def cluster(redis: RedisClients, scripts: Scripts, until: Until):
    opened = Cluster(redis, scripts)
    async with until.running(opened.pubsub.run):
        await opened.pubsub.subscribe(keys.inbox_channel(IDENTITY), opened.receive)
        yield opened


def count_unavailable() -> float:
    return metric_value(metrics.SHARED_LIMITS_UNAVAILABLE.labels("sockets"))


async def test_oldest_excess_socket_is_evicted(cluster: Cluster, until: Until):
    """The oldest socket above the limit is evicted once, on whichever node it is."""
    await cluster.one.add("a", "b")
    await cluster.two.add("c", "d")
    assert cluster.evicted == []
    await cluster.evict_excess(cluster.two, "n1", "n2")
    await until.true(lambda: cluster.evicted == ["a"])
    assert await cluster.sockets() == ["n1 b", "n2 c", "n2 d"]
    await cluster.evict_excess(cluster.two, "n1", "n2")
    await cluster.one.add("b")
    assert cluster.evicted == ["a"]


async def test_socket_added_during_an_eviction_is_checked_next(cluster: Cluster, until: Until):
    """A socket that is added after the checked time is counted by the next eviction."""
    await cluster.one.add("a", "b")
    await cluster.two.add("c", "d")
    later_ms = await cluster.redis.zscore(KEY, "n2 d") + 1
    await cluster.redis.zadd(KEY, {"n1 e": later_ms})

    async def is_later() -> bool:
        return await cluster.now_ms() > later_ms

    await until.eventually(is_later)
    await cluster.evict_excess(cluster.two, "n1", "n2")
    await until.true(lambda: cluster.evicted == ["a"])
    await cluster.evict_excess(cluster.two, "n1", "n2")
    await until.true(lambda: cluster.evicted == ["a", "b"])
    assert await cluster.sockets() == ["n2 c", "n2 d", "n1 e"]


async def test_removed_socket_is_not_counted(cluster: Cluster):
    """A removed socket makes room for another one."""
    await cluster.one.add("a", "b", "c")
    cluster.one.counts.remove(IDENTITY, "b")
    await cluster.one.settle()
    await cluster.two.add("d")
    assert sorted(await cluster.sockets()) == ["n1 a", "n1 c", "n2 d"]
    await cluster.evict_excess(cluster.one, "n1", "n2")
    assert cluster.evicted == []


async def test_socket_added_again_keeps_its_age(cluster: Cluster):
    """Adding a socket again, as after a loss of Redis, does not make it newer."""
    await cluster.one.add("a")
    added_ms = 1_763_000_000_000
    await cluster.redis.zadd(KEY, {"n1 a": added_ms})
    await cluster.one.add("a")
    assert await cluster.redis.zscore(KEY, "n1 a") == added_ms


async def test_sockets_of_a_killed_node_evict_no_live_socket(cluster: Cluster):
    """Clients that reconnect after a kill do not evict an older live socket.

    They were counted twice until the killed node counted as dead, and the oldest socket, a live
    one, was told to close.
    """
    await cluster.two.add("quiet")
    await cluster.one.add("a", "b")
    await cluster.three.add("a2", "b2")
    await cluster.evict_excess(cluster.three, "n2", "n3", silent=("n1",))
    assert cluster.evicted == []
    await cluster.make_old("n1 a", "n1 b")
    await cluster.evict_excess(cluster.three, "n2", "n3")
    assert cluster.evicted == []
    assert await cluster.sockets() == ["n2 quiet", "n3 a2", "n3 b2"]


async def test_repeated_kills_evict_no_live_socket(cluster: Cluster):
    """Five kills in five seconds leave sockets of dead nodes that evict no live one."""
    await cluster.two.add("quiet")
    names = ["n1", *(f"n1-{at}" for at in range(4))]
    for at, name in enumerate(names):
        await cluster.node(name).add(f"a{at}")
        await cluster.evict_excess(cluster.two, "n2", silent=tuple(names[: at + 1]))
    assert cluster.evicted == []


async def test_eviction_waits_for_a_silent_node(cluster: Cluster, until: Until):
    """Sockets of a slow node are not counted before its report, and then the oldest is evicted."""
    await cluster.one.add("a")
    await cluster.two.add("b", "c", "d")
    await cluster.evict_excess(cluster.two, "n2", silent=("n1",))
    assert await cluster.sockets() == ["n1 a", "n2 b", "n2 c", "n2 d"]
    await cluster.evict_excess(cluster.two, "n1", "n2")
    await until.true(lambda: cluster.evicted == ["a"])
    assert await cluster.sockets() == ["n2 b", "n2 c", "n2 d"]


async def test_unreported_node_keeps_its_sockets(cluster: Cluster):
    """A node that has not reported yet keeps sockets that it added just now."""
    await cluster.one.add("a")
    await cluster.two.add("b", "c", "d")
    await cluster.evict_excess(cluster.two, "n2")
    assert await cluster.sockets() == ["n1 a", "n2 b", "n2 c", "n2 d"]
    assert cluster.evicted == []


async def test_excess_is_evicted_after_a_redis_outage(cluster: Cluster, until: Until):
    """A check that fails, at once or later, is repeated by the next eviction."""
    await cluster.two.add("a", "b", "c", "d")
    for is_full in (True, False):
        cluster.two.batcher.current = UnavailableBatcher(is_full=is_full)
        await cluster.evict_excess(cluster.two, "n2")
    cluster.two.batcher.current = cluster.two.batcher.connected
    await cluster.evict_excess(cluster.two, "n2")
    await until.true(lambda: cluster.evicted == ["a"])
    assert await cluster.sockets() == ["n2 b", "n2 c", "n2 d"]


async def test_pending_checks_are_bounded(cluster: Cluster, until: Until):
    """An identity above the bound is counted, and checked after its next socket."""
    before = count_unavailable()
    full = cluster.node("n1", over_limit_max=0)
    await full.add("a", "b", "c", "d")
    assert count_unavailable() - before == 1
    await cluster.evict_excess(full, "n1")
    assert len(await cluster.sockets()) == SOCKETS_MAX + 1
    await cluster.one.add("e")
    await cluster.evict_excess(cluster.one, "n1")
    await until.true(lambda: cluster.evicted == ["a", "b"])
    assert await cluster.sockets() == ["n1 c", "n1 d", "n1 e"]


async def test_identities_are_counted_separately(cluster: Cluster):
    """Each identity has a set of its own, which expires a day after its last socket."""
    for at in range(2 * SOCKETS_MAX):
        cluster.one.counts.add(f"vendor:{at}", "s")
    await cluster.one.add("a")
    assert await cluster.sockets() == ["n1 a"]
    assert 0 < await cluster.redis.pttl(KEY) <= CONNECTIONS_TTL_MS


@pytest.mark.parametrize("is_full", [True, False])
async def test_redis_outage_is_counted(redis: RedisClients, is_full: bool):
    """While Redis is unavailable adding and removing sockets raises nothing and is counted."""
    before = count_unavailable()
    batcher = cast("Batcher", UnavailableBatcher(is_full=is_full))
    alone = ConnectionCounts(batcher, Scripts(redis.commands), "n1", SOCKETS_MAX)
    alone.add(IDENTITY, "a")
    alone.remove(IDENTITY, "a")
    await asyncio.sleep(0)
    assert count_unavailable() - before == 2
