"""Write probe: every primary takes a write, or the probe fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dispatch.errors import StoreUnavailable
from dispatch.storage.failover.write_probe import WriteProbe
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from tests.redis_cluster import LocalCluster, start_cluster
from tests.redis_process import start_pair

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(loop_scope="session")
async def local_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """A cluster of the test's own, since the test changes it."""
    async with start_cluster(tmp_path_factory.mktemp("cluster")) as opened:
        yield opened


@pytest.mark.redis_cluster
async def test_a_working_redis_is_written_to(redis: RedisClients):
    """The probe leaves a key that ends by itself at each primary, and repeats it."""
    probe = WriteProbe(redis, Scripts(redis.commands))
    await probe.run()
    before = await redis.commands.dbsize()
    await probe.run()

    assert before == await redis.commands.dbsize()
    assert before in (1, 3)


async def test_a_replica_fails_the_probe(tmp_path_factory: pytest.TempPathFactory):
    """A replica answers a PING and takes no write."""
    async with (
        start_pair(tmp_path_factory.mktemp("pair")) as pair,
        open_redis(f"redis://127.0.0.1:{pair.replica.port}") as clients,
    ):
        assert await clients.commands.ping()
        with pytest.raises(StoreUnavailable):
            await WriteProbe(clients, Scripts(clients.commands)).run()


async def test_one_shard_that_is_down_fails_the_probe(local_cluster: LocalCluster):
    """While one server of a cluster is paused the probe does not succeed."""
    async with open_redis(local_cluster.url) as clients:
        probe = WriteProbe(clients, Scripts(clients.commands))
        await probe.run()
        local_cluster.shards[1].pause()
        try:
            with pytest.raises((StoreUnavailable, TimeoutError)):
                async with asyncio.timeout(1.0):
                    await probe.run()
        finally:
            local_cluster.shards[1].resume()
