"""Sentinel: connections lead to the primary that the sentinels name, and follow it."""

import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from dispatch.errors import StoreUnavailable
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import Scripts, open_redis, translate_redis_errors
from tests.redis_process import RedisProcess
from tests.redis_sentinel import SERVICE, SentinelGroup, start_sentinels
from tests.waiting import Until

pytestmark = pytest.mark.slow

CHANNEL = "orders:{1}:channel"
# Source: docs/promises.md; after the sentinels have switched.
BACK_S_MAX = 3.0


@pytest_asyncio.fixture(loop_scope="session")
async def group(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SentinelGroup]:
    """A primary, its replica and three sentinels."""
    async with start_sentinels(tmp_path_factory.mktemp("sentinel")) as started:
        yield started


@pytest.mark.parametrize("end", [RedisProcess.kill, RedisProcess.pause])
async def test_a_node_follows_the_primary_of_the_sentinels(
    group: SentinelGroup, until: Until, end: Callable[[RedisProcess], None]
):
    """After the primary was killed or has stood still, writes and messages go to the new one.

    Also where one of the sentinels is gone.
    """
    received: list[bytes] = []
    async with open_redis(group.url) as clients:
        pubsub = PubSub(clients)
        pipeline = Pipeline(clients.commands, Scripts(clients.commands))

        async def is_back() -> bool:
            received.clear()
            try:
                await pipeline.run([("SET", "key", "value"), ("SPUBLISH", CHANNEL, "message")])
                await pipeline.run([("GET", "key")])
            except StoreUnavailable:
                return False
            return bool(received)

        async with until.running(pubsub.run):
            await pubsub.subscribe(CHANNEL, received.append)
            await until.eventually(is_back)
            group.sentinels[0].kill()
            end(group.pair.primary)
            await until.eventually(group.has_switched, 30.0)
            began_s = time.monotonic()
            await until.eventually(is_back)
            took_s = time.monotonic() - began_s
            subscribers = await group.pair.replica.client.pubsub_shardnumsub(CHANNEL)

    assert took_s <= BACK_S_MAX
    assert subscribers == [(CHANNEL.encode(), 1)], "the former replica carries the messages"


async def test_a_service_that_no_sentinel_knows_is_unavailable(group: SentinelGroup):
    """A wrong name of the service is StoreUnavailable, which names it."""
    async with open_redis(group.url.replace(SERVICE, "other")) as clients:
        with pytest.raises(StoreUnavailable, match="other"), translate_redis_errors():
            await clients.commands.ping()
