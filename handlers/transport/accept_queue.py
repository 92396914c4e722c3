"""Where TCP connections stand until they have said what they are: WebSockets, or other HTTP."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

# Newcomers that are let in during one turn of the loop; the others wait for the next, so that those
# who are in are heard meanwhile. Source: measured 2026-11-21, one takes 0.3 ms.
UPGRADES_PER_TICK = 4
# Source: the framework's own bounds of a request's line and headers.
_REQUEST_BYTES_MAX = 8_190
_HEADERS_MAX = 128
# As the official clients ask; whoever asks in other words is answered by the framework.
_WEBSOCKET_REQUEST_LINES = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n",
    b"GET /socket.io/?transport=websocket&EIO=4 HTTP/1.1\r\n",
)

Headers = CIMultiDictProxy[str]


class WebSocketOpener(Protocol):
    """Who makes WebSockets of connections."""

    def open_websocket(self, transport: asyncio.Transport, headers: Headers, tail: bytes) -> bool:
        """Take a connection that asks for a WebSocket; False leaves it, with nothing done."""
        ...


class AcceptQueue:
    """Makes the protocol of each new connection.

    A WebSocket is opened from the first bytes of its connection. Source: measured 2026-11-21,
    through the framework each costs 0.7 ms of CPU, this way 0.3 ms. Whatever is unusual, or no
    WebSocket, or refused, is the framework's from the first byte on.
    """

    def __init__(
        self, opener: WebSocketOpener | None, http_factory: Callable[[], BaseProtocol]
    ) -> None:
        self._opener = opener
        self._http_factory = http_factory
        # They have said nothing, or wait for their turn.
        self.pending: set[PendingConnection] = set()
        self._ready: deque[PendingConnection] = deque()

    def __call__(self) -> "PendingConnection":
        """A protocol for a connection that comes."""
        return PendingConnection(self)

    def enqueue(self, connection: "PendingConnection") -> None:
        """It has said something, and waits for its turn."""
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._process_queue)
        self._ready.append(connection)

    def _process_queue(self) -> None:
        try:
            for _ in range(min(UPGRADES_PER_TICK, len(self._ready))):
                self._accept(self._ready.popleft())
        finally:
            # One that came to grief costs the others nothing.
            if self._ready:
                asyncio.get_running_loop().call_soon(self._process_queue)

    def _accept(self, connection: "PendingConnection") -> None:
        transport, said = connection.transport, connection.received
        if connection not in self.pending or transport.is_closing():
            return
        self.pending.remove(connection)
        is_in = False
        try:
            self._assign_protocol(transport, said)
            is_in = True
        finally:
            if not is_in:
                # A bug of ours: nobody would ever answer it.
                transport.abort()

    def _assign_protocol(self, transport: asyncio.Transport, received: bytes) -> None:
        # What it says from now on is for whom it is handed to.
        transport.resume_reading()
        if self._opener is not None and received.startswith(_WEBSOCKET_REQUEST_LINES):
            request = _parse_upgrade_request(received)
            if request is not None and self._opener.open_websocket(transport, *request):
                return
        protocol = self._http_factory()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(received)

    def close(self) -> None:
        """Let nobody wait any more."""
        for newcomer in list(self.pending):
            newcomer.transport.abort()


class PendingConnection(asyncio.Protocol):
    """A connection that has said nothing, or stands in line with the first that it said."""

    __slots__ = ("_queue", "received", "transport")

    def __init__(self, queue: AcceptQueue) -> None:
        self._queue = queue
        self.received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands on the porch."""
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self._queue.pending.add(self)

    def data_received(self, data: bytes) -> None:
        """Nothing more is read until its turn."""
        self.transport.pause_reading()
        self.received += data
        self._queue.enqueue(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone without having been let in."""
        _ = exc
        self._queue.pending.discard(self)


def _parse_upgrade_request(received: bytes) -> tuple[Headers, bytes] | None:
    """The headers of a whole request for another protocol, and what stands behind it."""
    loop = asyncio.get_running_loop()
    reader = HttpRequestParser(
        BaseProtocol(loop),
        loop,
        _REQUEST_BYTES_MAX,
        max_line_size=_REQUEST_BYTES_MAX,
        max_field_size=_REQUEST_BYTES_MAX,
        max_headers=_HEADERS_MAX,
    )
    try:
        requests, is_upgrade, beyond = reader.feed_data(received)
    except HttpProcessingError:
        return None
    return (requests[0][0].headers, beyond) if is_upgrade and len(requests) == 1 else None
