"""Pipeline: many Redis commands in one write and one read, packed and parsed at low cost."""

import asyncio
import builtins
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ConnectionError,  # noqa: A004 (redis has no other name for it)
    MovedError,
    NoScriptError,
    TimeoutError,  # noqa: A004 (redis has no other name for it)
)

from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import servers_of
from dispatch.storage.failover.peer_errors import error_of_reply
from dispatch.storage.redis_client import COMMAND_TIMEOUT_S, Scripts, translate_redis_errors
from dispatch.storage.redis_connection import translate_send_errors

# As words, or as bytes that a `CommandTemplate` has packed.
Command = tuple[str | bytes | int | float, ...] | bytes
# Called with each error reply.
OnError = Callable[[Exception], None]

READ_BYTES = 65_536
# Marks the parts of a `CommandTemplate` that change.
PLACEHOLDER = b"\0"
# Error replies after whose cause is removed the command is sent a second time.
_RETRYABLE_ERRORS = (NoScriptError, MovedError)


class CommandTemplate:
    """A command with two changing parts, packed in the Redis protocol (RESP) by hand.

    `PLACEHOLDER` marks each changing part, as a whole word or inside one.
    Source: decision 22, a flush of positions takes 6 us of CPU a rider, 9 us packed by hiredis.
    """

    def __init__(self, *words: str | bytes | int) -> None:
        raw = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        changing = [word for word in raw if PLACEHOLDER in word]
        assert [word.count(PLACEHOLDER) for word in changing] == [1, 1], "two words change"
        # What each changing word has besides its placeholder.
        self._first_extra, self._second_extra = (len(word) - len(PLACEHOLDER) for word in changing)
        self._format = b"*%d\r\n" % len(raw) + b"".join(map(_word_format, raw))

    def pack(self, first: bytes, second: bytes) -> bytes:
        """The packed command with `first` and `second` in place of the placeholders."""
        return self._format % (
            len(first) + self._first_extra,
            first,
            len(second) + self._second_extra,
            second,
        )


def _word_format(word: bytes) -> bytes:
    """A word as part of a bytes format; a changing word takes its length and its changing part."""
    text = word.replace(b"%", b"%%")
    if PLACEHOLDER in word:
        return b"$%d\r\n" + text.replace(PLACEHOLDER, b"%b") + b"\r\n"
    return b"$%d\r\n" % len(word) + text + b"\r\n"


class Pipeline:
    """Sends many commands at once; replies are as Redis sent them.

    Source: measured 2026-11-21 with bench/fix_pipeline.py. A flush of 100 riders, three commands
    each, took 81 us of CPU a rider through the library and 10 us through this pipeline.
    """

    def __init__(
        self, redis: Redis, scripts: Scripts, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> None:
        self._servers = servers_of(redis)
        self._scripts = scripts
        self._timeout_s = timeout_s

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send the commands and read their replies.

        Shapes: one reply for each command, in order.
        Redis: one round trip, two after the server lost its scripts; in order, not atomic. On a
        cluster one to each server that holds a key, all at once; another where keys have moved.
        Errors: StoreUnavailable, what was carried out is unknown; ResponseError for a wrong
        command, the other commands were carried out.
        """
        replies = await self._execute(commands)
        failed = [index for index, reply in enumerate(replies) if isinstance(reply, Exception)]
        if failed:
            await self._retry(commands, replies, failed)
            with translate_redis_errors():
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise reply
        return replies

    async def _retry(
        self, commands: Sequence[Command], replies: list[Any], failed: Sequence[int]
    ) -> None:
        """Send the commands a second time that failed for a cause that can be removed."""
        retryable = [index for index in failed if isinstance(replies[index], _RETRYABLE_ERRORS)]
        if not retryable:
            return
        again = [commands[index] for index in retryable]
        errors = [replies[index] for index in retryable]
        await self._servers.follow(each for each in errors if isinstance(each, MovedError))
        if any(isinstance(each, NoScriptError) for each in errors):
            await self._load_scripts(again)
        for index, reply in zip(retryable, await self._execute(again), strict=True):
            replies[index] = reply

    async def _load_scripts(self, commands: Sequence[Command]) -> None:
        """Load the scripts at the servers that these commands go to, whatever the others do."""
        keyed = [_key_of(pack_command(each)) for each in commands]
        packed = [pack_command(each) for each in self._scripts.load_commands]
        for server in {await self._servers.server_for(key): None for key in keyed}:
            await self._exchange(server, packed)

    async def _execute(self, commands: Sequence[Command]) -> list[Any]:
        # Most are packed already; a function call for each would cost as much as reading its reply.
        packed = [each if type(each) is bytes else pack_command(each) for each in commands]
        if not self._servers.can_move:
            return await self._exchange("", packed) if packed else []
        by_server: dict[str, list[int]] = {}
        for index, each in enumerate(packed):
            server = await self._servers.server_for(_key_of(each))
            by_server.setdefault(server, []).append(index)
        # All of them complete even where one fails: no exchange may be left running.
        results = await asyncio.gather(
            *(
                self._exchange(server, [packed[index] for index in indexes])
                for server, indexes in by_server.items()
            ),
            return_exceptions=True,
        )
        replies: list[Any] = [None] * len(packed)
        for indexes, result in zip(by_server.values(), results, strict=True):
            if isinstance(result, BaseException):
                if isinstance(result, StoreUnavailable):
                    # Another server may hold its slots by now; the next call should ask that one.
                    with suppress(StoreUnavailable):
                        await self._servers.refresh()
                raise result
            for index, reply in zip(indexes, result, strict=True):
                replies[index] = reply
        return replies

    async def _exchange(self, server: str, packed: Sequence[bytes]) -> list[Any]:
        note_error = partial(self._servers.connections.note_error, server)
        with translate_redis_errors():
            connection = await self._servers.acquire(server)
            is_clean = False
            try:
                async with asyncio.timeout(self._timeout_s):
                    replies = await exchange(connection, packed, note_error)
                is_clean = True
            except builtins.TimeoutError as error:
                raise TimeoutError(f"no reply within {self._timeout_s:g} s") from error
            finally:
                # Unread replies would be taken for those of the next caller.
                if not is_clean:
                    await connection.disconnect(nowait=True)
                await self._servers.release(server, connection)
        return replies


def pack_command(command: Command) -> bytes:
    """A command in the Redis protocol (RESP)."""
    if isinstance(command, bytes):
        return command
    # The stub only allows tuples of one element.
    return hiredis.pack_command(command)  # pyright: ignore[reportArgumentType]


def _key_of(packed: bytes) -> bytes:
    r"""The key that decides a packed command's slot: a script's first key, else the second word.

    Shapes: `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n` gives `k`.
    """
    words = packed.split(b"\r\n", 9)
    return words[8] if words[2] == b"EVALSHA" else words[4]


async def exchange(
    connection: AbstractConnection, packed: Sequence[bytes], on_error: OnError
) -> list[Any]:
    """Send commands on an idle connection, opened where it is not, and read a reply to each.

    `on_error` is called with each error reply, which is also returned.
    Errors: ConnectionError of the library; then the connection must be closed.
    """
    replies: list[Any] = []
    parser = make_reply_parser(on_error)
    try:
        stream = await _send(connection, b"".join(packed))
        while len(replies) < len(packed):
            received = await stream.read(READ_BYTES)
            if not received:
                raise ConnectionError("the connection was closed by Redis")
            parser.feed(received)
            while (reply := parser.gets()) is not INCOMPLETE:
                replies.append(reply)
    except OSError as error:
        raise ConnectionError(str(error)) from error
    return replies


async def _send(connection: AbstractConnection, packed: bytes) -> asyncio.StreamReader:
    """Send bytes; the stream on which the replies arrive."""
    # Not through the library: it makes a task for each write, and its parser costs as much for one
    # reply as ours for thirty.
    if not connection.is_connected:
        await connection.connect()
    stream, writer = connection._reader, connection._writer
    if stream is None or writer is None:
        raise ConnectionError("the connection was closed")
    with translate_send_errors():
        writer.write(packed)
        await writer.drain()
    return stream


# What a parser returns while a reply is incomplete.
INCOMPLETE = object()


def make_reply_parser(on_error: OnError) -> hiredis.Reader:
    """A parser of replies; error replies are returned as the exceptions they stand for."""

    def to_exception(text: str) -> Exception:
        error = error_of_reply(text)
        on_error(error)
        return error

    return hiredis.Reader(replyError=to_exception, notEnoughData=INCOMPLETE)
