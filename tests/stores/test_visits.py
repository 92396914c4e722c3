"""Sockets of one identity, counted over nodes that may be killed, on a Redis that may be away."""

import asyncio
from typing import Any, cast

import pytest

from dispatch import keys, metrics
from dispatch.errors import StoreUnavailable
from dispatch.store.connect import Scripts
from dispatch.store.feeds import Feeds
from dispatch.store.inbox import Inboxes, parse_news
from dispatch.store.visits import ONE_TOO_MANY, Visits

ME = "user:usr_1"
MOST = 3


class Nodes:
    """Two nodes that count together, and what they hear of it."""

    def __init__(self, redis, scripts):
        self.redis = redis.commands
        self.feeds = Feeds(redis)
        self.one, self.two = (
            Visits(Inboxes(redis, scripts).together, scripts, name, MOST) for name in ("n1", "n2")
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


@pytest.fixture
async def nodes(redis, scripts, until):
    opened = Nodes(redis, scripts)
    async with until.running(opened.feeds.run):
        await opened.feeds.open(keys.inbox_channel(ME), opened.hear)
        yield opened


async def test_the_oldest_of_too_many_has_to_go(nodes, until):
    """Wherever it is: all nodes of the identity hear which one."""
    await nodes.enter(nodes.one, "a", "b")
    await nodes.enter(nodes.two, "c")
    assert nodes.heard == []
    await nodes.enter(nodes.two, "d")
    await until.true(lambda: len(nodes.heard) == 1)
    [told] = nodes.heard
    assert (told.seq, told.name, told.body) == (0, ONE_TOO_MANY, b'{"sid":"a"}')
    assert await nodes.held() == ["n1 b", "n2 c", "n2 d"]


async def test_who_leaves_makes_room(nodes):
    """And one who is noted again, as after a loss of Redis, is the same one in the same place."""
    await nodes.enter(nodes.one, "a", "b", "c")
    nodes.one.leave(ME, "b")
    await nodes.enter(nodes.two, "d")
    assert sorted(await nodes.held()) == ["n1 a", "n1 c", "n2 d"]
    came_ms = 1_763_000_000_000
    await nodes.redis.zadd(keys.visits(ME), {"n1 a": came_ms})
    await nodes.enter(nodes.one, "a")
    assert await nodes.redis.zscore(keys.visits(ME), "n1 a") == came_ms
    assert nodes.heard == []


async def test_sockets_of_a_killed_node_count_no_more(nodes):
    """It has said goodbye for none of them; where nobody knows who lives they stay."""
    await nodes.enter(nodes.one, "a", "b")
    await nodes.enter(nodes.two, "c")
    assert len(await nodes.held()) == MOST
    nodes.two.living = frozenset({"n2", "n3"})
    await nodes.enter(nodes.two, "d")
    assert await nodes.held() == ["n2 c", "n2 d"]
    assert nodes.heard == []


async def test_a_node_that_is_not_known_yet_keeps_its_own(nodes):
    """It has not reported so far; the others have."""
    nodes.one.living = frozenset({"n2"})
    await nodes.enter(nodes.one, "a", "b")
    assert await nodes.held() == ["n1 a", "n1 b"]


async def test_nobody_else_is_counted(nodes):
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
async def test_without_redis_nobody_waits_and_it_is_counted(redis, is_full):
    """Whoever comes is let in; a node's own count holds."""
    before = counted()
    away = cast("Any", Away(is_full))
    alone = Visits(away, Scripts(redis.commands), "n1", MOST)
    alone.enter(ME, "a")
    alone.leave(ME, "a")
    await asyncio.sleep(0)
    assert counted() - before == 2
