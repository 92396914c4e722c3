"""Redis clients: commands time out and are never repeated; failures are StoreUnavailable."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from dispatch import metrics
from dispatch.errors import StoreUnavailable
from dispatch.storage import redis_client
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis, translate_redis_errors
from dispatch.storage.redis_connection import CONNECT_TRIES
from tests.metric_values import metric_value

pytestmark = pytest.mark.engines


class DroppingServer:
    """A fake Redis that closes the connection on every command and counts INCR commands."""

    def __init__(self) -> None:
        self.connections = 0
        self.commands: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # The library's greeting is two CLIENT SETINFO; the next command is not answered.
        greeting = await reader.readuntil(b"LIB-VER")
        writer.write(b"+OK\r\n" * greeting.count(b"SETINFO"))
        request = await reader.readuntil(b"counted")
        self.commands += [b"INCR"] * request.count(b"INCR")
        writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def dropping_server() -> AsyncIterator[DroppingServer]:
    """A server that closes the connection on every command."""
    fake = DroppingServer()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    async with server:
        yield fake


@pytest.fixture
def script_folder(tmp_path: Path) -> Path:
    """A folder with one script, which adds its argument to a key."""
    (tmp_path / "add.lua").write_text("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    return tmp_path


async def test_replies_are_bytes(redis: RedisClients):
    """Replies are not decoded."""
    await redis.commands.set("greeting", "grüß")
    assert await redis.commands.get("greeting") == "grüß".encode()


async def test_command_is_never_repeated(dropping_server: DroppingServer):
    """A command whose reply is lost raises StoreUnavailable and is not sent again."""
    async with open_redis(f"redis://127.0.0.1:{dropping_server.port}") as clients:
        with pytest.raises(StoreUnavailable), translate_redis_errors():
            await clients.commands.incr("counted")
    assert dropping_server.commands == [b"INCR"]


async def test_connecting_is_tried_twice(monkeypatch: pytest.MonkeyPatch):
    """A failed attempt to connect is repeated once, since no command was sent yet."""
    attempts: list[str] = []

    async def refuse(self: redis_client.Connection) -> None:
        attempts.append(type(self).__name__)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(redis_client.Connection, "_connect", refuse)
    async with open_redis("redis://127.0.0.1:1") as clients:
        with (
            pytest.raises(StoreUnavailable, match="redis is unavailable"),
            translate_redis_errors(),
        ):
            await clients.commands.ping()
    assert len(attempts) == CONNECT_TRIES


async def test_writing_to_a_closed_connection_is_store_unavailable(
    redis: RedisClients, monkeypatch: pytest.MonkeyPatch
):
    """A RuntimeError of the event loop is StoreUnavailable, and the next call works."""

    async def closed(*_: object) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")

    async with redis.listener.pubsub() as pubsub:
        await pubsub.subscribe("one")
        with monkeypatch.context() as patch:
            patch.setattr(redis_client.Connection, "_send_packed_command", closed)
            with (
                pytest.raises(StoreUnavailable, match="handler is closed"),
                translate_redis_errors(),
            ):
                await pubsub.subscribe("two")
        with translate_redis_errors():
            await pubsub.subscribe("two")
        assert set(pubsub.channels) == {b"one", b"two"}


async def test_every_lost_call_is_counted(dropping_server: DroppingServer):
    """A lost call is counted in the store errors by its kind."""
    series = metrics.STORE_ERRORS.labels("redis", "ConnectionError")
    before = metric_value(series)
    async with open_redis(f"redis://127.0.0.1:{dropping_server.port}") as clients:
        with pytest.raises(StoreUnavailable), translate_redis_errors():
            await clients.commands.incr("counted")
    assert metric_value(series) == before + 1


@pytest.mark.parametrize("error", [OutOfMemoryError("full"), ReadOnlyError("a replica")])
def test_redis_that_refuses_writes_is_unavailable(error: Exception):
    """A full Redis and a replica raise StoreUnavailable."""
    with pytest.raises(StoreUnavailable, match=str(error)), translate_redis_errors():
        raise error


async def test_wrong_call_is_not_translated(redis: RedisClients):
    """A wrong call raises the library's ResponseError."""
    await redis.commands.set("text", "not a list")
    with pytest.raises(ResponseError, match="WRONGTYPE"), translate_redis_errors():
        await redis.commands.lpush("text", 1)


async def test_silent_channel_does_not_time_out(redis: RedisClients):
    """A subscriber receives a message that comes four command timeouts later."""
    port = redis.commands.get_connection_kwargs()["port"]
    async with (
        open_redis(f"redis://127.0.0.1:{port}", timeout_s=0.05) as clients,
        clients.listener.pubsub() as subscriber,
    ):
        await subscriber.ssubscribe("channel")
        await subscriber.get_message(timeout=1)
        received = asyncio.create_task(subscriber.get_message(timeout=None))
        # Blocks at the server for four times the timeout.
        await redis.commands.blpop(["nothing"], timeout=0.2)
        assert not received.done()
        await redis.commands.spublish("channel", "late")
        message = await received
        assert message is not None
        assert message["data"] == b"late"


async def test_script_runs_by_its_file_name(redis: RedisClients, script_folder: Path):
    """A script is called by its file name with keys and arguments."""
    scripts = Scripts(redis.commands, script_folder)
    assert await scripts.run("add", ["sum"], [2]) == 2
    assert await scripts.run("add", ["sum"], [3]) == 5


async def test_flushed_script_is_sent_again(redis: RedisClients, script_folder: Path):
    """After SCRIPT FLUSH the next call sends the source, runs once and leaves it cached."""
    scripts = Scripts(redis.commands, script_folder)
    await scripts.run("add", ["sum"], [2])
    await redis.commands.script_flush()
    assert await scripts.run("add", ["sum"], [3]) == 5
    assert await redis.commands.script_exists(scripts.sha("add")) == [True]


async def test_loaded_scripts_may_be_called_in_a_pipeline(redis: RedisClients, script_folder: Path):
    """After `load` a pipeline calls a script by its SHA-1."""
    scripts = Scripts(redis.commands, script_folder)
    await redis.commands.script_flush()
    await scripts.load()
    pipe = redis.commands.pipeline(transaction=False)
    pipe.evalsha(scripts.sha("add"), 1, "sum", 1)
    pipe.evalsha(scripts.sha("add"), 1, "sum", 1)
    assert await pipe.execute() == [1, 2]


async def test_every_script_compiles(redis: RedisClients):
    """Redis accepts every Lua file beside the stores."""
    scripts = Scripts(redis.commands)
    await scripts.load()

    assert all(await redis.commands.script_exists(scripts.sha("inbox_append")))


async def test_connections_are_bounded(redis: RedisClients):
    """More commands at once than connections wait for one, and all are answered."""
    pings = [redis.commands.ping() for _ in range(redis_client.COMMAND_CONNECTIONS * 4)]
    assert all(await asyncio.gather(*pings))
    clients = await redis.commands.client_list()
    assert len(clients) <= redis_client.COMMAND_CONNECTIONS + 2 * redis_client.LISTENER_CONNECTIONS


@pytest.mark.parametrize("ticks", range(6))
async def test_cancellation_is_not_lost(redis: RedisClients, ticks: int):
    """A cancelled caller ends, even where the library takes the cancellation for a timeout."""

    async def read_repeatedly() -> None:
        while True:
            with translate_redis_errors():
                await redis.commands.get("x")

    await redis.commands.ping()
    reading = asyncio.ensure_future(read_repeatedly())
    for _ in range(ticks):
        await asyncio.sleep(0)
    reading.cancel()
    done, _ = await asyncio.wait([reading], timeout=0.5)

    assert done == {reading}
    assert reading.cancelled()
