"""Many commands in one write and one read, for what is sent hundreds at a time."""

import asyncio
import builtins
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 (redis has no other name for it)
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # noqa: A004 (redis has no other name for it)
    TryAgainError,
)

from dispatch.store.connect import COMMAND_TIMEOUT_S, Scripts, translate
from dispatch.store.servers import servers_of

# As words, or as bytes that a `Phrase` has packed.
Command = tuple[str | bytes | int | float, ...] | bytes

READ_BYTES = 65_536
# Refusals that say what has to be done before the command is sent again.
_AGAIN = (NoScriptError, MovedError)
_BY_CODE: dict[str, type[Exception]] = {
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": ConnectionError,
    "CLUSTERDOWN": ClusterDownError,
    "TRYAGAIN": TryAgainError,
    "MOVED": MovedError,
    "ASK": AskError,
}


class Phrase:
    """A command of which only a few words change; None marks them.

    Source: measured 2026-11-21, a SET packed in a third of the time that hiredis takes.
    """

    def __init__(self, *words: str | int | None) -> None:
        packed = (
            b"$%d\r\n%b\r\n" if word is None else _packed(str(word)).replace(b"%", b"%%")
            for word in words
        )
        self._format = b"*%d\r\n" % len(words) + b"".join(packed)

    def pack(self, first: bytes, second: bytes) -> bytes:
        """The command with its two changing words."""
        return self._format % (len(first), first, len(second), second)


def _packed(word: str) -> bytes:
    raw = word.encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


class Bulk:
    """A pipeline without the library's work for each command; answers are as Redis sent them.

    Source: measured 2026-11-21, a flush of 100 riders with three commands each: 81 us of CPU a
    rider through the library's pipeline, 7.5 us this way (bench/lane.py).
    """

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._servers = servers_of(redis)
        self._scripts = scripts

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send the commands, read their answers.

        Redis: one round trip, two after the server forgot its scripts; in order, not atomic. On a
        cluster one to each server that holds a key, all at once; another where keys have moved.
        Errors: StoreUnavailable, what was carried out is unknown; ResponseError for a bug of ours,
        the other commands were carried out.
        """
        answers = await self._ask(commands)
        # None of these was carried out.
        refused = [at for at, each in enumerate(answers) if isinstance(each, _AGAIN)]
        if refused:
            await self._mend([answers[at] for at in refused])
            again = await self._ask([commands[at] for at in refused])
            for at, answer in zip(refused, again, strict=True):
                answers[at] = answer
        with translate():
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    async def _mend(self, refusals: Sequence[Exception]) -> None:
        if any(isinstance(each, NoScriptError) for each in refusals):
            await self._scripts.load()
        if any(isinstance(each, MovedError) for each in refusals):
            await self._servers.look()

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        packed = [packed_command(each) for each in commands]
        if not self._servers.can_move:
            return await self._exchange("", packed) if packed else []
        places: dict[str, list[int]] = {}
        for at, each in enumerate(packed):
            places.setdefault(await self._servers.holder(_key_of(each)), []).append(at)
        # All of them, whatever happens to one: nothing may be left under way.
        told = await asyncio.gather(
            *(self._exchange(name, [packed[at] for at in ats]) for name, ats in places.items()),
            return_exceptions=True,
        )
        answers: list[Any] = [None] * len(packed)
        for ats, part in zip(places.values(), told, strict=True):
            if isinstance(part, BaseException):
                raise part
            for at, answer in zip(ats, part, strict=True):
                answers[at] = answer
        return answers

    async def _exchange(self, server: str, packed: Sequence[bytes]) -> list[Any]:
        with translate():
            connection = await self._servers.borrow(server)
            is_clean = False
            try:
                await connection.send_packed_command(b"".join(packed))
                answers = await _answers(connection, len(packed))
                is_clean = True
            finally:
                # Answers nobody has read would be taken for those of the next caller.
                if not is_clean:
                    await connection.disconnect(nowait=True)
                await self._servers.give_back(server, connection)
        return answers


def packed_command(command: Command) -> bytes:
    """A command as it is sent."""
    if isinstance(command, bytes):
        return command
    # The stub knows tuples of one only.
    return hiredis.pack_command(command)  # pyright: ignore[reportArgumentType]


def _key_of(packed: bytes) -> bytes:
    r"""The key by which a cluster finds the server: a script's first key, else the next word.

    Shapes: `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n` has `k`.
    """
    words = packed.split(b"\r\n", 9)
    return words[8] if words[2] == b"EVALSHA" else words[4]


async def _answers(connection: AbstractConnection, count: int) -> list[Any]:
    """Read `count` answers; nothing else is on its way, so that nothing is left behind."""
    # The library's reader costs as much for one answer as this loop does for thirty.
    stream: asyncio.StreamReader | None = connection._reader
    reader = answer_reader()
    answers: list[Any] = []
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            while len(answers) < count:
                received = await stream.read(READ_BYTES) if stream else b""
                if not received:
                    raise ConnectionError("the connection was closed by Redis")
                reader.feed(received)
                while (answer := reader.gets()) is not NOT_YET:
                    answers.append(answer)
    except builtins.TimeoutError as error:
        raise TimeoutError(f"no answer within {COMMAND_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise ConnectionError(str(error)) from error
    return answers


# What a reader gives while an answer is not all there.
NOT_YET = object()


def answer_reader() -> hiredis.Reader:
    """A parser of answers; errors of Redis are handed back as the exceptions they mean."""
    return hiredis.Reader(replyError=_error, notEnoughData=NOT_YET)


def _error(text: str) -> Exception:
    code, _, message = text.partition(" ")
    return _BY_CODE.get(code, ResponseError)(message if code in _BY_CODE else text)
