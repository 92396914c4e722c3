"""Redis connections: one client for each way of waiting, and errors that say what to do next."""

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

# A command that takes longer has failed; its caller is told to try again.
# Source: reliability design, ten default retries stalled one call for 3.6 s.
COMMAND_TIMEOUT_S = 2.0
CONNECT_TRIES = 2
CONNECT_PAUSE_S = 0.05
# One for each `Bulk`, and the commands of a busy moment; more of them wait their turn.
COMMAND_CONNECTIONS = 32
LISTENER_CONNECTIONS = 16
# What the scheme of a cluster's URL ends with.
CLUSTER_SUFFIX = "+cluster"
# To each server of a cluster; its client refuses more of them, where that of one server waits.
SHARD_CONNECTIONS = 512

# The server is there but cannot do the work now: full, a replica, or a cluster being resharded.
_UNAVAILABLE_ERRORS = (
    ConnectionError,
    TimeoutError,
    OutOfMemoryError,
    ReadOnlyError,
    ClusterDownError,
    TryAgainError,
    AskError,
    ClusterError,
    # No server of a cluster answers, or none holds a slot. It is also raised for keys of several
    # slots, a bug that the stores' tests on a cluster would show.
    RedisClusterException,
)
# Each capability keeps its scripts in a folder `lua` beside its stores.
_LUA_ROOT = Path(__file__).parents[1]


class RedisClients(NamedTuple):
    """The same Redis by two ways of waiting; replies are bytes.

    `commands` gives up after two seconds and never repeats a command: a repeated INCR counts
    twice. `listener` is for pub/sub, which waits for as long as nothing is said. Nobody waits at
    the server for a stream or list to grow: what grows is told on a channel.
    """

    commands: Redis
    listener: Redis


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[RedisClients]:
    """Make both clients and close them at the end; connections open when first used.

    A URL that begins with `redis+cluster:` or `rediss+cluster:` names any server of a Redis
    Cluster; then both are the same client.

    Errors: ValueError where the URL is none.
    """
    async with AsyncExitStack() as stack:
        scheme, _, where = url.partition("://")
        if scheme.endswith(CLUSTER_SUFFIX):
            shards = _cluster_client(f"{scheme.removesuffix(CLUSTER_SUFFIX)}://{where}")
            stack.push_async_callback(shards.aclose)
            yield RedisClients(shards, shards)
            return
        sizes = (
            (COMMAND_CONNECTIONS, COMMAND_TIMEOUT_S),
            # Blocking pub/sub reads ignore the timeout; (re)connecting and subscribing keep it.
            (LISTENER_CONNECTIONS, COMMAND_TIMEOUT_S),
        )
        clients = [_client(url, connections, timeout_s) for connections, timeout_s in sizes]
        for client in clients:
            stack.push_async_callback(client.aclose)
        yield RedisClients(*clients)


def _client(url: str, connections: int, timeout_s: float) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        # Waiting for a free connection is waiting for Redis.
        timeout=COMMAND_TIMEOUT_S,
        socket_timeout=timeout_s,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        # Nothing of RESP3 is used, and RESP2 reads alike on every server since 7.0.
        protocol=2,
    )
    # A `rediss://` URL overrules the argument of from_url, so the class is set after it.
    pool.connection_class = _RETRYING_CLASSES.get(pool.connection_class, pool.connection_class)
    return Redis.from_pool(pool)


def _cluster_client(url: str) -> Redis:
    """A client of all servers of a cluster; its methods are those of a client of one."""
    client = RedisCluster.from_url(
        url,
        max_connections=SHARD_CONNECTIONS,
        socket_timeout=COMMAND_TIMEOUT_S,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    # Every server that it finds is dialled with these.
    known = client.nodes_manager.connection_kwargs
    kind = known.get("connection_class", Connection)
    known["connection_class"] = _RETRYING_CLASSES.get(kind, kind)
    return cast("Redis", client)


@contextmanager
def translate_send_errors() -> Iterator[None]:
    """Whatever is raised where a line was lost unseen says that it is lost.

    Source: uvloop 0.23, which raises RuntimeError where somebody writes after the line closed.

    Errors: ConnectionError, the library's.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise ConnectionError(str(error) or "nothing could be sent") from error


# Nothing was sent before a connection stands, so that only connecting may be repeated.
_CONNECT_RETRY = Retry(ConstantBackoff(CONNECT_PAUSE_S), CONNECT_TRIES - 1)


class _RetryingConnect:
    """Connects a second time where the first failed; commands are never repeated."""

    async def connect(self) -> None:
        await _CONNECT_RETRY.call_with_retry(super().connect, self._disconnect_after)  # type: ignore[misc]

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send as the library does."""
        with translate_send_errors():
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]

    async def _disconnect_after(self, _error: Exception) -> None:
        await self.disconnect()  # type: ignore[attr-defined]


class _RetryingConnection(_RetryingConnect, Connection):
    """The same in plain text."""


class _RetryingSSLConnection(_RetryingConnect, SSLConnection):
    """The same over TLS."""


_RETRYING_CLASSES: dict[type, type] = {
    Connection: _RetryingConnection,
    SSLConnection: _RetryingSSLConnection,
}


@contextmanager
def translate_redis_errors() -> Iterator[None]:
    """Turn "Redis cannot answer now" into StoreUnavailable; errors of our own calls rise.

    Whoever was told to end meanwhile is ended, though the library took that for a timeout of its
    own. Source: redis-py 8.1, where it looks whether a pooled connection has something to read.

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


def _count_cancellations() -> int:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        # Outside of a loop nobody can be told.
        return 0
    return task.cancelling() if task else 0


class Scripts:
    """The Lua scripts below `folder`, by file name; loaded once, then called by their hash."""

    def __init__(self, client: Redis, folder: Path = _LUA_ROOT) -> None:
        self._client = client
        self._sources = _read_scripts(folder)
        self._hashes = {
            name: hashlib.sha1(source, usedforsecurity=False).hexdigest()
            for name, source in self._sources.items()
        }

    def sha(self, name: str) -> str:
        """The hash by which a pipeline calls a script after `load`; a script unknown is a bug."""
        return self._hashes[name]

    async def load(self) -> None:
        """Send every script, so that pipelines may call them by hash.

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
        """Call a script; one that the server has forgotten is sent with the call.

        Redis: EVALSHA, else EVAL; one round trip, two after a restart; atomic.
        """
        call = (len(keys), *keys, *args)
        with translate_redis_errors():
            try:
                return await self._client.evalsha(self._hashes[name], *call)
            except NoScriptError:
                # Nothing has run yet; EVAL also leaves the script at the server.
                return await self._client.eval(self._sources[name].decode(), *call)


def _read_scripts(folder: Path) -> Mapping[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(folder.rglob("*.lua"))}
