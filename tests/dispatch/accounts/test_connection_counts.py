"""Sockets of one identity, counted over nodes that may be killed, on a Redis that may be away."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from dispatch import keys, metrics
from dispatch.accounts import connection_counts as module
from dispatch.accounts.connection_counts import ONE_TOO_MANY, OneTooMany, Visits
from dispatch.clock import SKEW_MS
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes, parse_news
from dispatch.events.operations_board import PULSE_MS
from dispatch.storage.pubsub import Feeds
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster

ME = "user:usr_1"
MOST = 3


class Nodes:
    """Three nodes that count together, and what they hear of it."""

    def __init__(self, redis, scripts):
        self.redis = redis.commands
        self.feeds = Feeds(redis)
        self.one, self.two, self.three = (
            Visits(Inboxes(redis, scripts).together, scripts, name, MOST)
            for name in ("n1", "n2", "n3")
        )
        self.heard = []

    def hear(self, message):
        self.heard.append(parse_news(message))

    async def held(self):
        return [each.decode() for each in await self.redis.zrange(keys.visits(ME), 0, -1)]

    async def enter(self, node, *sids):
        """One after the other: what is told at the same moment has no order."""
        for sid in sids:
            node.enter(ME, sid)
            await node._together.ask(("PING", keys.visits(ME)))

    async def now_ms(self):
        seconds, micros = await self.redis.time()
        return seconds * 1000 + micros // 1000

    async def judge(self, node, *reported, silent=()):
        """As after a second in which some have reported and others, killed or not, have not."""
        now_ms = await self.now_ms()
        reports = dict.fromkeys(silent, now_ms - 1) | dict.fromkeys(reported, now_ms + SKEW_MS)
        node.judge(reports)
        await node._together.ask(("PING", keys.visits(ME)))

    async def age(self, *visits):
        """As if these had been noted so long ago that their nodes' silence is known for death."""
        was_ms = await self.now_ms() - PULSE_MS - 1
        await self.redis.zadd(keys.visits(ME), dict.fromkeys(visits, was_ms), xx=True)


@pytest.fixture
async def nodes(redis: RedisClients, scripts: Scripts, until: Until):
    opened = Nodes(redis, scripts)
    async with until.running(opened.feeds.run):
        await opened.feeds.open(keys.inbox_channel(ME), opened.hear)
        yield opened


def sids(heard):
    """Who was told to go."""
    assert all((each.seq, each.name) == (0, ONE_TOO_MANY) for each in heard)
    return [msgspec.json.decode(each.body, type=OneTooMany).sid for each in heard]


async def test_the_oldest_of_too_many_has_to_go(nodes: Nodes, until: Until):
    """Wherever it is: all nodes of the identity hear which one, and it is told once."""
    await nodes.enter(nodes.one, "a", "b")
    await nodes.enter(nodes.two, "c", "d")
    assert nodes.heard == []
    await nodes.judge(nodes.two, "n1", "n2")
    await until.true(lambda: sids(nodes.heard) == ["a"])
    assert await nodes.held() == ["n1 b", "n2 c", "n2 d"]
    await nodes.judge(nodes.two, "n1", "n2")
    await nodes.enter(nodes.one, "b")
    assert sids(nodes.heard) == ["a"]


async def test_whoever_comes_while_others_are_judged_is_judged_after_them(
    nodes: Nodes, until: Until
):
    """A client that goes on and on finds no gap: what came later is too many all the same."""
    await nodes.enter(nodes.one, "a", "b")
    await nodes.enter(nodes.two, "c", "d")
    later_ms = await nodes.redis.zscore(keys.visits(ME), "n2 d") + 1
    await nodes.redis.zadd(keys.visits(ME), {"n1 e": later_ms})

    async def is_later():
        return await nodes.now_ms() > later_ms

    await until.eventually(is_later)
    await nodes.judge(nodes.two, "n1", "n2")
    await until.true(lambda: sids(nodes.heard) == ["a"])
    await nodes.judge(nodes.two, "n1", "n2")
    await until.true(lambda: sids(nodes.heard) == ["a", "b"])
    assert await nodes.held() == ["n2 c", "n2 d", "n1 e"]


async def test_who_leaves_makes_room(nodes: Nodes):
    """And one who is noted again, as after a loss of Redis, is the same one in the same place."""
    await nodes.enter(nodes.one, "a", "b", "c")
    nodes.one.leave(ME, "b")
    await nodes.enter(nodes.two, "d")
    assert sorted(await nodes.held()) == ["n1 a", "n1 c", "n2 d"]
    came_ms = 1_763_000_000_000
    await nodes.redis.zadd(keys.visits(ME), {"n1 a": came_ms})
    await nodes.enter(nodes.one, "a")
    assert await nodes.redis.zscore(keys.visits(ME), "n1 a") == came_ms
    await nodes.judge(nodes.one, "n1", "n2")
    assert nodes.heard == []


async def test_sockets_of_a_killed_server_push_nobody_out(nodes: Nodes):
    """A quiet app stays, though two others have come back before anybody knows of the kill.

    Each was counted twice for five seconds, and the oldest socket was told to stay away: the one
    that lived, for the dead ones hear nothing.
    """
    await nodes.enter(nodes.two, "quiet")
    await nodes.enter(nodes.one, "a", "b")
    await nodes.enter(nodes.three, "a2", "b2")
    await nodes.judge(nodes.three, "n2", "n3", silent=["n1"])
    assert nodes.heard == []
    await nodes.age("n1 a", "n1 b")
    await nodes.judge(nodes.three, "n2", "n3")
    assert nodes.heard == []
    assert await nodes.held() == ["n2 quiet", "n3 a2", "n3 b2"]


async def test_an_app_that_every_server_dies_under_pushes_nobody_out(nodes: Nodes):
    """Five kills in five seconds; what is left of each is not counted with what came after it."""
    await nodes.enter(nodes.two, "quiet")
    for at in range(5):
        await nodes.enter(nodes.one, f"a{at}")
        nodes.one._node = f"n1-{at}"
        await nodes.judge(nodes.two, "n2", silent=["n1", *(f"n1-{dead}" for dead in range(at))])
    assert nodes.heard == []


async def test_a_silent_node_is_waited_for(nodes: Nodes, until: Until):
    """One that was only slow has proved that its sockets live: then the oldest goes."""
    await nodes.enter(nodes.one, "a")
    await nodes.enter(nodes.two, "b", "c", "d")
    await nodes.judge(nodes.two, "n2", silent=["n1"])
    assert await nodes.held() == ["n1 a", "n2 b", "n2 c", "n2 d"]
    await nodes.judge(nodes.two, "n1", "n2")
    await until.true(lambda: sids(nodes.heard) == ["a"])
    assert await nodes.held() == ["n2 b", "n2 c", "n2 d"]


async def test_a_node_that_is_not_known_yet_keeps_its_own(nodes: Nodes):
    """It has not reported so far; that it noted a socket just now is a sign of life."""
    await nodes.enter(nodes.one, "a")
    await nodes.enter(nodes.two, "b", "c", "d")
    await nodes.judge(nodes.two, "n2")
    assert await nodes.held() == ["n1 a", "n2 b", "n2 c", "n2 d"]
    assert nodes.heard == []


async def test_too_many_are_not_forgotten_while_redis_is_away(nodes: Nodes, until: Until):
    """They are judged when it is back."""
    await nodes.enter(nodes.two, "a", "b", "c", "d")
    there = nodes.two._together
    for is_full in (True, False):
        nodes.two._together = Away(is_full)
        nodes.two.judge({"n2": await nodes.now_ms() + SKEW_MS})
        await asyncio.sleep(0)
    nodes.two._together = there
    await nodes.judge(nodes.two, "n2")
    await until.true(lambda: sids(nodes.heard) == ["a"])
    assert await nodes.held() == ["n2 b", "n2 c", "n2 d"]


async def test_so_many_wait_to_be_judged(
    nodes: Nodes, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Who finds no room is counted, and has its turn when its next socket comes."""
    before = counted()
    monkeypatch.setattr(module, "CROWDED_MAX", 0)
    await nodes.enter(nodes.one, "a", "b", "c", "d")
    assert counted() - before == 1
    monkeypatch.undo()
    await nodes.judge(nodes.one, "n1")
    assert len(await nodes.held()) == MOST + 1
    await nodes.enter(nodes.one, "e")
    await nodes.judge(nodes.one, "n1")
    await until.true(lambda: sids(nodes.heard) == ["a", "b"])
    assert await nodes.held() == ["n1 c", "n1 d", "n1 e"]


async def test_nobody_else_is_counted(nodes: Nodes):
    """Each identity has a line of its own, and it is forgotten."""
    for at in range(2 * MOST):
        nodes.one.enter(f"vendor:{at}", "s")
    await nodes.enter(nodes.one, "a")
    assert await nodes.held() == ["n1 a"]
    assert 0 < await nodes.redis.pttl(keys.visits(ME)) <= 24 * 3600_000


def counted():
    return metrics.LIMITS_ALONE.labels("sockets")._value.get()


class Away:
    """Stands where the round trips are shared, on a Redis that is away."""

    def __init__(self, is_full):
        self.is_full = is_full

    def put(self, _command):
        if self.is_full:
            raise StoreUnavailable("redis", "too many wait")
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(StoreUnavailable("redis", "away"))
        return answer


@pytest.mark.parametrize("is_full", [True, False])
async def test_without_redis_nobody_waits_and_it_is_counted(redis: RedisClients, is_full):
    """Whoever comes is let in; a node's own count holds."""
    before = counted()
    away = cast("Any", Away(is_full))
    alone = Visits(away, Scripts(redis.commands), "n1", MOST)
    alone.enter(ME, "a")
    alone.leave(ME, "a")
    await asyncio.sleep(0)
    assert counted() - before == 2
