"""Redis for the simulation: the commands of fakeredis behind a connection in memory."""

import asyncio
import struct
from typing import Any

import redis
from fakeredis import FakeServer
from fakeredis._clients._tcp_server import encode_reply
from fakeredis._socket import FakeSocket

from tests.simulation.memory_network import BoundSocket, MemoryNetwork, MemoryTransport

# What redis-py's URL names.
REDIS_HOST = "redis"


class _FakeRedisConnection(FakeSocket):
    """One client's conversation; answers go out at once."""

    _connection_error_class = redis.ConnectionError
    transport: MemoryTransport
    run_id: str

    def __hash__(self) -> int:
        """Sets of listeners have an order of their own, and the same one every time."""
        return self.transport.number

    def __eq__(self, other: object) -> bool:
        return self is other

    def put_response(self, msg: Any) -> None:
        """Send one answer."""
        self.transport.write(encode_reply(msg, 2))

    def _lua_redis_call(
        self, lua_runtime: Any, expected_globals: set[Any], op: bytes, *args: Any
    ) -> Any:
        """Scripts ask which run of the server this is, which fakeredis does not know."""
        if op == b"INFO":
            return b"# Server\r\nrun_id:%s\r\n" % self.run_id.encode()
        return super()._lua_redis_call(lua_runtime, expected_globals, op, *args)

    def _get_server_runtime(self, server: FakeServer) -> Any:
        """Lua, with the part of its `struct` library that the scripts use."""
        runtime = super()._get_server_runtime(server)
        known: Any = server
        if b"struct" not in known._lua_expected_globals:
            runtime.globals()[b"struct"] = runtime.table_from({b"unpack": _lua_struct_unpack})
            known._lua_expected_globals.add(b"struct")
        return runtime


def _lua_struct_unpack(layout: bytes, text: bytes, start: float = 1) -> tuple[Any, ...]:
    """Source: Lua's struct library; the position behind what was read comes last."""
    at, form = int(start) - 1, layout.decode()
    return (*struct.unpack_from(form, text, at), at + struct.calcsize(form) + 1)


class _FakeRedisProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: FakeServer, run_id: str) -> None:
        self._server = server
        self._run_id = run_id
        self._connection: _FakeRedisConnection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._connection = _FakeRedisConnection(self._server, 0, client_class=redis.Redis)
        assert isinstance(transport, MemoryTransport)
        self._connection.transport, self._connection.run_id = transport, self._run_id

    def data_received(self, data: bytes) -> None:
        """Carry out what came."""
        if self._connection is not None:
            self._connection.sendall(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class FakeRedis:
    """One Redis server, which can go away, come back, and come back empty."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self.server = FakeServer(version=(7, 4))
        self._listener: Any = None
        self._run_count = 0
        # The name of its present run; it changes with every start.
        self.run_id = ""

    @property
    def is_down(self) -> bool:
        """Whether nobody answers."""
        return not self._listener.is_open

    async def start(self) -> None:
        """Take connections."""
        loop: Any = asyncio.get_running_loop()
        self._run_count += 1
        self.run_id = f"run{self._run_count}"
        self._listener = await loop.create_server(
            lambda: _FakeRedisProtocol(self.server, self.run_id), sock=BoundSocket(REDIS_HOST)
        )

    def stop(self, *, loses_data: bool) -> None:
        """Go away; `forgets` loses everything it knew."""
        self._listener.close()
        self._network.reset_connections(REDIS_HOST)
        if loses_data:
            self.server = FakeServer(version=(7, 4))

    def flush(self) -> None:
        """FLUSHALL, on a server that stays."""
        with self.server.lock:
            for database in self.server.dbs.values():
                database.clear()

    def read_hash(self, name: str) -> dict[str, str]:
        """A hash as it stands, for who judges."""
        item = self.server.dbs[0]._dict.get(name.encode())
        if item is None:
            return {}
        return {key.decode(): value.decode() for key, value in item.value.getall().items()}
