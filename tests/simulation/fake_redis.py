"""In-memory Redis for the simulation: fakeredis behind a simulated connection."""

import asyncio
import struct
from typing import Any

import redis
from fakeredis import FakeServer
from fakeredis._clients._tcp_server import encode_reply
from fakeredis._socket import FakeSocket

from tests.simulation.memory_network import BoundSocket, MemoryNetwork, MemoryTransport

# The host name in the settings' Redis URL.
REDIS_HOST = "redis"


class _FakeRedisConnection(FakeSocket):
    """One client's connection to fakeredis; replies are sent at once."""

    _connection_error_class = redis.ConnectionError
    transport: MemoryTransport
    run_id: str

    def __hash__(self) -> int:
        """A fixed hash, so that fakeredis's sets of subscribers iterate in one order every run."""
        return self.transport.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def put_response(self, msg: Any) -> None:
        """Send one reply."""
        self.transport.write(encode_reply(msg, 2))

    def _lua_redis_call(
        self, lua_runtime: Any, expected_globals: set[Any], op: bytes, *args: Any
    ) -> Any:
        """Answer INFO, which scripts call for the server's run id and fakeredis lacks."""
        if op == b"INFO":
            return b"# Server\r\nrun_id:%s\r\n" % self.run_id.encode()
        return super()._lua_redis_call(lua_runtime, expected_globals, op, *args)

    def _get_server_runtime(self, server: FakeServer) -> Any:
        """A Lua runtime with the part of the `struct` library that the scripts use."""
        runtime = super()._get_server_runtime(server)
        server_state: Any = server
        if b"struct" not in server_state._lua_expected_globals:
            runtime.globals()[b"struct"] = runtime.table_from({b"unpack": _lua_struct_unpack})
            server_state._lua_expected_globals.add(b"struct")
        return runtime


def _lua_struct_unpack(layout: bytes, text: bytes, start: float = 1) -> tuple[Any, ...]:
    """`struct.unpack` of Lua's struct library; the position after the last value comes last."""
    offset, struct_format = int(start) - 1, layout.decode()
    return (
        *struct.unpack_from(struct_format, text, offset),
        offset + struct.calcsize(struct_format) + 1,
    )


class _FakeRedisProtocol(asyncio.Protocol):
    """Protocol of one connection."""

    def __init__(self, server: FakeServer, run_id: str) -> None:
        self._server = server
        self._run_id = run_id
        self._connection: _FakeRedisConnection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open a fakeredis connection."""
        self._connection = _FakeRedisConnection(self._server, 0, client_class=redis.Redis)
        assert isinstance(transport, MemoryTransport)
        self._connection.transport, self._connection.run_id = transport, self._run_id

    def data_received(self, data: bytes) -> None:
        """Execute the received commands."""
        if self._connection is not None:
            self._connection.sendall(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the fakeredis connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class FakeRedis:
    """One Redis server, which can stop, restart, and lose its data."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self.server = FakeServer(version=(7, 4))
        self._listener: Any = None
        self._run_count = 0
        # Changes with every start, as a real server's run id does.
        self.run_id = ""

    @property
    def is_down(self) -> bool:
        """Whether it refuses connections."""
        return not self._listener.is_open

    async def start(self) -> None:
        """Accept connections."""
        loop: Any = asyncio.get_running_loop()
        self._run_count += 1
        self.run_id = f"run{self._run_count}"
        self._listener = await loop.create_server(
            lambda: _FakeRedisProtocol(self.server, self.run_id), sock=BoundSocket(REDIS_HOST)
        )

    def stop(self, *, loses_data: bool) -> None:
        """Stop and reset all connections; `loses_data` also deletes everything."""
        self._listener.close()
        self._network.reset_connections(REDIS_HOST)
        if loses_data:
            self.server = FakeServer(version=(7, 4))

    def flush(self) -> None:
        """FLUSHALL on the running server."""
        with self.server.lock:
            for database in self.server.dbs.values():
                database.clear()

    def read_hash(self, name: str) -> dict[str, str]:
        """A hash as it is now, for the auditor."""
        item = self.server.dbs[0]._dict.get(name.encode())
        if item is None:
            return {}
        return {key.decode(): value.decode() for key, value in item.value.getall().items()}
