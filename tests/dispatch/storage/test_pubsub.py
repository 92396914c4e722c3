"""Feeds: nothing is missed after `open`, and a lost connection is found again."""

import asyncio

import pytest

from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster


async def test_message_after_subscribe_is_delivered(redis: RedisClients, until: Until):
    """The subscription stands when `open` returns, every time."""
    feeds = PubSub(redis)
    heard = []
    async with until.running(feeds.run):
        for n in range(50):
            await feeds.subscribe(f"channel:{n}", heard.append)
            await redis.commands.spublish(f"channel:{n}", str(n))
        await until.true(lambda: len(heard) == 50)

    assert heard == [str(n).encode() for n in range(50)]


async def test_last_listener_ends_the_subscription(redis: RedisClients, until: Until):
    """A node that nobody on it listens for gets no messages."""
    feeds = PubSub(redis)
    first, second = [], []
    one, two = first.append, second.append
    async with until.running(feeds.run):
        await feeds.subscribe("channel", one)
        await feeds.subscribe("channel", two)
        await feeds.unsubscribe("channel", one)
        await redis.commands.spublish("channel", "a")
        await until.true(lambda: second == [b"a"])
        await feeds.unsubscribe("channel", two)
        await until.unsubscribed(redis.commands, "channel")

    assert first == []


@pytest.mark.one_redis
async def test_lost_connection_is_restored_and_reported(redis: RedisClients, until: Until):
    """After the cut the channel works again and whoever listens learns that there was a gap."""
    feeds = PubSub(redis)
    heard, gaps = [], []
    feeds.on_gap(lambda: gaps.append(True))
    async with until.running(feeds.run):
        await feeds.subscribe("channel", heard.append)
        await redis.commands.client_kill_filter(_type="pubsub")
        await until.true(lambda: bool(gaps))
        await redis.commands.spublish("channel", "again")
        await until.true(lambda: heard == [b"again"])

    assert gaps == [True]


async def test_channels_subscribed_together_all_deliver(redis: RedisClients, until: Until):
    """A thousand apps that come at once ask in a few writes, and each hears its own channel."""
    feeds = PubSub(redis)
    heard: dict[str, list[bytes]] = {f"channel:{n}": [] for n in range(1_000)}
    async with until.running(feeds.run):
        await asyncio.gather(*(feeds.subscribe(name, into.append) for name, into in heard.items()))
        async with redis.commands.pipeline(transaction=False) as pipe:
            for name in heard:
                pipe.spublish(name, name)
            await pipe.execute()
        await until.true(lambda: all(heard.values()))

    assert heard == {name: [name.encode()] for name in heard}


async def test_cancelled_subscriber_leaves_the_channel_to_others(redis: RedisClients, until: Until):
    """Two ask for a channel and the first goes before it was sent: the second hears it."""
    feeds = PubSub(redis)
    heard = []
    async with until.running(feeds.run):
        await feeds.subscribe("other", heard.append)
        first = asyncio.ensure_future(feeds.subscribe("channel", heard.append))
        second = asyncio.ensure_future(feeds.subscribe("channel", heard.append))
        await asyncio.sleep(0)
        first.cancel()
        await second
        await redis.commands.spublish("channel", "a")
        await until.true(lambda: heard == [b"a", b"a"])
    assert first.cancelled()


async def test_resubscribing_at_once_delivers(redis: RedisClients, until: Until):
    """Left and asked for again in the same moments, as by an app that reconnects."""
    feeds = PubSub(redis)
    heard = []
    async with until.running(feeds.run):
        for n in range(50):
            await feeds.subscribe("channel", heard.append)
            left = asyncio.ensure_future(feeds.unsubscribe("channel", heard.append))
            await asyncio.sleep(0)
            again = asyncio.ensure_future(feeds.subscribe("channel", heard.append))
            await asyncio.gather(left, again)
            await redis.commands.spublish("channel", str(n))
            await until.true(lambda n=n: heard[n:] == [str(n).encode()])
            await feeds.unsubscribe("channel", heard.append)
    assert heard == [str(n).encode() for n in range(50)]
