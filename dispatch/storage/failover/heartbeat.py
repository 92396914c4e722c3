"""Heartbeat: whether a server takes writes, and what is published there arrives at this node.

A connection that has lost its server says nothing: the server was demoted, its address leads
elsewhere by now, it is paused, or its packets are lost.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count

import structlog
from redis.asyncio.connection import AbstractConnection

from dispatch import ids, keys
from dispatch.errors import StoreUnavailable
from dispatch.storage.cluster import RedisServers
from dispatch.storage.pipeline import exchange, pack_command
from dispatch.storage.redis_client import translate_redis_errors

# Source: chosen; with the wait below a silent server is left after 1.5 s at most, so that events
# flow 3 s after another one has taken over.
BEAT_S = 0.5
# A beat that has not come back after so many ticks is missed. Ticks and not one time-out: after a
# standstill of this process the first tick has ended, and what has arrived meanwhile is read first.
TICK_S, TICKS = 0.1, 10
# Beats in a row that fail at once, for example because the server refuses connections, after which
# the connections that are open are taken for dead.
FAILED_BEATS_MAX = 2
# Every so many beats go over a new connection, to see where the address leads now. The others go
# over one that was made with the node's other connections, to see what became of their server.
FRESH_BEATS = 2
KEY_TTL_MS = 10_000

log = structlog.get_logger(__name__)


class Heartbeat:
    """Writes and publishes to one server, for as long as a node is subscribed there.

    Redis: SET and SPUBLISH on connections of its own, twice a second.
    """

    def __init__(self, servers: RedisServers, server: str, on_lost: Callable[[], None]) -> None:
        self._servers = servers
        self._server = server
        self._on_lost = on_lost
        self._node = ids.new_id("beat")
        self._key, self._key_number = "", 0
        self.channel = ""
        self._numbers = count(1)
        self._kept: AbstractConnection | None = None
        self._failed_beats = 0
        # Set when the beat under way has come back.
        self._arrived = asyncio.Event()
        self._expected = b""
        # Whether the last beat was written and came back.
        self.is_answered = True

    async def choose_channel(self) -> str:
        """Choose a channel that the server holds; the node is about to subscribe to it.

        Errors: StoreUnavailable where the server holds none.
        """
        if self._server not in await self._servers.primaries():
            raise StoreUnavailable("redis", f"{self._server} is no primary")
        # The one it has may do.
        while True:
            self._key = keys.heartbeat(self._node, self._key_number)
            if await self._servers.server_for(self._key) == self._server:
                self.channel = keys.heartbeat_channel(self._node, self._key_number)
                return self.channel
            self._key_number += 1

    async def connect(self) -> None:
        """Connect to where the node's other connections have just been made.

        Errors: StoreUnavailable.
        """
        await self._close()
        with translate_redis_errors():
            connection = self._servers.make_connection(self._server)
            await connection.connect()
        self._kept = connection

    def receive(self, data: bytes) -> None:
        """A beat has come back."""
        if data == self._expected:
            self._arrived.set()

    async def run(self, is_needed: Callable[[], bool]) -> None:
        """Beat for as long as the server runs, while the node is subscribed to something there."""
        try:
            while True:
                if is_needed():
                    await self._beat_and_judge()
                else:
                    self._failed_beats, self.is_answered = 0, True
                await asyncio.sleep(BEAT_S)
        finally:
            await self._close()

    async def _beat_and_judge(self) -> None:
        try:
            is_written = await self._beat()
            self._failed_beats = 0
            if not is_written and self.is_answered:
                log.warning("redis_refuses_writes")
            self.is_answered = is_written
        except StoreUnavailable as error:
            self._failed_beats += 1
            if self.is_answered:
                log.warning("redis_heartbeat_missed", cause=error.cause)
            self.is_answered = False
            await self._close()
            if isinstance(error, _HeartbeatLost) or self._failed_beats >= FAILED_BEATS_MAX:
                self._servers.connections.drop(self._server, "silent")
            self._on_lost()

    async def _beat(self) -> bool:
        """Send a beat and wait until it is back; False where the server refuses to write only now.

        Errors: StoreUnavailable.
        """
        self._expected = b"%d" % next(self._numbers)
        self._arrived.clear()
        sent, arrived = (
            asyncio.ensure_future(self._send(self._expected)),
            asyncio.ensure_future(self._arrived.wait()),
        )
        try:
            for _ in range(TICKS):
                _, missing = await asyncio.wait({sent, arrived}, timeout=TICK_S)
                if not missing or (sent.done() and sent.exception() is not None):
                    return await sent
            raise _HeartbeatLost("redis", "a heartbeat has not come back")
        finally:
            for each in (sent, arrived):
                each.cancel()
            with suppress(asyncio.CancelledError, StoreUnavailable):
                await sent

    async def _send(self, beat: bytes) -> bool:
        """Write and publish a beat; whether it was written. Errors: StoreUnavailable."""
        packed = (
            pack_command(("SET", self._key, beat, "PX", KEY_TTL_MS)),
            pack_command(("SPUBLISH", self.channel, beat)),
        )
        note_error = partial(self._servers.connections.note_error, self._server)
        with translate_redis_errors():
            async with self._connect(is_fresh=int(beat) % FRESH_BEATS == 0) as connection:
                written, published = await exchange(connection, packed, note_error)
            if isinstance(published, Exception):
                raise published
        # A server that is full publishes all the same.
        return not isinstance(written, Exception)

    @asynccontextmanager
    async def _connect(self, *, is_fresh: bool) -> AsyncIterator[AbstractConnection]:
        """The kept connection, or one that is made now and closed with the block."""
        if is_fresh:
            connection = self._servers.make_connection(self._server)
            try:
                yield connection
            finally:
                await connection.disconnect(nowait=True)
        else:
            if self._kept is None:
                self._kept = self._servers.make_connection(self._server)
            yield self._kept

    async def _close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.disconnect(nowait=True)


class _HeartbeatLost(StoreUnavailable):
    """What was open does not reach the server that a new connection reaches, or reaches none."""
