"""Redis clients for commands and for pub/sub, Lua scripts, and errors translated for the stores."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff, NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ClusterError,
    ConnectionError,  # noqa: A004 (redis has no other name for it)
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    TimeoutError,  # noqa: A004 (redis has no other name for it)
    TryAgainError,
)

from dispatch import metrics
from dispatch.errors import StoreUnavailable

# A command that takes longer has failed, and its caller may try again.
# Source: chosen; the library's ten default retries stalled one call for 3.6 s.
COMMAND_TIMEOUT_S = 2.0
CONNECT_TRIES = 2
CONNECT_PAUSE_S = 0.05
# One for each `Pipeline`, and the commands of a busy moment; further commands wait for one.
COMMAND_CONNECTIONS = 32
LISTENER_CONNECTIONS = 16
# Suffix of a URL's scheme that names a cluster.
CLUSTER_SUFFIX = "+cluster"
# To each server of a cluster, whose client refuses further ones; the client of one server waits.
SHARD_CONNECTIONS = 512

# Redis cannot be reached, or cannot serve the command now: full, a replica, or being resharded.
_UNAVAILABLE_ERRORS = (
    ConnectionError,
    TimeoutError,
    OutOfMemoryError,
    ReadOnlyError,
    ClusterDownError,
    TryAgainError,
    AskError,
    ClusterError,
    # No server of a cluster answers, or none holds a slot. Also raised for keys of several slots, a
    # bug that the stores' tests on a cluster would show.
    RedisClusterException,
)
# Each capability keeps its scripts in a folder `lua` beside its stores.
_LUA_ROOT = Path(__file__).parents[1]


class RedisClients(NamedTuple):
    """Two clients of one Redis; replies are bytes.

    `commands` times out after two seconds and never repeats a command: a repeated INCR would count
    twice. `listener` makes the connections for pub/sub, which wait for messages without a timeout.
    No code blocks at the server (BLPOP, XREAD BLOCK): growth is published on a channel.
    """

    commands: Redis
    listener: Redis


@asynccontextmanager
async def open_redis(url: str, timeout_s: float = COMMAND_TIMEOUT_S) -> AsyncIterator[RedisClients]:
    """Both clients, closed with the block; connections open when first used.

    A URL that begins with `redis+cluster:` or `rediss+cluster:` names any server of a Redis
    Cluster; then both are the same client.

    Units: seconds.
    Errors: ValueError for an invalid URL.
    """
    async with AsyncExitStack() as stack:
        scheme, _, where = url.partition("://")
        if scheme.endswith(CLUSTER_SUFFIX):
            cluster = _cluster_client(f"{scheme.removesuffix(CLUSTER_SUFFIX)}://{where}", timeout_s)
            stack.push_async_callback(cluster.aclose)
            yield RedisClients(cluster, cluster)
            return
        commands = _client(url, COMMAND_CONNECTIONS, timeout_s)
        stack.push_async_callback(commands.aclose)
        # Pub/sub reads ignore the timeout; connecting and subscribing keep it.
        listener = _client(url, LISTENER_CONNECTIONS, timeout_s)
        stack.push_async_callback(listener.aclose)
        yield RedisClients(commands, listener)


def _client(url: str, connections: int, timeout_s: float) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        # The wait for a free connection counts as waiting for Redis.
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        # RESP2 is the same on every server since 7.0, and nothing of RESP3 is needed.
        protocol=2,
    )
    # Set afterwards, since a `rediss://` URL overrides the argument of from_url.
    pool.connection_class = _RETRYING_CLASSES.get(pool.connection_class, pool.connection_class)
    return Redis.from_pool(pool)


def _cluster_client(url: str, timeout_s: float) -> Redis:
    """A client of a cluster, typed as a client of one server, whose methods it has."""
    client = RedisCluster.from_url(
        url,
        max_connections=SHARD_CONNECTIONS,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    # The settings of connections to every server that the client discovers.
    kwargs = client.nodes_manager.connection_kwargs
    library_class = kwargs.get("connection_class", Connection)
    kwargs["connection_class"] = _RETRYING_CLASSES.get(library_class, library_class)
    return cast("Redis", client)


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


# Only connecting may be repeated, since no command was sent before it.
_CONNECT_RETRY = Retry(ConstantBackoff(CONNECT_PAUSE_S), CONNECT_TRIES - 1)


class _RetryingConnect:
    """Connects a second time where the first attempt failed; commands are never repeated."""

    async def connect(self) -> None:
        await _CONNECT_RETRY.call_with_retry(super().connect, self._disconnect_after)  # type: ignore[misc]

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send as the library does, with errors of closed connections translated."""
        with translate_send_errors():
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]

    async def _disconnect_after(self, _error: Exception) -> None:
        await self.disconnect()  # type: ignore[attr-defined]


class _RetryingConnection(_RetryingConnect, Connection):
    """A plain TCP connection that retries connecting."""


class _RetryingSSLConnection(_RetryingConnect, SSLConnection):
    """A TLS connection that retries connecting."""


_RETRYING_CLASSES: dict[type, type] = {
    Connection: _RetryingConnection,
    SSLConnection: _RetryingSSLConnection,
}


@contextmanager
def translate_redis_errors() -> Iterator[None]:
    """Raise StoreUnavailable where Redis cannot answer now; errors of wrong calls pass unchanged.

    A cancellation that the library took for its own timeout is raised again. Source: redis-py 8.1,
    its check whether a pooled connection has something to read.

    Errors: StoreUnavailable; whether the command was carried out may be unknown.
    """
    before = _count_cancellations()
    try:
        yield
        if _count_cancellations() > before:
            raise asyncio.CancelledError
    except _UNAVAILABLE_ERRORS as error:
        metrics.STORE_ERRORS.labels("redis", type(error).__name__).inc()
        raise StoreUnavailable("redis", str(error) or type(error).__name__) from error


def is_authentication_refused(error: StoreUnavailable) -> bool:
    """Whether Redis refused the user or the password, which waiting does not cure."""
    return isinstance(error.__cause__, AuthenticationError)


def _count_cancellations() -> int:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        # Outside of an event loop nothing is cancelled.
        return 0
    return task.cancelling() if task else 0


class Scripts:
    """The Lua scripts below `folder`, by file name, called by their SHA-1."""

    def __init__(self, client: Redis, folder: Path = _LUA_ROOT) -> None:
        self._client = client
        self._sources = _read_scripts(folder)
        self._hashes = {
            name: hashlib.sha1(source, usedforsecurity=False).hexdigest()
            for name, source in self._sources.items()
        }

    def sha(self, name: str) -> str:
        """The SHA-1 by which a pipeline calls a script after `load`.

        Errors: KeyError for an unknown script, a bug.
        """
        return self._hashes[name]

    async def load(self) -> None:
        """Load every script into Redis, so that pipelines may call it by its SHA-1.

        Redis: SCRIPT LOAD for each, one round trip; on a cluster one after the other, to every
        server; idempotent.
        """
        with translate_redis_errors():
            if isinstance(self._client, RedisCluster):
                for source in self._sources.values():
                    await self._client.script_load(source)
                return
            async with self._client.pipeline(transaction=False) as pipe:
                for source in self._sources.values():
                    pipe.script_load(source)
                await pipe.execute()

    async def run(self, name: str, keys: Sequence[str], args: Iterable[Any] = ()) -> Any:
        """Call a script, with its source where the server does not know it.

        Redis: EVALSHA, else EVAL; one round trip, two after a restart; atomic.
        """
        call = (len(keys), *keys, *args)
        with translate_redis_errors():
            try:
                return await self._client.evalsha(self._hashes[name], *call)
            except NoScriptError:
                # The script has not run. EVAL also caches it at the server.
                return await self._client.eval(self._sources[name].decode(), *call)


def _read_scripts(folder: Path) -> Mapping[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.rglob("*.lua"))}
