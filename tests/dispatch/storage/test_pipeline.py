"""Many commands at once: every answer read, every failure named, no connection left half-read."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.exceptions import ResponseError

from dispatch.errors import StoreUnavailable
from dispatch.storage import pipeline
from dispatch.storage.pipeline import (
    HOLE,
    LENGTHS_KNOWN,
    Bulk,
    Phrase,
    listed,
)
from dispatch.storage.redis_client import COMMAND_CONNECTIONS, RedisClients, Scripts, open_redis

pytestmark = pytest.mark.redis_cluster

pytestmark = pytest.mark.engines


@pytest_asyncio.fixture(loop_scope="session")
async def many(redis: RedisClients) -> Bulk:
    """Bulk commands on an empty Redis."""
    return Bulk(redis.commands, Scripts(redis.commands))


async def test_the_answers_of_many_commands(many: Bulk):
    """Thousands of commands get their answers in order, in the shape that Redis sends."""
    assert await many.run([]) == []
    await many.run([("SET", f"k{i}", f"é{i}" * 50) for i in range(5000)])
    answers = await many.run([("GET", f"k{i}") for i in range(5001)])
    assert answers == [*(f"é{i}".encode() * 50 for i in range(5000)), None]
    assert await many.run([("HSET", "h", "a", 1, "b", b"2"), ("HGETALL", "h")]) == [
        2,
        [b"a", b"1", b"b", b"2"],
    ]


async def test_a_phrase_is_the_command_it_stands_for(many: Bulk):
    """A packed phrase says what its words say, whatever bytes the changing ones hold."""
    phrase = Phrase("SETEX", HOLE, 300, HOLE)
    odd = bytes(range(256)) + b"%d%b\r\n"
    assert await many.run([phrase.pack(b"a%b", odd), ("GET", "a%b"), ("TTL", "a%b")]) == [
        b"OK",
        odd,
        300,
    ]
    fixed = Phrase("HSET", HOLE, "100 %d é", HOLE)
    assert await many.run([fixed.pack(b"h", b"v"), ("HGET", "h", "100 %d é")]) == [1, b"v"]


async def test_what_changes_inside_of_a_word(many: Bulk):
    """A hole may be a part of a word; what is short or long, empty or not ASCII, is sent whole."""
    phrase = Phrase("SET", "a:{\0}:b", b"\xff\n\0")
    values = ["", "é", "x" * (LENGTHS_KNOWN - 1), "x" * LENGTHS_KNOWN, "x" * 100_000]
    await many.run([phrase.pack(f"k{i}".encode(), v.encode()) for i, v in enumerate(values)])
    answers = await many.run([("GET", f"a:{{k{i}}}:b") for i in range(len(values))])
    assert answers == [b"\xff\n" + each.encode() for each in values]
    long = "k" * LENGTHS_KNOWN
    await many.run([phrase.pack(long.encode(), b"v")])
    assert await many.run([("GET", f"a:{{{long}}}:b")]) == [b"\xff\nv"]


async def test_a_list_of_words_is_the_command_it_stands_for(many: Bulk):
    """A packed list says what its words say, however long they are."""
    pairs = {b"": b"empty", "é".encode(): b"\r\n$1", b"l" * LENGTHS_KNOWN: b"v" * 100_000}
    words = [word for pair in pairs.items() for word in pair]
    added, found = await many.run([listed("HSET", "é", words), ("HGETALL", "é")])
    assert (added, found) == (3, words)


@pytest.mark.one_redis
async def test_callers_one_after_the_other_share_a_connection(many: Bulk):
    """One caller's connection serves the next; two at a time have one each."""
    [one] = await many.run([("CLIENT", "ID")])
    assert await many.run([("CLIENT", "ID")]) == [one]
    both = await asyncio.gather(*(many.run([("CLIENT", "ID")]) for _ in range(2)))
    assert [one] in both
    assert both[0] != both[1]


@pytest.mark.one_redis
async def test_a_connection_that_redis_closed_between_two_calls(many: Bulk, redis: RedisClients):
    """Redis hung up while nobody asked: the next caller gets another connection, and no error."""
    for _ in range(COMMAND_CONNECTIONS + 1):
        [one] = await many.run([("CLIENT", "ID")])
        await redis.commands.client_kill_filter(_id=one)
        # The loop has read the end of it once another connection was answered.
        await redis.commands.ping()
        assert await many.run([("CLIENT", "ID")]) != [one]


async def test_one_bad_command_among_good_ones(many: Bulk):
    """A bug of ours rises, the other commands were carried out, the connection stays in step."""
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await many.run([("SET", "a", 1), ("LPUSH", "a", 1), ("INCR", "a")])
    assert await many.run([("GET", "a")]) == [b"2"]


@pytest.mark.one_redis
async def test_a_full_redis_is_away(many: Bulk, redis: RedisClients):
    """Out of memory is told as a store that cannot answer now, not as a bug."""
    await redis.commands.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable):
            await many.run([("SET", "a", 1)])
    finally:
        await redis.commands.config_set("maxmemory", "0")


async def test_a_caller_who_gives_up_leaves_no_answers_behind(many: Bulk):
    """After a call was cancelled half-way, the next caller gets his own answers."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await many.run([("BLPOP", "nothing", 0), ("ECHO", "late")])
    answers = await asyncio.gather(*(many.run([("ECHO", f"{i}")]) for i in range(40)))
    assert answers == [[f"{i}".encode()] for i in range(40)]


@pytest_asyncio.fixture(loop_scope="session")
async def mute() -> AsyncIterator[str]:
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
async def test_a_redis_that_dies_in_the_middle(
    mute: str, how: str, monkeypatch: pytest.MonkeyPatch
):
    """Half an answer, then the end or silence: a store that is away, within the deadline."""
    monkeypatch.setattr(pipeline, "COMMAND_TIMEOUT_S", 0.05)
    async with open_redis(mute) as clients:
        with pytest.raises(StoreUnavailable):
            await Bulk(clients.commands, Scripts(clients.commands)).run([("GET", how)])


async def test_no_redis_at_all():
    """Nobody listening is a store that is away."""
    async with open_redis("redis://127.0.0.1:1") as clients:
        with pytest.raises(StoreUnavailable):
            await Bulk(clients.commands, Scripts(clients.commands)).run([("PING",)])
