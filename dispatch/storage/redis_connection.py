"""Redis connections: connected twice where needed, never repeating a command, dropped together."""

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import (
    ConnectionError,  # noqa: A004 (redis has no other name for it)
    RedisError,
    TimeoutError,  # noqa: A004 (redis has no other name for it)
)

from dispatch import metrics
from dispatch.storage.failover.peer_errors import PeerFault, fault_of

CONNECT_TRIES = 2
CONNECT_PAUSE_S = 0.05
# From the look-up of the address to the answer to the greeting. A server that is paused or cut off
# holds up a reconnect for as long, so that events flow 3 s after its address leads elsewhere.
CONNECT_TIMEOUT_S = 1.0
# What a server says drops its connections at most this often, since they are made again while
# its address still leads to a server that refuses.
DROP_EVERY_S = 0.25
# The name of the one server where there is no cluster.
ONLY_SERVER = ""

# Address at which to connect now. Errors: those of the library.
Locate = Callable[[], Awaitable[tuple[str, int]]]

log = structlog.get_logger(__name__)

# Only connecting may be repeated, since no command was sent before it; not after a timeout, which
# has taken its time already.
_CONNECT_RETRY = Retry(
    ConstantBackoff(CONNECT_PAUSE_S), CONNECT_TRIES - 1, supported_errors=(ConnectionError,)
)


@contextmanager
def translate_send_errors() -> Iterator[None]:
    """Raise the library's ConnectionError for any error of a write to a closed connection.

    Source: uvloop 0.23 raises RuntimeError for a write after the connection closed.

    Errors: ConnectionError.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ConnectionError(str(error) or "nothing could be sent") from error


class OpenConnections:
    """All open connections of one Redis; those to a server that is the wrong one end together.

    `locate` finds the address of the primary before each connect; without it the host's name is
    resolved again each time.
    """

    def __init__(self, *, is_cluster: bool = False, locate: Locate | None = None) -> None:
        self.is_cluster = is_cluster
        self.locate = locate
        # In the order in which they were opened.
        self._open: dict[_RedisConnection, None] = {}
        # When a server's connections were last dropped for what it said.
        self._refused_s: dict[str, float] = {}

    def add(self, connection: "_RedisConnection") -> None:
        """A connection is open."""
        self._open[connection] = None

    def remove(self, connection: "_RedisConnection") -> None:
        """A connection is closed."""
        self._open.pop(connection, None)

    def note_error(self, server: str, error: BaseException) -> None:
        """Drop a server's connections where its error says that it is the wrong one."""
        fault = fault_of(error)
        # On a cluster a key may have moved; a single server that says so is none.
        if fault is PeerFault.WRONG_PEER or (fault is PeerFault.MOVED and not self.is_cluster):
            now_s = asyncio.get_running_loop().time()
            if now_s >= self._refused_s.get(server, float("-inf")) + DROP_EVERY_S:
                self._refused_s[server] = now_s
                self.drop(server, fault)

    def drop(self, server: str, cause: str) -> None:
        """Abort every connection to a server; what waits for a reply there fails at once."""
        dropped = [each for each in self._open if server in (ONLY_SERVER, each.server)]
        if dropped:
            metrics.REDIS_CONNECTIONS_DROPPED.labels(cause).inc(len(dropped))
            log.warning("redis_connections_dropped", cause=cause, connections=len(dropped))
        for each in dropped:
            each.abort()


class _RedisConnection:
    """What our connections do besides the library's; the library's class is the second base."""

    def __init__(self, *, connections: OpenConnections, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._connections = connections
        self._is_dropped = False
        # Set by the library's class.
        self.host: str
        self.port: int

    @property
    def server(self) -> str:
        """The server's name, as `RedisServers` has it."""
        return f"{self.host}:{self.port}" if self._connections.is_cluster else ONLY_SERVER

    async def connect_check_health(self, *_: Any, check_health: bool = True, **__: Any) -> None:
        """Connect, a second time where the first attempt failed; commands are never repeated."""
        if self.is_connected:  # type: ignore[attr-defined]
            return

        async def attempt() -> None:
            if self._connections.locate is not None:
                self.host, self.port = await self._connections.locate()
            self._is_dropped = False
            # Before it is open: a server may turn out to be the wrong one meanwhile.
            self._connections.add(self)
            await super(_RedisConnection, self).connect_check_health(  # type: ignore[misc]
                check_health=check_health, retry_socket_connect=False
            )
            if self._is_dropped:
                raise ConnectionError("the connection was dropped while it was made")

        limit_s: float | None = self.socket_connect_timeout  # type: ignore[attr-defined]
        try:
            async with asyncio.timeout(limit_s):
                await _CONNECT_RETRY.call_with_retry(attempt, self._disconnect_after)
        except builtins.TimeoutError as error:
            await self.disconnect(nowait=True)
            raise TimeoutError(f"not connected within {limit_s:g} s") from error
        finally:
            if not self.is_connected:  # type: ignore[attr-defined]
                self._connections.remove(self)

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection."""
        self._connections.remove(self)
        await super().disconnect(*args, **kwargs)  # type: ignore[misc]

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read a reply; an error may say that the server is the wrong one."""
        try:
            return await super().read_response(*args, **kwargs)  # type: ignore[misc]
        except RedisError as error:
            self._connections.note_error(self.server, error)
            raise

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send as the library does, with errors of closed connections translated."""
        with translate_send_errors():
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]

    async def _send_packed_command(self, command: Any) -> None:
        # Aborted between the library's check and its task that sends.
        if not self.is_connected:  # type: ignore[attr-defined]
            raise ConnectionError("the connection was dropped")
        await super()._send_packed_command(command)  # type: ignore[misc]

    def abort(self) -> None:
        """Close without sending what is buffered; readers find the end of the stream.

        One that is being made is closed as soon as it is open.
        """
        self._is_dropped = True
        writer: asyncio.StreamWriter | None = self._writer  # type: ignore[attr-defined]
        if writer is not None:
            self._connections.remove(self)
            writer.transport.abort()
            self._parser.on_disconnect()  # type: ignore[attr-defined]
            self._reader = self._writer = None

    async def _disconnect_after(self, _error: Exception) -> None:
        await self.disconnect()


class _PeerConnection(_RedisConnection, Connection):
    """A plain TCP connection."""


class _SslConnection(_RedisConnection, SSLConnection):
    """A TLS connection."""


class _SocketConnection(_RedisConnection, UnixDomainSocketConnection):
    """A connection over a Unix socket."""


# Our connection class in the place of the library's.
CONNECTION_CLASSES: dict[type, type] = {
    Connection: _PeerConnection,
    SSLConnection: _SslConnection,
    UnixDomainSocketConnection: _SocketConnection,
}
