"""Pipeline: every reply read, every failure reported, no connection left half-read."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from dispatch.errors import StoreUnavailable
from dispatch.storage.pipeline import PLACEHOLDER, CommandTemplate, Pipeline, pack_command
from dispatch.storage.redis_client import COMMAND_CONNECTIONS, RedisClients, Scripts, open_redis

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]


@pytest_asyncio.fixture(loop_scope="session")
async def redis_pipeline(redis: RedisClients) -> Pipeline:
    """A pipeline on an empty Redis."""
    return Pipeline(redis.commands, Scripts(redis.commands))


async def test_replies_of_many_commands(redis_pipeline: Pipeline):
    """Thousands of commands get their replies in order, in the shape that Redis sends."""
    assert await redis_pipeline.run([]) == []
    await redis_pipeline.run([("SET", f"k{i}", f"é{i}" * 50) for i in range(5000)])
    replies = await redis_pipeline.run([("GET", f"k{i}") for i in range(5001)])
    assert replies == [*(f"é{i}".encode() * 50 for i in range(5000)), None]
    assert await redis_pipeline.run([("HSET", "h", "a", 1, "b", b"2"), ("HGETALL", "h")]) == [
        2,
        [b"a", b"1", b"b", b"2"],
    ]


# Any bytes but those that mark a placeholder.
WORDS = st.binary(max_size=300).filter(lambda word: PLACEHOLDER not in word)


@given(prefix=WORDS, suffix=WORDS, fixed=WORDS, first=st.binary(), second=st.binary())
def test_template_packs_like_the_library(
    prefix: bytes, suffix: bytes, fixed: bytes, first: bytes, second: bytes
):
    """A template packs what hiredis packs, for placeholders that are whole words or inside one."""
    template = CommandTemplate("SETEX", prefix + PLACEHOLDER + suffix, 300, fixed, PLACEHOLDER)
    words = (b"SETEX", prefix + first + suffix, b"300", fixed, second)
    assert template.pack(first, second) == pack_command(words)


@pytest.mark.parametrize("words", [("GET", PLACEHOLDER), ("SET", b"\0\0", "v"), ("GET", "a")])
def test_template_needs_two_changing_words(words: tuple[str | bytes, ...]):
    """A template with fewer placeholders, or two in one word, is a bug and is refused."""
    with pytest.raises(AssertionError, match="two words change"):
        CommandTemplate(*words)


async def test_packed_commands_reach_redis_unchanged(redis_pipeline: Pipeline):
    """Redis stores a template's changing parts byte for byte, short, long or not ASCII."""
    template = CommandTemplate("SET", "a:{\0}:100 %d", b"\xff\n\0")
    values = [b"", "é".encode(), bytes(range(256)) + b"%d%b\r\n", b"x" * 100_000]
    await redis_pipeline.run([template.pack(b"k%d" % i, each) for i, each in enumerate(values)])
    replies = await redis_pipeline.run([("GET", f"a:{{k{i}}}:100 %d") for i in range(len(values))])
    assert replies == [b"\xff\n" + each for each in values]


@pytest.mark.one_redis
async def test_sequential_callers_share_a_connection(redis_pipeline: Pipeline):
    """Callers one after the other use one connection; two at a time have one each."""
    [one] = await redis_pipeline.run([("CLIENT", "ID")])
    assert await redis_pipeline.run([("CLIENT", "ID")]) == [one]
    both = await asyncio.gather(*(redis_pipeline.run([("CLIENT", "ID")]) for _ in range(2)))
    assert [one] in both
    assert both[0] != both[1]


@pytest.mark.one_redis
async def test_closed_idle_connection_is_replaced(redis_pipeline: Pipeline, redis: RedisClients):
    """A connection closed while idle is replaced without an error, more often than there are."""
    for _ in range(COMMAND_CONNECTIONS + 1):
        [one] = await redis_pipeline.run([("CLIENT", "ID")])
        await redis.commands.client_kill_filter(_id=one)
        # By the reply on another connection the loop has read the end of this one.
        await redis.commands.ping()
        assert await redis_pipeline.run([("CLIENT", "ID")]) != [one]


async def test_wrong_command_raises_and_the_others_run(redis_pipeline: Pipeline):
    """A wrong command raises its error; the others were carried out, the connection is usable."""
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await redis_pipeline.run([("SET", "a", 1), ("LPUSH", "a", 1), ("INCR", "a")])
    assert await redis_pipeline.run([("GET", "a")]) == [b"2"]


@pytest.mark.one_redis
async def test_out_of_memory_is_store_unavailable(redis_pipeline: Pipeline, redis: RedisClients):
    """A Redis out of memory raises StoreUnavailable, not a ResponseError."""
    await redis.commands.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable):
            await redis_pipeline.run([("SET", "a", 1)])
    finally:
        await redis.commands.config_set("maxmemory", "0")


async def test_cancelled_caller_leaves_no_replies(redis_pipeline: Pipeline):
    """After a call was cancelled half-way, the next callers get their own replies."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await redis_pipeline.run([("BLPOP", "nothing", 0), ("ECHO", "late")])
    replies = await asyncio.gather(*(redis_pipeline.run([("ECHO", f"{i}")]) for i in range(40)))
    assert replies == [[f"{i}".encode()] for i in range(40)]


@pytest_asyncio.fixture(loop_scope="session")
async def stalling_server() -> AsyncIterator[str]:
    """A server that sends half a reply and then closes the connection or stalls."""

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


@pytest.mark.parametrize("ending", ["hang!", "wait!"])
async def test_half_a_reply_is_store_unavailable(stalling_server: str, ending: str):
    """Half a reply, then a closed connection or a stall: StoreUnavailable within the timeout."""
    async with open_redis(stalling_server) as clients:
        pipeline = Pipeline(clients.commands, Scripts(clients.commands), timeout_s=0.05)
        with pytest.raises(StoreUnavailable):
            await pipeline.run([("GET", ending)])


async def test_refused_connection_is_store_unavailable():
    """A port without a listener raises StoreUnavailable."""
    async with open_redis("redis://127.0.0.1:1") as clients:
        with pytest.raises(StoreUnavailable):
            await Pipeline(clients.commands, Scripts(clients.commands)).run([("PING",)])
