"""Many commands at once: every answer read, every failure named, no connection left half-read."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.exceptions import ResponseError

from dispatch.errors import StoreUnavailable
from dispatch.storage import pipeline
from dispatch.storage.pipeline import (
    LENGTHS_CACHED,
    PLACEHOLDER,
    CommandTemplate,
    Pipeline,
    pack_words,
)
from dispatch.storage.redis_client import COMMAND_CONNECTIONS, RedisClients, Scripts, open_redis

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]


@pytest_asyncio.fixture(loop_scope="session")
async def redis_pipeline(redis: RedisClients) -> Pipeline:
    """Bulk commands on an empty Redis."""
    return Pipeline(redis.commands, Scripts(redis.commands))


async def test_replies_of_many_commands(redis_pipeline: Pipeline):
    """Thousands of commands get their answers in order, in the shape that Redis sends."""
    assert await redis_pipeline.run([]) == []
    await redis_pipeline.run([("SET", f"k{i}", f"é{i}" * 50) for i in range(5000)])
    answers = await redis_pipeline.run([("GET", f"k{i}") for i in range(5001)])
    assert answers == [*(f"é{i}".encode() * 50 for i in range(5000)), None]
    assert await redis_pipeline.run([("HSET", "h", "a", 1, "b", b"2"), ("HGETALL", "h")]) == [
        2,
        [b"a", b"1", b"b", b"2"],
    ]


async def test_template_packs_the_same_command(redis_pipeline: Pipeline):
    """A packed phrase says what its words say, whatever bytes the changing ones hold."""
    phrase = CommandTemplate("SETEX", PLACEHOLDER, 300, PLACEHOLDER)
    odd = bytes(range(256)) + b"%d%b\r\n"
    assert await redis_pipeline.run([phrase.pack(b"a%b", odd), ("GET", "a%b"), ("TTL", "a%b")]) == [
        b"OK",
        odd,
        300,
    ]
    fixed = CommandTemplate("HSET", PLACEHOLDER, "100 %d é", PLACEHOLDER)
    assert await redis_pipeline.run([fixed.pack(b"h", b"v"), ("HGET", "h", "100 %d é")]) == [
        1,
        b"v",
    ]


async def test_placeholder_inside_a_word(redis_pipeline: Pipeline):
    """A hole may be a part of a word; what is short or long, empty or not ASCII, is sent whole."""
    phrase = CommandTemplate("SET", "a:{\0}:b", b"\xff\n\0")
    values = ["", "é", "x" * (LENGTHS_CACHED - 1), "x" * LENGTHS_CACHED, "x" * 100_000]
    await redis_pipeline.run(
        [phrase.pack(f"k{i}".encode(), v.encode()) for i, v in enumerate(values)]
    )
    answers = await redis_pipeline.run([("GET", f"a:{{k{i}}}:b") for i in range(len(values))])
    assert answers == [b"\xff\n" + each.encode() for each in values]
    long = "k" * LENGTHS_CACHED
    await redis_pipeline.run([phrase.pack(long.encode(), b"v")])
    assert await redis_pipeline.run([("GET", f"a:{{{long}}}:b")]) == [b"\xff\nv"]


async def test_packed_words_are_the_same_command(redis_pipeline: Pipeline):
    """A packed list says what its words say, however long they are."""
    pairs = {b"": b"empty", "é".encode(): b"\r\n$1", b"l" * LENGTHS_CACHED: b"v" * 100_000}
    words = [word for pair in pairs.items() for word in pair]
    added, found = await redis_pipeline.run([pack_words("HSET", "é", words), ("HGETALL", "é")])
    assert (added, found) == (3, words)


@pytest.mark.one_redis
async def test_sequential_callers_share_a_connection(redis_pipeline: Pipeline):
    """One caller's connection serves the next; two at a time have one each."""
    [one] = await redis_pipeline.run([("CLIENT", "ID")])
    assert await redis_pipeline.run([("CLIENT", "ID")]) == [one]
    both = await asyncio.gather(*(redis_pipeline.run([("CLIENT", "ID")]) for _ in range(2)))
    assert [one] in both
    assert both[0] != both[1]


@pytest.mark.one_redis
async def test_closed_idle_connection_is_replaced(redis_pipeline: Pipeline, redis: RedisClients):
    """Redis hung up while nobody asked: the next caller gets another connection, and no error."""
    for _ in range(COMMAND_CONNECTIONS + 1):
        [one] = await redis_pipeline.run([("CLIENT", "ID")])
        await redis.commands.client_kill_filter(_id=one)
        # The loop has read the end of it once another connection was answered.
        await redis.commands.ping()
        assert await redis_pipeline.run([("CLIENT", "ID")]) != [one]


async def test_one_bad_command_among_good_ones(redis_pipeline: Pipeline):
    """A bug of ours rises, the other commands were carried out, the connection stays in step."""
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await redis_pipeline.run([("SET", "a", 1), ("LPUSH", "a", 1), ("INCR", "a")])
    assert await redis_pipeline.run([("GET", "a")]) == [b"2"]


@pytest.mark.one_redis
async def test_out_of_memory_is_store_unavailable(redis_pipeline: Pipeline, redis: RedisClients):
    """Out of memory is told as a store that cannot answer now, not as a bug."""
    await redis.commands.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable):
            await redis_pipeline.run([("SET", "a", 1)])
    finally:
        await redis.commands.config_set("maxmemory", "0")


async def test_cancelled_caller_leaves_no_replies(redis_pipeline: Pipeline):
    """After a call was cancelled half-way, the next caller gets his own answers."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await redis_pipeline.run([("BLPOP", "nothing", 0), ("ECHO", "late")])
    answers = await asyncio.gather(*(redis_pipeline.run([("ECHO", f"{i}")]) for i in range(40)))
    assert answers == [[f"{i}".encode()] for i in range(40)]


@pytest_asyncio.fixture(loop_scope="session")
async def stalling_server() -> AsyncIterator[str]:
    """A server that greets, answers one command in half, and then hangs up or says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = await reader.readuntil(b"LIB-VER")
        writer.write(b"+OK\r\n" * greeting.count(b"SETINFO"))
        request = await reader.readuntil(b"!")
        writer.write(b"$100\r\nhalf an ans")
        await writer.drain()
        if not request.endswith(b"hang!"):
            await asyncio.Event().wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"redis://{host}:{port}"


@pytest.mark.parametrize("how", ["hang!", "wait!"])
async def test_half_a_reply_is_store_unavailable(
    stalling_server: str, how: str, monkeypatch: pytest.MonkeyPatch
):
    """Half an answer, then the end or silence: a store that is away, within the deadline."""
    monkeypatch.setattr(pipeline, "COMMAND_TIMEOUT_S", 0.05)
    async with open_redis(stalling_server) as clients:
        with pytest.raises(StoreUnavailable):
            await Pipeline(clients.commands, Scripts(clients.commands)).run([("GET", how)])


async def test_refused_connection_is_store_unavailable():
    """Nobody listening is a store that is away."""
    async with open_redis("redis://127.0.0.1:1") as clients:
        with pytest.raises(StoreUnavailable):
            await Pipeline(clients.commands, Scripts(clients.commands)).run([("PING",)])
