"""In-memory network: connections with latency, in-order delivery and resets."""

import asyncio
import contextvars
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

# Bytes in flight or unread at which a writer is paused, and resumed.
HIGH_WATER_BYTES, LOW_WATER_BYTES = 64 * 1024, 16 * 1024
# Gap between two deliveries of one connection, which keeps their order.
DELIVERY_GAP_S = 4e-6

# (sender, receiver, generator) -> latency of the next bytes. Units: seconds.
LatencyFunction = Callable[[str, str, random.Random], float]


class BoundSocket:
    """Stands in for a bound socket where a server expects one."""

    family = socket.AF_INET

    def __init__(self, name: str) -> None:
        self.name = name

    def getsockname(self) -> tuple[str, int]:
        """The address it is bound to."""
        return self.name, 80


class Listener:
    """A name at which a process accepts connections; aiohttp treats it as its server."""

    def __init__(self, factory: Callable[[], Any], bound_socket: BoundSocket, process: Any) -> None:
        self.factory = factory
        self.bound_socket = bound_socket
        self.process = process
        self.context = contextvars.copy_context()
        self.is_open = True
        self.sockets = [bound_socket]

    def close(self) -> None:
        """Accept no more connections."""
        self.is_open = False

    async def wait_closed(self) -> None:
        """Closing takes no time."""


class MemoryNetwork:
    """All connections of a simulation, and the names that accept connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.latency_s: LatencyFunction = _constant_latency
        self._listeners: dict[str, Listener] = {}
        self._transports: dict[int, MemoryTransport] = {}
        self._connection_count = 0

    def listen(self, listener: Listener) -> Listener:
        """Accept connections under the name of the listener's socket."""
        self._listeners[listener.bound_socket.name] = listener
        return listener

    async def connect(self, factory: Callable[[], Any], name: str, process: Any) -> tuple[Any, Any]:
        """Open a connection. Errors: ConnectionRefusedError."""
        self._connection_count += 1
        number = self._connection_count
        rng = random.Random(number)
        local_name = process.name if process is not None else "client"
        await asyncio.sleep(self.latency_s(local_name, name, rng))
        listener = self._listeners.get(name)
        if listener is None or not listener.is_open:
            raise ConnectionRefusedError(f"no listener at {name}")
        local = MemoryTransport(self, 2 * number, (local_name, name), process)
        remote = MemoryTransport(self, 2 * number + 1, (name, local_name), listener.process)
        remote.context = listener.context.copy()
        local.peer, remote.peer = remote, local
        self._transports[local.number], self._transports[remote.number] = local, remote
        self.loop.call_soon(remote.open, listener.factory, context=remote.context)
        protocol = factory()
        local.open(lambda: protocol)
        return local, protocol

    def disconnect_process(self, process: Any) -> None:
        """Reset the connections of a killed process and remove its listeners."""
        for name, listener in list(self._listeners.items()):
            if listener.process is process:
                listener.close()
                del self._listeners[name]
        for transport in [
            transport for transport in self._transports.values() if transport.process is process
        ]:
            transport.reset()

    def reset_connections(self, name: str) -> int:
        """Reset every connection to a name; their number."""
        transports = [
            transport for transport in self._transports.values() if transport.route[0] == name
        ]
        for transport in transports:
            transport.reset()
        return len(transports)

    def remove(self, transport: "MemoryTransport") -> None:
        """Remove a transport that has ended."""
        self._transports.pop(transport.number, None)


class MemoryTransport(asyncio.Transport):
    """One side of a connection."""

    peer: "MemoryTransport"

    def __init__(
        self, network: MemoryNetwork, number: int, route: tuple[str, str], process: Any
    ) -> None:
        addresses = {"peername": (route[1], number), "sockname": (route[0], 80)}
        super().__init__({**addresses, "transport": self})
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
        # Received but not yet passed to the protocol.
        self._received: deque[bytes] = deque()
        self._is_reading = True
        # Sent but not yet read by the peer.
        self._in_flight_bytes = 0
        self._is_paused = False

    def open(self, factory: Callable[[], Any]) -> None:
        """Create the protocol and tell it that the connection is open."""
        self._protocol = factory()
        self._protocol.connection_made(self)

    # asyncio.Transport

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
        """Whether no more data can be sent."""
        return self._is_closing or self._is_lost

    def close(self) -> None:
        """Deliver what was written, then close."""
        if not self.is_closing():
            self._is_closing = True
            self._deliver_later(self.peer._on_eof, None)
            self._loop.call_soon(self._finish, None, context=self.context)

    def abort(self) -> None:
        """Close without delivering what was written."""
        self.reset()

    def can_write_eof(self) -> bool:
        """Half-closing is not supported."""
        return False

    def pause_reading(self) -> None:
        """Buffer received data."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Pass buffered and later data to the protocol."""
        self._is_reading = True
        self._loop.call_soon(self._pass_to_protocol, context=self.context)

    def is_reading(self) -> bool:
        """Whether received data is passed to the protocol."""
        return self._is_reading and not self.is_closing()

    def get_protocol(self) -> Any:
        """The protocol."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Replace the protocol."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Bytes that the peer has not read."""
        return self._in_flight_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignored; the limits are the same for all."""

    # The network

    def reset(self) -> None:
        """Reset the connection: data in flight is lost, and both sides get an error."""
        for transport in (self, self.peer):
            if not transport._is_lost:
                reset = ConnectionResetError("the connection broke")
                transport._loop.call_soon(transport._finish, reset, context=transport.context)

    def _deliver_later(self, deliver: Callable[[Any], None], data: Any) -> None:
        latency_s = self._network.latency_s(*self.route, self._rng)
        self._last_delivery_s = max(
            self._last_delivery_s + DELIVERY_GAP_S, self._loop.time() + latency_s
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


def _constant_latency(_sender: str, _receiver: str, _rng: random.Random) -> float:
    return 0.001
