"""Redis is reached by three ways of waiting, and its silence becomes one named error."""

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

pytestmark = pytest.mark.engines


class DroppingServer:
    """A Redis that says how often it was asked and never answers anything but a greeting."""

    def __init__(self) -> None:
        self.connections = 0
        self.commands: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # The greeting is two CLIENT SETINFO; what comes after it is hung up on.
        greeting = await reader.readuntil(b"LIB-VER")
        writer.write(b"+OK\r\n" * greeting.count(b"SETINFO"))
        request = await reader.readuntil(b"counted")
        self.commands += [b"INCR"] * request.count(b"INCR")
        writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def dropping_server() -> AsyncIterator[DroppingServer]:
    """A server that hangs up on every command."""
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
    """Nothing is decoded on the way, so that a payload is passed on as it came."""
    await redis.commands.set("greeting", "grüß")
    assert await redis.commands.get("greeting") == "grüß".encode()


async def test_a_command_is_never_repeated(dropping_server: DroppingServer):
    """A command whose answer is lost fails once and is not sent again: it may have counted."""
    async with open_redis(f"redis://127.0.0.1:{dropping_server.port}") as clients:
        with pytest.raises(StoreUnavailable), translate_redis_errors():
            await clients.commands.incr("counted")
    assert dropping_server.commands == [b"INCR"]


async def test_connecting_is_tried_twice(monkeypatch: pytest.MonkeyPatch):
    """A first connection that fails is repeated, for nothing has been asked yet."""
    tries: list[str] = []

    async def refuse(self: redis_client.Connection) -> None:
        tries.append(type(self).__name__)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(redis_client.Connection, "_connect", refuse)
    async with open_redis("redis://127.0.0.1:1") as clients:
        with (
            pytest.raises(StoreUnavailable, match="redis is unavailable"),
            translate_redis_errors(),
        ):
            await clients.commands.ping()
    assert len(tries) == redis_client.CONNECT_TRIES


async def test_writing_to_a_closed_connection_is_store_unavailable(
    redis: RedisClients, monkeypatch: pytest.MonkeyPatch
):
    """The loop raises an error of its own there; for us Redis is away, and the next call works."""

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
    """An unavailable Redis shows in the store errors by the kind of its failure."""
    series = metrics.STORE_ERRORS.labels("redis", "ConnectionError")
    before = series._value.get()
    async with open_redis(f"redis://127.0.0.1:{dropping_server.port}") as clients:
        with pytest.raises(StoreUnavailable), translate_redis_errors():
            await clients.commands.incr("counted")
    assert series._value.get() == before + 1


@pytest.mark.parametrize("error", [OutOfMemoryError("full"), ReadOnlyError("a replica")])
def test_a_redis_that_cannot_write_is_unavailable(error: Exception):
    """A full Redis and a demoted one are asked again later, like one that is away."""
    with pytest.raises(StoreUnavailable, match=str(error)), translate_redis_errors():
        raise error


async def test_our_own_mistakes_are_not_translated(redis: RedisClients):
    """A wrong call is a bug and rises as it is."""
    await redis.commands.set("text", "not a list")
    with pytest.raises(ResponseError, match="WRONGTYPE"), translate_redis_errors():
        await redis.commands.lpush("text", 1)


async def test_a_silent_channel_is_no_timeout(redis: RedisClients, monkeypatch: pytest.MonkeyPatch):
    """A listener hears a message that comes after any command would have timed out."""
    monkeypatch.setattr(redis_client, "COMMAND_TIMEOUT_S", 0.05)
    port = redis.commands.get_connection_kwargs()["port"]
    async with open_redis(f"redis://127.0.0.1:{port}") as clients, clients.listener.pubsub() as ear:
        await ear.ssubscribe("news")
        await ear.get_message(timeout=1)
        heard = asyncio.create_task(ear.get_message(timeout=None))
        # The server itself keeps silent for four times the timeout.
        await redis.commands.blpop(["nothing"], timeout=0.2)
        assert not heard.done()
        await redis.commands.spublish("news", "late")
        message = await heard
        assert message is not None
        assert message["data"] == b"late"


async def test_a_script_runs_by_name(redis: RedisClients, script_folder: Path):
    """A script is called by its file's name with its keys and arguments."""
    scripts = Scripts(redis.commands, script_folder)
    assert await scripts.run("add", ["sum"], [2]) == 2
    assert await scripts.run("add", ["sum"], [3]) == 5


async def test_a_forgotten_script_is_sent_again(redis: RedisClients, script_folder: Path):
    """A restart of Redis forgets every script; the next call brings it along and runs once."""
    scripts = Scripts(redis.commands, script_folder)
    await scripts.run("add", ["sum"], [2])
    await redis.commands.script_flush()
    assert await scripts.run("add", ["sum"], [3]) == 5
    assert await redis.commands.script_exists(scripts.sha("add")) == [True]


async def test_loaded_scripts_may_be_called_in_a_pipeline(redis: RedisClients, script_folder: Path):
    """After `load` a pipeline needs no more than the hash."""
    scripts = Scripts(redis.commands, script_folder)
    await redis.commands.script_flush()
    await scripts.load()
    pipe = redis.commands.pipeline(transaction=False)
    pipe.evalsha(scripts.sha("add"), 1, "sum", 1)
    pipe.evalsha(scripts.sha("add"), 1, "sum", 1)
    assert await pipe.execute() == [1, 2]


async def test_every_script_of_ours_compiles(redis: RedisClients):
    """The Lua files beside the stores are accepted by the server."""
    await Scripts(redis.commands).load()


async def test_connections_are_bounded(redis: RedisClients):
    """More commands at once than there are connections wait their turn, and all are answered."""
    pings = [redis.commands.ping() for _ in range(redis_client.COMMAND_CONNECTIONS * 4)]
    assert all(await asyncio.gather(*pings))
    clients = await redis.commands.client_list()
    assert len(clients) <= redis_client.COMMAND_CONNECTIONS + 2 * redis_client.LISTENER_CONNECTIONS


@pytest.mark.parametrize("turns", range(6))
async def test_cancellation_is_not_lost(redis: RedisClients, turns: int):
    """The library may take a cancellation for a timeout of its own; it must not get lost."""

    async def ask_for_ever() -> None:
        while True:
            with translate_redis_errors():
                await redis.commands.get("x")

    await redis.commands.ping()
    asking = asyncio.ensure_future(ask_for_ever())
    for _ in range(turns):
        await asyncio.sleep(0)
    asking.cancel()
    done, _ = await asyncio.wait([asking], timeout=0.5)

    assert done == {asking}
    assert asking.cancelled()
