"""Redis servers: which one holds a key or channel, and connections to it, on one or a cluster."""

import asyncio
from collections.abc import Iterable
from typing import Protocol, cast
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection
from redis.crc import key_slot
from redis.exceptions import (
    ConnectionError,  # noqa: A004 (redis has no other name for it)
    MovedError,
)

from dispatch.errors import StoreUnavailable
from dispatch.storage.redis_client import translate_redis_errors
from dispatch.storage.redis_connection import ONLY_SERVER, OpenConnections

# The slot map is loaded at most this often, since every call to a server that is down asks for it.
# Source: measured 2026-11-30, one load takes 5 ms of CPU.
REFRESH_EVERY_S = 0.25


class RedisServers(Protocol):
    """The servers of one Redis; a server is named by what `server_for` returns."""

    # Whether keys can move to another server.
    can_move: bool
    # All open connections, whoever uses them.
    connections: OpenConnections

    async def refresh(self) -> None:
        """Reload the map from slots to servers. Errors: StoreUnavailable."""
        ...

    async def follow(self, moved: Iterable[MovedError]) -> None:
        """Note where slots have moved to. Errors: StoreUnavailable."""
        ...

    async def server_for(self, key: str | bytes) -> str:
        """The server that holds a key or channel. Errors: StoreUnavailable."""
        ...

    async def primaries(self) -> list[str]:
        """The servers that take writes. Errors: StoreUnavailable."""
        ...

    def make_connection(self, server: str) -> AbstractConnection:
        """A new connection outside of the pool; the caller opens and closes it.

        Errors: those of the library.
        """
        ...

    async def acquire(self, server: str) -> AbstractConnection:
        """A pooled connection. Errors: those of the library."""
        ...

    async def release(self, server: str, connection: AbstractConnection) -> None:
        """Return a pooled connection."""
        ...


def servers_of(client: Redis | RedisCluster) -> RedisServers:
    """The servers of a client; those of a cluster's client are one object."""
    if not isinstance(client, RedisCluster):
        return _SingleServer(client)
    if client not in _of_cluster:
        _of_cluster[client] = _ClusterServers(client)
    return _of_cluster[client]


class _SingleServer:
    """One Redis server, which holds every key."""

    can_move = False

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self.connections: OpenConnections = self._pool.connection_kwargs["connections"]
        # One connection is kept out of the pool between callers: the pool's acquire and release
        # cost as much as sending a hundred commands. The pool counts it as acquired, and closes it
        # at the end.
        self._spare: AbstractConnection | None = None

    async def refresh(self) -> None:
        """Nothing moves on one server."""

    async def follow(self, moved: Iterable[MovedError]) -> None:
        """Nothing moves on one server."""

    async def server_for(self, key: str | bytes) -> str:
        """The one server."""
        return ONLY_SERVER

    async def primaries(self) -> list[str]:
        """The one server."""
        return [ONLY_SERVER]

    def make_connection(self, server: str) -> AbstractConnection:
        """A new connection with the pool's settings."""
        assert isinstance(self._pool, BlockingConnectionPool), "open_redis makes such pools"
        return self._pool.make_connection()

    async def acquire(self, server: str) -> AbstractConnection:
        """The kept connection where it is free and open, else one of the pool."""
        kept, self._spare = self._spare, None
        if kept is not None:
            if _is_open(kept):
                return kept
            await self._pool.release(kept)
        return await self._pool.get_connection()

    async def release(self, server: str, connection: AbstractConnection) -> None:
        """Keep the connection for the next caller, or return it to the pool."""
        if self._spare is None and _is_open(connection):
            self._spare = connection
        else:
            await self._pool.release(connection)


def _is_open(connection: AbstractConnection) -> bool:
    """Whether the connection is open and its end of stream has not been read."""
    stream: asyncio.StreamReader | None = connection._reader
    return stream is not None and not stream.at_eof()


class _ClusterServers:
    """A Redis Cluster, with the slot map of its client."""

    can_move = True

    def __init__(self, client: RedisCluster) -> None:
        self._nodes = client.nodes_manager
        self._initialize = client.initialize
        self.connections: OpenConnections = self._nodes.connection_kwargs["connections"]
        self._lock = asyncio.Lock()
        # When the last load ended, and the error that it ended with.
        self._loaded_s = float("-inf")
        self._failure: StoreUnavailable | None = None

    async def refresh(self) -> None:
        """Reload the slot map from any of the servers, unless that was done a moment ago.

        Redis: CLUSTER SLOTS.
        """
        clock = asyncio.get_running_loop().time
        async with self._lock:
            if clock() >= self._loaded_s + REFRESH_EVERY_S:
                try:
                    self._failure = None
                    await self._load()
                except StoreUnavailable as error:
                    self._failure = error
                finally:
                    self._loaded_s = clock()
            if self._failure is not None:
                raise self._failure

    async def _load(self) -> None:
        with translate_redis_errors():
            if not self._nodes.slots_cache:
                await self._initialize()
            else:
                await self._nodes.initialize()

    async def follow(self, moved: Iterable[MovedError]) -> None:
        """Note where slots have moved to; the servers' own word is newer than any slot map.

        A slot shares its entry with the others of its range, which have moved with it where a
        replica was promoted.
        """
        for error in moved:
            if error.host and self._nodes.slots_cache:
                await self._nodes.move_slot(error)
            else:
                # A server that does not know where the slot is.
                await self.refresh()

    async def server_for(self, key: str | bytes) -> str:
        """The primary of the key's slot. Source: Redis Cluster specification, hash tags."""
        if not self._nodes.slots_cache:
            await self.refresh()
        raw = key.encode() if isinstance(key, str) else key
        with translate_redis_errors():
            return self._nodes.get_node_from_slot(key_slot(raw)).name

    async def primaries(self) -> list[str]:
        """The primaries that hold slots, in the order of their slots."""
        if not self._nodes.slots_cache:
            await self.refresh()
        return list(dict.fromkeys(nodes[0].name for nodes in self._nodes.slots_cache.values()))

    def make_connection(self, server: str) -> AbstractConnection:
        """A new connection with the client's settings."""
        node = self._node(server)
        return node.connection_class(**node.connection_kwargs)

    async def acquire(self, server: str) -> AbstractConnection:
        """A free connection of the server."""
        connection = self._node(server).acquire_connection()
        if connection.is_connected and not _is_open(connection):
            await connection.disconnect(nowait=True)
        return connection

    async def release(self, server: str, connection: AbstractConnection) -> None:
        """Return the connection, or close it where its server has left the cluster."""
        node = self._nodes.nodes_cache.get(server)
        if node is None or connection not in node._connections:
            await connection.disconnect(nowait=True)
        else:
            node.release(cast("Connection", connection))

    def _node(self, server: str) -> ClusterNode:
        node = self._nodes.nodes_cache.get(server)
        if node is None:
            raise ConnectionError(f"{server} has left the cluster")
        return node


# The client is shared by everything that asks for its servers, and so is what they know of it.
_of_cluster: WeakKeyDictionary[RedisCluster, _ClusterServers] = WeakKeyDictionary()
