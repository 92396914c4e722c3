"""Connections in memory: bytes arrive in order and late, and a connection may be cut."""

import asyncio
import contextvars
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

# Bytes that may be on their way or unread before a writer is asked to wait, and to go on.
HIGH_WATER_BYTES, LOW_WATER_BYTES = 64 * 1024, 16 * 1024
# Between two deliveries of one connection, so that they keep their order.
DELIVERY_GAP_S = 4e-6

# Who speaks to whom -> how long the way of the next bytes is. Units: seconds.
LatencyFunction = Callable[[str, str, random.Random], float]


class BoundSocket:
    """Stands for a bound socket where a server wants one."""

    family = socket.AF_INET

    def __init__(self, name: str) -> None:
        self.name = name

    def getsockname(self) -> tuple[str, int]:
        """Where it is bound."""
        return self.name, 80


class Listener:
    """A name at which a process takes connections; what aiohttp holds of its server."""

    def __init__(self, factory: Callable[[], Any], bound_socket: BoundSocket, process: Any) -> None:
        self.factory = factory
        self.bound_socket = bound_socket
        self.process = process
        self.context = contextvars.copy_context()
        self.is_open = True
        self.sockets = [bound_socket]

    def close(self) -> None:
        """Take no more connections."""
        self.is_open = False

    async def wait_closed(self) -> None:
        """It is closed at once."""


class MemoryNetwork:
    """Every connection of the town, and the names one can connect to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.latency_s: LatencyFunction = _constant_latency
        self._listeners: dict[str, Listener] = {}
        self._transports: dict[int, MemoryTransport] = {}
        self._connection_count = 0

    def listen(self, listener: Listener) -> Listener:
        """Take connections under the name of the plug."""
        self._listeners[listener.bound_socket.name] = listener
        return listener

    async def connect(self, factory: Callable[[], Any], name: str, process: Any) -> tuple[Any, Any]:
        """Open a connection. Errors: ConnectionRefusedError."""
        self._connection_count += 1
        number = self._connection_count
        chance = random.Random(number)
        here = process.name if process is not None else "client"
        await asyncio.sleep(self.latency_s(here, name, chance))
        listener = self._listeners.get(name)
        if listener is None or not listener.is_open:
            raise ConnectionRefusedError(f"nobody listens at {name}")
        near = MemoryTransport(self, 2 * number, (here, name), process)
        far = MemoryTransport(self, 2 * number + 1, (name, here), listener.process)
        far.context = listener.context.copy()
        near.peer, far.peer = far, near
        self._transports[near.number], self._transports[far.number] = near, far
        self.loop.call_soon(far.open, listener.factory, context=far.context)
        protocol = factory()
        near.open(lambda: protocol)
        return near, protocol

    def disconnect_process(self, process: Any) -> None:
        """A process is gone: its connections break, its names answer no more."""
        for name, listener in list(self._listeners.items()):
            if listener.process is process:
                listener.close()
                del self._listeners[name]
        for end in [end for end in self._transports.values() if end.process is process]:
            end.reset()

    def reset_connections(self, name: str) -> int:
        """Break every connection to a name; returns how many they were."""
        ends = [end for end in self._transports.values() if end.route[0] == name]
        for end in ends:
            end.reset()
        return len(ends)

    def remove(self, transport: "MemoryTransport") -> None:
        """The connection is over on this side."""
        self._transports.pop(transport.number, None)


class MemoryTransport(asyncio.Transport):
    """One side of a connection."""

    peer: "MemoryTransport"

    def __init__(
        self, network: MemoryNetwork, number: int, route: tuple[str, str], process: Any
    ) -> None:
        name, place = ("peername", (route[1], number)), ("sockname", (route[0], 80))
        super().__init__(dict((name, place, ("end", self))))
        self.number = number
        self.route = route
        self.process = process
        self.context = contextvars.copy_context()
        self._network = network
        self._loop = network.loop
        self._rng = random.Random(number)
        self._protocol: Any = None
        self._last_delivery_s = 0.0
        self._is_closing = False
        self._is_lost = False
        # What has arrived and is not read yet.
        self._received: deque[bytes] = deque()
        self._is_reading = True
        # What was sent and is not read yet by the peer.
        self._in_flight_bytes = 0
        self._is_paused = False

    def open(self, factory: Callable[[], Any]) -> None:
        """The connection stands."""
        self._protocol = factory()
        self._protocol.connection_made(self)

    # What a protocol asks of its transport.

    def write(self, data: Any) -> None:
        """Send bytes."""
        if self._is_closing or self._is_lost or not data:
            return
        raw = bytes(data)
        self._in_flight_bytes += len(raw)
        self._deliver_later(self.peer._on_data, raw)
        if self._in_flight_bytes > HIGH_WATER_BYTES and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._is_closing or self._is_lost

    def close(self) -> None:
        """Send what was written, and no more."""
        if not self.is_closing():
            self._is_closing = True
            self._deliver_later(self.peer._on_eof, None)
            self._loop.call_soon(self._finish, None, context=self.context)

    def abort(self) -> None:
        """End without a word."""
        self.reset()

    def can_write_eof(self) -> bool:
        """It cannot."""
        return False

    def pause_reading(self) -> None:
        """Keep what arrives."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Hand over what was kept."""
        self._is_reading = True
        self._loop.call_soon(self._pass_to_protocol, context=self.context)

    def is_reading(self) -> bool:
        """Whether what arrives is handed over."""
        return self._is_reading and not self.is_closing()

    def get_protocol(self) -> Any:
        """Who listens to this end."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Let another one listen."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Bytes the peer has not read."""
        return self._in_flight_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """They are the same for all."""

    # What happens to it.

    def reset(self) -> None:
        """The connection breaks: what is on its way is lost, and both sides learn of it."""
        for end in (self, self.peer):
            if not end._is_lost:
                reset = ConnectionResetError("the connection broke")
                end._loop.call_soon(end._finish, reset, context=end.context)

    def _deliver_later(self, deliver: Callable[[Any], None], data: Any) -> None:
        way_s = self._network.latency_s(*self.route, self._rng)
        self._last_delivery_s = max(
            self._last_delivery_s + DELIVERY_GAP_S, self._loop.time() + way_s
        )
        self._loop.call_at(self._last_delivery_s, deliver, data, context=self.peer.context)

    def _on_data(self, data: bytes) -> None:
        if not self._is_lost:
            self._received.append(data)
            self._pass_to_protocol()

    def _pass_to_protocol(self) -> None:
        while self._received and self._is_reading and not self._is_lost and not self._is_closing:
            data = self._received.popleft()
            self.peer._on_peer_read(len(data))
            self._protocol.data_received(data)

    def _on_peer_read(self, size: int) -> None:
        self._in_flight_bytes -= size
        if self._is_paused and self._in_flight_bytes <= LOW_WATER_BYTES and not self._is_lost:
            self._is_paused = False
            self._loop.call_soon(self._protocol.resume_writing, context=self.context)

    def _on_eof(self, _nothing: None) -> None:
        if not self._is_lost and not self._is_closing:
            self._protocol.eof_received()
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        self._received.clear()
        self._network.remove(self)
        if self._protocol is not None:
            self._protocol.connection_lost(error)


def _constant_latency(_from: str, _to: str, _chance: random.Random) -> float:
    return 0.001
