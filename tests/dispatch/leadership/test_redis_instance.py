"""The instance id shows that Redis was emptied."""

import pytest

from dispatch.leadership.redis_instance import RedisInstance
from dispatch.storage.redis_client import RedisClients

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]


async def test_every_node_reads_the_same_id(redis: RedisClients):
    """The first reader sets the id, later ones find it."""
    first = await RedisInstance(redis).read_id()
    assert first
    assert await RedisInstance(redis).read_id() == first


async def test_an_emptied_redis_has_another_id(redis: RedisClients):
    """After FLUSHALL the id is a new one."""
    instance = RedisInstance(redis)
    before = await instance.read_id()
    await redis.commands.flushall()
    assert await instance.read_id() != before
