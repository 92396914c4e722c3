"""Redis clients for commands and for pub/sub, Lua scripts, and errors translated for the stores."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoScriptError,
    RedisClusterException,
    RedisError,
)

from dispatch import metrics
from dispatch.errors import StoreUnavailable
from dispatch.settings.redis_url import RedisMode, parse_redis_url
from dispatch.storage.failover.peer_errors import fault_of
from dispatch.storage.failover.sentinel import follow_primary
from dispatch.storage.redis_connection import CONNECT_TIMEOUT_S, CONNECTION_CLASSES, OpenConnections

# A command that takes longer has failed, and its caller may try again.
# Source: chosen; the library's ten default retries stalled one call for 3.6 s.
COMMAND_TIMEOUT_S = 2.0
# One for each `Pipeline`, and the commands of a busy moment; further commands wait for one.
COMMAND_CONNECTIONS = 32
LISTENER_CONNECTIONS = 16
# To each server of a cluster, whose client refuses further ones; the client of one server waits.
SHARD_CONNECTIONS = 512

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

    `parse_redis_url` has the forms of a URL. On a Redis Cluster both are the same client; with
    Sentinel both connect to the primary that the sentinels name.

    Units: seconds.
    Errors: ValueError for an invalid URL.
    """
    parsed = parse_redis_url(url)
    async with AsyncExitStack() as stack:
        if parsed.mode is RedisMode.CLUSTER:
            cluster = _cluster_client(parsed.url, timeout_s)
            stack.push_async_callback(cluster.aclose)
            yield RedisClients(cluster, cluster)
            return
        connections = OpenConnections()
        if parsed.mode is RedisMode.SENTINEL:
            await stack.enter_async_context(follow_primary(parsed, connections))
        commands = _client(parsed.url, COMMAND_CONNECTIONS, timeout_s, connections)
        stack.push_async_callback(commands.aclose)
        # Pub/sub reads ignore the timeout; connecting and subscribing keep it.
        listener = _client(parsed.url, LISTENER_CONNECTIONS, timeout_s, connections)
        stack.push_async_callback(listener.aclose)
        yield RedisClients(commands, listener)


def _client(url: str, count: int, timeout_s: float, connections: OpenConnections) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=count,
        # The wait for a free connection counts as waiting for Redis.
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, CONNECT_TIMEOUT_S),
        retry=Retry(NoBackoff(), 0),
        # RESP2 is the same on every server since 7.0, and nothing of RESP3 is needed.
        protocol=2,
        connections=connections,
    )
    # Set afterwards, since a `rediss://` URL overrides the argument of from_url.
    pool.connection_class = CONNECTION_CLASSES[pool.connection_class]
    return Redis.from_pool(pool)


def _cluster_client(url: str, timeout_s: float) -> Redis:
    """A client of a cluster, typed as a client of one server, whose methods it has."""
    client = RedisCluster.from_url(
        url,
        max_connections=SHARD_CONNECTIONS,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, CONNECT_TIMEOUT_S),
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    # The settings of connections to every server that the client discovers, and to the first one.
    kwargs = client.nodes_manager.connection_kwargs
    kwargs["connection_class"] = CONNECTION_CLASSES[kwargs.get("connection_class", Connection)]
    kwargs["connections"] = OpenConnections(is_cluster=True)
    for node in client.startup_nodes:
        node.connection_class = kwargs["connection_class"]
        node.connection_kwargs["connections"] = kwargs["connections"]
    return cast("Redis", client)


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
    except (RedisError, RedisClusterException) as error:
        if fault_of(error) is None:
            raise
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

    @property
    def load_commands(self) -> list[tuple[str | bytes, ...]]:
        """The commands that load every script into one server."""
        return [("SCRIPT", "LOAD", source) for source in self._sources.values()]

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
