"""Write probe: whether Redis takes writes now, at every server that holds keys."""

import asyncio

from dispatch import ids, keys
from dispatch.storage.cluster import RedisServers, servers_of
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts

# A probe's key of a server that is no longer asked ends by itself.
KEY_TTL_MS = 10_000


class WriteProbe:
    """Writes one key to each server, as commands are written.

    A replica answers a PING, and so does a primary that is full or has lost its disk; on a cluster
    the servers that are left answer for one that is down.
    """

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._servers: RedisServers = servers_of(clients.commands)
        self._pipeline = Pipeline(clients.commands, scripts)
        self._node = ids.new_id("probe")
        # By server; the first of its kind that lies there.
        self._numbers: dict[str, int] = {}

    async def run(self) -> None:
        """Return where every primary has taken a write.

        Redis: SET at each primary, all at once; idempotent.
        Errors: StoreUnavailable.
        """
        servers = await self._servers.primaries()
        written = [await self._key_at(server) for server in servers]
        commands: list[Command] = [("SET", key, "1", "PX", KEY_TTL_MS) for key in written]
        await self._pipeline.run(commands)

    async def _key_at(self, server: str) -> str:
        """A key that lies at a server."""
        number = self._numbers.get(server, 0)
        while await self._servers.server_for(key := keys.heartbeat(self._node, number)) != server:
            number += 1
            if number % 1000 == 0:
                # A server with few slots; other work goes on meanwhile.
                await asyncio.sleep(0)
        self._numbers[server] = number
        return key
