"""Accept queue: holds new TCP connections until their first bytes show WebSocket or other HTTP."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

from handlers.transport.http_connection import (
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    REQUEST_LINE_BYTES_MAX,
)

# Connections accepted in one tick of the event loop; the others wait for the next, so that open
# sockets are served in between. Source: docs/decisions/0018; measured 2026-11-21, one takes 0.3 ms.
UPGRADES_PER_TICK = 4
# Request lines of the official clients; every other form goes to the HTTP server.
_WEBSOCKET_REQUEST_LINES = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n",
    b"GET /socket.io/?transport=websocket&EIO=4 HTTP/1.1\r\n",
)

Headers = CIMultiDictProxy[str]


class WebSocketOpener(Protocol):
    """Opens WebSockets on new connections."""

    def open_websocket(self, transport: asyncio.Transport, headers: Headers, tail: bytes) -> bool:
        """Take a connection that requests a WebSocket, or return False and change nothing.

        Shapes: `tail` is the input behind the request.
        """
        ...


class AcceptQueue:
    """Protocol factory of the listening socket.

    A WebSocket is opened directly from the first bytes of its connection; that costs 0.3 ms of CPU,
    through aiohttp 0.7 ms (measured 2026-11-21, docs/decisions/0018). Everything unusual, refused
    or not a WebSocket is handed to the HTTP server with its first byte.
    """

    def __init__(
        self, opener: WebSocketOpener | None, http_factory: Callable[[], BaseProtocol]
    ) -> None:
        self._opener = opener
        self._http_factory = http_factory
        # Connections that have sent nothing, or whose turn has not come.
        self.pending: set[PendingConnection] = set()
        self._ready: deque[PendingConnection] = deque()

    def __call__(self) -> "PendingConnection":
        """Make the protocol of a new connection."""
        return PendingConnection(self)

    def enqueue(self, connection: "PendingConnection") -> None:
        """Queue a connection whose first bytes have arrived."""
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._process_queue)
        self._ready.append(connection)

    def _process_queue(self) -> None:
        try:
            for _ in range(min(UPGRADES_PER_TICK, len(self._ready))):
                self._accept(self._ready.popleft())
        finally:
            # Also after an error with one connection the others are accepted.
            if self._ready:
                asyncio.get_running_loop().call_soon(self._process_queue)

    def _accept(self, connection: "PendingConnection") -> None:
        transport, received = connection.transport, connection.received
        if connection not in self.pending or transport.is_closing():
            return
        self.pending.remove(connection)
        is_assigned = False
        try:
            self._assign_protocol(transport, received)
            is_assigned = True
        finally:
            if not is_assigned:
                # The opener or the factory raised; without a protocol nothing would answer it.
                transport.abort()

    def _assign_protocol(self, transport: asyncio.Transport, received: bytes) -> None:
        # Further input goes to the new protocol.
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
        """Abort all pending connections."""
        for connection in list(self.pending):
            connection.transport.abort()


class PendingConnection(asyncio.Protocol):
    """A new connection, with the first bytes it has sent."""

    __slots__ = ("_queue", "received", "transport")

    def __init__(self, queue: AcceptQueue) -> None:
        self._queue = queue
        self.received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register as pending."""
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self._queue.pending.add(self)

    def data_received(self, data: bytes) -> None:
        """Keep the first bytes and stop reading until the connection's turn."""
        self.transport.pause_reading()
        self.received += data
        self._queue.enqueue(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that was lost before its turn."""
        _ = exc
        self._queue.pending.discard(self)


def _parse_upgrade_request(received: bytes) -> tuple[Headers, bytes] | None:
    """Parse a complete request for an upgrade: its headers and the input behind it."""
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(
        BaseProtocol(loop),
        loop,
        HEADER_BYTES_MAX,
        max_line_size=REQUEST_LINE_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
        max_headers=HEADERS_MAX,
        auto_decompress=False,
    )
    try:
        requests, is_upgrade, tail = parser.feed_data(received)
    except HttpProcessingError:
        return None
    return (requests[0][0].headers, tail) if is_upgrade and len(requests) == 1 else None
