"""Minimal Socket.IO client on a bare asyncio protocol: the cheapest load that Python can make.

One WebSocket, one namespace, no reconnecting; anything unexpected ends the bench.
Source: RFC 6455 section 5; Engine.IO protocol 4 and Socket.IO protocol 5.
"""

import asyncio
import base64
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any, cast

import orjson

# Far above what any answer takes; reaching it is a fault.
ACK_TIMEOUT_S = 20.0
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
# A masking key of zeros is legal and costs the load nothing; the server unmasks all the same.
_ZERO_MASK = bytes(4)
_POSITION_PREFIX = b'42/user,["rider_location_update",'

OnEvent = Callable[[str, dict[str, Any], float], None]


class CommandRefused(Exception):
    """The server answered a command with an error code."""

    def __init__(self, command: str, code: str) -> None:
        super().__init__(command, code)
        self.code = code


class ConnectionClosed(Exception):
    """The connection is closed."""


class SocketClient(asyncio.Protocol):
    """One open connection.

    `on_event` gets each event with the time of its arrival (Units: seconds of
    `time.perf_counter`); `on_position` gets the raw packets of live positions instead, where set.
    """

    def __init__(self, namespace: str, token: str, on_event: OnEvent) -> None:
        self._namespace = namespace
        self._token = token
        self._on_event = on_event
        self.on_position: Callable[[bytes], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._is_upgraded = False
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._pending_acks: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self.is_closing = False

    @property
    def is_closed(self) -> bool:
        """Whether the connection is not open."""
        return self._transport is None

    def stop_reading(self, receive_buffer_bytes: int | None = None) -> None:
        """Read nothing more, as a stuck client; optionally with a small receive buffer."""
        assert self._transport is not None, "the connection is open"
        if receive_buffer_bytes is not None:
            raw_socket = self._transport.get_extra_info("socket")
            raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._transport.pause_reading()

    async def wait_connected(self) -> None:
        """Wait until the namespace has accepted the connection.

        Errors: CommandRefused; ConnectionClosed; TimeoutError.
        """
        async with asyncio.timeout(ACK_TIMEOUT_S):
            await self._connected

    async def call(self, name: str, payload: object) -> dict[str, Any]:
        """Send a command and return the data of its answer.

        Errors: CommandRefused; ConnectionClosed; TimeoutError.
        """
        self._last_id += 1
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._pending_acks[self._last_id] = future
        arguments = orjson.dumps([name, payload])
        self.send(f"42{self._namespace},{self._last_id}".encode() + arguments)
        async with asyncio.timeout(ACK_TIMEOUT_S):
            answer = await future
        if answer.get("ok") is not True:
            raise CommandRefused(name, str(answer.get("error", {}).get("code")))
        return answer.get("data") or {}

    def send(self, packet: bytes) -> None:
        """Send one packet as it is.

        Errors: ConnectionClosed.
        """
        if self._transport is None:
            raise ConnectionClosed(self._namespace)
        self._transport.write(masked_frame(TEXT, packet))

    def close(self) -> None:
        """Close the connection."""
        self.is_closing = True
        if self._transport is not None:
            self._transport.close()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request for a WebSocket."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = wire = cast("asyncio.Transport", transport)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        wire.write(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Handle whole frames, keep the rest."""
        received = self._buffer + data if self._buffer else data
        at = 0 if self._is_upgraded else self._read_upgrade(received)
        if not self._is_upgraded:
            self._buffer = received
            return
        while (frame := _next_frame(received, at)) is not None:
            opcode, start, at = frame
            self._handle_frame(opcode, received[start:at])
        self._buffer = received[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail all pending answers."""
        self._transport = None
        lost = ConnectionClosed(f"{self._namespace}: {exc or 'closed by the server'}")
        for waiting in (self._connected, *self._pending_acks.values()):
            if not waiting.done():
                waiting.set_exception(lost)
                # Retrieved, so that asyncio does not log an exception that no task awaits.
                waiting.exception()

    # What the server sends.

    def _read_upgrade(self, received: bytes) -> int:
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if not received.startswith(b"HTTP/1.1 101"):
            raise ConnectionClosed(received[:80].decode(errors="replace"))
        self._is_upgraded = True
        return end + 4

    def _handle_frame(self, opcode: int, packet: bytes) -> None:
        if opcode == TEXT:
            if self.on_position is not None and packet.startswith(_POSITION_PREFIX):
                self.on_position(packet)
            else:
                self._handle_packet(packet.decode())
        elif opcode == PING and self._transport is not None:
            self._transport.write(masked_frame(PONG, packet))
        elif opcode == CLOSE and self._transport is not None:
            self._transport.close()

    def _handle_packet(self, packet: str) -> None:
        kind, body = packet[:2], packet[2:].removeprefix(f"{self._namespace},")
        if packet == "2":
            self.send(b"3")
        elif packet.startswith("0"):
            auth = orjson.dumps({"token": self._token})
            self.send(f"40{self._namespace},".encode() + auth)
        elif kind == "40":
            self._connected.set_result(None)
        elif kind == "44":
            self._connected.set_exception(CommandRefused("connect", body))
        else:
            digits = len(body) - len(body.lstrip("0123456789"))
            self._handle_message(kind, body[:digits], orjson.loads(body[digits:] or "[]"))

    def _handle_message(self, kind: str, number: str, arguments: list[Any]) -> None:
        if kind == "43":
            future = self._pending_acks.pop(int(number), None)
            if future is not None and not future.done():
                future.set_result(arguments[0])
        elif kind == "42":
            if number:
                self.send(f"43{self._namespace},{number}[]".encode())
            self._on_event(
                arguments[0], arguments[1] if len(arguments) > 1 else {}, time.perf_counter()
            )


async def connect(url: str, namespace: str, token: str, on_event: OnEvent) -> SocketClient:
    """Connect to a server's namespace.

    Errors: CommandRefused; ConnectionClosed; TimeoutError; OSError.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: SocketClient(namespace, token, on_event), host, int(port)
    )
    await client.wait_connected()
    return client


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """One masked WebSocket frame. Source: RFC 6455 section 5.2."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size)) + _ZERO_MASK + payload
    code, width = (126, 2) if size < 65_536 else (127, 8)
    return bytes((0x80 | opcode, 0x80 | code)) + size.to_bytes(width, "big") + _ZERO_MASK + payload


def _next_frame(received: bytes, at: int) -> tuple[int, int, int] | None:
    """Opcode, start and end of the frame that begins at `at`; None where it is incomplete."""
    if len(received) < at + 2:
        return None
    size, start = received[at + 1] & 0x7F, at + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        size = int.from_bytes(received[start : start + width], "big")
        start += width
    end = start + size
    return (received[at] & 0x0F, start, end) if len(received) >= max(end, start) else None
