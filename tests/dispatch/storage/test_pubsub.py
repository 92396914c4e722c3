"""Pub/sub: no message is missed after `subscribe`, and lost connections are restored."""

import asyncio

import pytest

from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster


async def test_message_after_subscribe_is_delivered(redis: RedisClients, until: Until):
    """A message published right after `subscribe` returned is received, every time."""
    pubsub = PubSub(redis)
    received = []
    async with until.running(pubsub.run):
        for n in range(50):
            await pubsub.subscribe(f"channel:{n}", received.append)
            await redis.commands.spublish(f"channel:{n}", str(n))
        await until.true(lambda: len(received) == 50)

    # Channels of different shards have no order among one another.
    assert sorted(received, key=int) == [str(n).encode() for n in range(50)]


async def test_last_callback_ends_the_subscription(redis: RedisClients, until: Until):
    """The channel is unsubscribed with its last callback, not before."""
    pubsub = PubSub(redis)
    first, second = [], []
    on_first, on_second = first.append, second.append
    async with until.running(pubsub.run):
        await pubsub.subscribe("channel", on_first)
        await pubsub.subscribe("channel", on_second)
        await pubsub.unsubscribe("channel", on_first)
        await redis.commands.spublish("channel", "a")
        await until.true(lambda: second == [b"a"])
        await pubsub.unsubscribe("channel", on_second)
        await until.unsubscribed(redis.commands, "channel")

    assert first == []


@pytest.mark.one_redis
async def test_lost_connection_is_restored_and_reported(redis: RedisClients, until: Until):
    """After a lost connection the channel is subscribed again and the gap is reported once."""
    pubsub = PubSub(redis)
    received, gaps = [], []
    pubsub.on_gap(lambda: gaps.append(True))
    async with until.running(pubsub.run):
        await pubsub.subscribe("channel", received.append)
        await redis.commands.client_kill_filter(_type="pubsub")
        await until.true(lambda: bool(gaps))
        await redis.commands.spublish("channel", "again")
        await until.true(lambda: received == [b"again"])

    assert gaps == [True]


async def test_channels_subscribed_together_all_deliver(redis: RedisClients, until: Until):
    """A thousand channels subscribed at once each receive their own message."""
    pubsub = PubSub(redis)
    received: dict[str, list[bytes]] = {f"channel:{n}": [] for n in range(1_000)}
    async with until.running(pubsub.run):
        await asyncio.gather(
            *(pubsub.subscribe(name, messages.append) for name, messages in received.items())
        )
        async with redis.commands.pipeline(transaction=False) as pipe:
            for name in received:
                pipe.spublish(name, name)
            await pipe.execute()
        await until.true(lambda: all(received.values()))

    assert received == {name: [name.encode()] for name in received}


async def test_cancelled_subscriber_leaves_the_channel_to_others(redis: RedisClients, until: Until):
    """A caller that is cancelled before its subscription was sent does not lose it for others."""
    pubsub = PubSub(redis)
    received = []
    async with until.running(pubsub.run):
        await pubsub.subscribe("other", received.append)
        first = asyncio.ensure_future(pubsub.subscribe("channel", received.append))
        second = asyncio.ensure_future(pubsub.subscribe("channel", received.append))
        await asyncio.sleep(0)
        first.cancel()
        await second
        await redis.commands.spublish("channel", "a")
        await until.true(lambda: received == [b"a", b"a"])
    assert first.cancelled()


async def test_resubscribing_at_once_delivers(redis: RedisClients, until: Until):
    """A channel unsubscribed and subscribed again at once, as by a reconnect, delivers."""
    pubsub = PubSub(redis)
    received = []
    async with until.running(pubsub.run):
        for n in range(50):
            await pubsub.subscribe("channel", received.append)
            unsubscribing = asyncio.ensure_future(pubsub.unsubscribe("channel", received.append))
            await asyncio.sleep(0)
            subscribing = asyncio.ensure_future(pubsub.subscribe("channel", received.append))
            await asyncio.gather(unsubscribing, subscribing)
            await redis.commands.spublish("channel", str(n))
            await until.true(lambda n=n: received[n:] == [str(n).encode()])
            await pubsub.unsubscribe("channel", received.append)
    assert received == [str(n).encode() for n in range(50)]
