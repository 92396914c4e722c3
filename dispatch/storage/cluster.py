"""Redis servers: which one holds a key or channel, and connections to it, on one or a cluster."""

import asyncio
from typing import Protocol, cast

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection
from redis.crc import key_slot

from dispatch.storage.redis_client import translate_redis_errors


class RedisServers(Protocol):
    """The servers of one Redis; a server is named by what `server_for` returns."""

    # Whether keys can move to another server.
    can_move: bool

    async def refresh(self) -> None:
        """Reload the map from slots to servers. Errors: StoreUnavailable."""
        ...

    async def server_for(self, key: str | bytes) -> str:
        """The server that holds a key or channel. Errors: StoreUnavailable."""
        ...

    def make_connection(self, server: str) -> AbstractConnection:
        """A new connection outside of the pool; the caller opens and closes it."""
        ...

    async def acquire(self, server: str) -> AbstractConnection:
        """A pooled connection. Errors: those of the library."""
        ...

    async def release(self, server: str, connection: AbstractConnection) -> None:
        """Return a pooled connection."""
        ...


def servers_of(client: Redis | RedisCluster) -> RedisServers:
    """The servers of a client."""
    return _ClusterServers(client) if isinstance(client, RedisCluster) else _SingleServer(client)


class _SingleServer:
    """One Redis server, which holds every key; its name is empty."""

    can_move = False

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        # One connection is kept out of the pool between callers: the pool's acquire and release
        # cost as much as sending a hundred commands. The pool counts it as acquired, and closes it
        # at the end.
        self._spare: AbstractConnection | None = None

    async def refresh(self) -> None:
        """Nothing moves on one server."""

    async def server_for(self, key: str | bytes) -> str:
        """The one server."""
        return ""

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
        self._client = client
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Reload the slot map from any of the servers. Redis: CLUSTER SLOTS."""
        async with self._lock:
            with translate_redis_errors():
                await self._client.initialize()
                await self._client.nodes_manager.initialize()

    async def server_for(self, key: str | bytes) -> str:
        """The primary of the key's slot. Source: Redis Cluster specification, hash tags."""
        slots = self._client.nodes_manager.slots_cache
        if not slots:
            await self.refresh()
        raw = key.encode() if isinstance(key, str) else key
        with translate_redis_errors():
            return self._client.nodes_manager.get_node_from_slot(key_slot(raw)).name

    def make_connection(self, server: str) -> AbstractConnection:
        """A new connection with the client's settings."""
        node = self._client.nodes_manager.nodes_cache[server]
        return node.connection_class(**node.connection_kwargs)

    async def acquire(self, server: str) -> AbstractConnection:
        """A free connection of the server."""
        return self._client.nodes_manager.nodes_cache[server].acquire_connection()

    async def release(self, server: str, connection: AbstractConnection) -> None:
        """Return the connection, or close it where its server has left the cluster."""
        node = self._client.nodes_manager.nodes_cache.get(server)
        if node is None or connection not in node._connections:
            await connection.disconnect(nowait=True)
        else:
            node.release(cast("Connection", connection))
