"""Which Redis server holds a key or channel, and connections to it: one server, or a cluster."""

import asyncio
from typing import Protocol, cast

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection
from redis.crc import key_slot

from dispatch.storage.redis_client import translate_redis_errors


class RedisServers(Protocol):
    """Everything below names a server as `holder` does."""

    # Whether another server may hold a key tomorrow.
    can_move: bool

    async def refresh(self) -> None:
        """Learn anew who holds what. Errors: StoreUnavailable."""
        ...

    async def server_for(self, key: str | bytes) -> str:
        """The name of the server that holds a key. Errors: StoreUnavailable."""
        ...

    def make_connection(self, server: str) -> AbstractConnection:
        """A connection of the caller's own, which is to be opened and closed by him."""
        ...

    async def acquire(self, server: str) -> AbstractConnection:
        """A connection for some commands. Errors: those of the library."""
        ...

    async def release(self, server: str, connection: AbstractConnection) -> None:
        """It may be lent to others."""
        ...


def servers_of(client: Redis | RedisCluster) -> RedisServers:
    """Those that a client speaks to."""
    return _ClusterServers(client) if isinstance(client, RedisCluster) else _SingleServer(client)


class _SingleServer:
    """One server for everything."""

    can_move = False

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        # The pool's, which one of our callers had: lending and taking back cost the pool as much
        # as sending a hundred commands. It counts as lent, and the pool closes it in the end.
        self._spare: AbstractConnection | None = None

    async def refresh(self) -> None:
        """There is nothing to learn."""

    async def server_for(self, key: str | bytes) -> str:
        """It has no name."""
        return ""

    def make_connection(self, server: str) -> AbstractConnection:
        """A connection that the pool does not know."""
        assert isinstance(self._pool, BlockingConnectionPool), "ours are such pools"
        return self._pool.make_connection()

    async def acquire(self, server: str) -> AbstractConnection:
        """The one that is kept, should it be free and open, else one of the pool's."""
        kept, self._spare = self._spare, None
        if kept is not None:
            if _is_open(kept):
                return kept
            await self._pool.release(kept)
        return await self._pool.get_connection()

    async def release(self, server: str, connection: AbstractConnection) -> None:
        """Kept for the next caller, or into the pool."""
        if self._spare is None and _is_open(connection):
            self._spare = connection
        else:
            await self._pool.release(connection)


def _is_open(connection: AbstractConnection) -> bool:
    """Whether the other side has not hung up, as far as is known."""
    stream: asyncio.StreamReader | None = connection._reader
    return stream is not None and not stream.at_eof()


class _ClusterServers:
    """A cluster, as its client knows it."""

    can_move = True

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Ask any of its servers. Redis: CLUSTER SLOTS."""
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
        """A connection with the settings of the client's own."""
        node = self._client.nodes_manager.nodes_cache[server]
        return node.connection_class(**node.connection_kwargs)

    async def acquire(self, server: str) -> AbstractConnection:
        """One of the server's free connections."""
        return self._client.nodes_manager.nodes_cache[server].acquire_connection()

    async def release(self, server: str, connection: AbstractConnection) -> None:
        """To the server's free ones, should it still be known."""
        node = self._client.nodes_manager.nodes_cache.get(server)
        if node is None or connection not in node._connections:
            await connection.disconnect(nowait=True)
        else:
            node.release(cast("Connection", connection))
