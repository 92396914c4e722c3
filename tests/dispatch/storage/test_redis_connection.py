"""Redis connections: a server that is the wrong one loses all of them, and no other does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from redis.asyncio.connection import Connection
from redis.exceptions import ResponseError

from dispatch import metrics
from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import servers_of
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis, translate_redis_errors
from dispatch.storage.redis_connection import CONNECTION_CLASSES, OpenConnections
from tests.metric_values import metric_value
from tests.redis_process import RedisPair, start_pair
from tests.tcp_switch import TcpSwitch, start_switch
from tests.waiting import Until

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisPair]:
    """A primary and its replica."""
    async with start_pair(tmp_path_factory.mktemp("pair")) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def switch(pair: RedisPair) -> AsyncIterator[TcpSwitch]:
    """A switch that leads to the primary."""
    async with start_switch(pair.primary.port) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def clients(switch: TcpSwitch) -> AsyncIterator[RedisClients]:
    """The clients of one node."""
    async with open_redis(switch.url) as opened:
        yield opened


async def call_library(clients: RedisClients) -> None:
    with translate_redis_errors():
        await clients.commands.set("key", "value")


async def call_library_pipeline(clients: RedisClients) -> None:
    with translate_redis_errors():
        async with clients.commands.pipeline(transaction=False) as pipe:
            pipe.get("key")
            pipe.set("key", "value")
            await pipe.execute()


async def call_library_transaction(clients: RedisClients) -> None:
    with translate_redis_errors():
        async with clients.commands.pipeline(transaction=True) as pipe:
            pipe.set("key", "value")
            await pipe.execute()


async def call_pipeline(clients: RedisClients) -> None:
    pipeline = Pipeline(clients.commands, Scripts(clients.commands))
    await pipeline.run([("GET", "key"), ("SET", "key", "value"), ("GET", "key")])


async def call_script(clients: RedisClients) -> None:
    await Scripts(clients.commands).run("lease_acquire", ["lease:{z}", "lease:{z}:token"], ["n", 1])


@pytest.mark.parametrize(
    "call",
    [call_library, call_library_pipeline, call_library_transaction, call_pipeline, call_script],
)
async def test_a_refused_write_ends_every_connection_to_the_replica(
    pair: RedisPair,
    switch: TcpSwitch,
    clients: RedisClients,
    until: Until,
    call: Callable[[RedisClients], Awaitable[None]],
):
    """However a write is made, READONLY ends the connections of both clients, in use or idle.

    The next calls reach the new primary, all at the first try.
    """
    await call(clients)
    await asyncio.gather(*(clients.commands.ping() for _ in range(5)))
    listening = servers_of(clients.listener).make_connection("")
    await listening.connect()
    old = pair.primary.port
    await pair.fail_over()
    switch.target = pair.primary.port
    with pytest.raises(StoreUnavailable):
        await call(clients)
    await until.true(lambda: switch.count(old) == 0)
    await asyncio.gather(*(call(clients) for _ in range(5)))

    assert not listening.is_connected
    assert switch.count(pair.primary.port) > 0
    await pair.wait_synced()


async def test_waiting_commands_fail_at_once(
    pair: RedisPair, switch: TcpSwitch, clients: RedisClients, until: Until
):
    """A command that waits for its reply when its server is given up fails without a timeout."""
    pipeline = Pipeline(clients.commands, Scripts(clients.commands))
    await asyncio.gather(pipeline.run([("SET", "key", "value")]), call_library(clients))
    switch.lose_packets(pair.primary.port)
    waiting = [
        asyncio.ensure_future(pipeline.run([("GET", "key")])),
        asyncio.ensure_future(call_library(clients)),
    ]
    await until.true(lambda: switch.lost_count == len(waiting))
    servers_of(clients.commands).connections.drop("", "silent")
    async with asyncio.timeout(0.5):
        results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(each) for each in results] == [StoreUnavailable] * 2


async def test_a_connection_that_is_being_made_is_dropped_too(
    pair: RedisPair, switch: TcpSwitch, clients: RedisClients, until: Until
):
    """A connection that waits for the answer to its greeting starts anew, and can be dropped later.

    One that was overlooked stayed with the old primary, silent for as long as that lived.
    """
    connections = servers_of(clients.listener).connections
    connection = servers_of(clients.listener).make_connection("")
    old = pair.primary.port
    switch.lose_packets(old)
    connecting = asyncio.ensure_future(connection.connect())
    await until.true(lambda: switch.lost_count > 0)
    switch.target = pair.replica.port
    connections.drop("", "silent")
    await connecting
    assert connection.is_connected
    assert switch.count(pair.replica.port) == 1

    connections.drop("", "silent")
    await until.true(lambda: switch.count(pair.replica.port) == 0)
    assert not connection.is_connected


async def test_finding_another_primary_does_not_lose_the_connection_being_made(
    pair: RedisPair, until: Until
):
    """The connection whose connect finds the new address stays in the register."""
    switches: list[str] = []

    async def locate() -> tuple[str, int]:
        connections.drop("", "switched")
        switches.append("found")
        return "127.0.0.1", pair.primary.port

    connections = OpenConnections(locate=locate)
    connection = CONNECTION_CLASSES[Connection](
        host="127.0.0.1", port=1, protocol=2, connections=connections
    )
    await connection.connect()
    assert (connection.is_connected, switches) == (True, ["found"])

    connections.drop("", "silent")
    assert not connection.is_connected


async def test_a_server_that_keeps_refusing_is_not_hammered(pair: RedisPair):
    """While the address leads to a replica, connections are kept between drops."""
    async with open_redis(f"redis://127.0.0.1:{pair.replica.port}") as clients:
        pipeline = Pipeline(clients.commands, Scripts(clients.commands))
        before = metric_value(metrics.REDIS_CONNECTIONS_DROPPED.labels("wrong_peer"))
        for _ in range(100):
            with pytest.raises(StoreUnavailable):
                await pipeline.run([("SET", "key", "value")])
        dropped = metric_value(metrics.REDIS_CONNECTIONS_DROPPED.labels("wrong_peer")) - before

    assert 1 <= dropped < 20


@pytest.mark.parametrize(("memory", "error"), [("0", "WRONGTYPE"), ("1", "memory")])
async def test_other_errors_keep_the_connections(
    pair: RedisPair, clients: RedisClients, memory: str, error: str
):
    """A wrong call, or a full server, keeps every connection."""
    pipeline = Pipeline(clients.commands, Scripts(clients.commands))
    [before] = await pipeline.run([("CLIENT", "ID")])
    await pair.primary.client.config_set("maxmemory", memory)
    try:
        with pytest.raises((StoreUnavailable, ResponseError), match=error):
            await pipeline.run([("DEL", "key"), ("LPUSH", "key", 1), ("INCR", "key")])
    finally:
        await pair.primary.client.config_set("maxmemory", "0")
    [after] = await pipeline.run([("CLIENT", "ID")])

    assert before == after
