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
AT_ONCE = 4
# Source: the framework's own bounds of a request's line and headers.
_REQUEST_BYTES = 8_190
_HEADERS_MAX = 128
# As the official clients ask; whoever asks in other words is answered by the framework.
_OPENINGS = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n",
    b"GET /socket.io/?transport=websocket&EIO=4 HTTP/1.1\r\n",
)

Headers = CIMultiDictProxy[str]


class Door(Protocol):
    """Who makes WebSockets of connections."""

    def open(self, transport: asyncio.Transport, headers: Headers, beyond: bytes) -> bool:
        """Take a connection that asks for a WebSocket; False leaves it, with nothing done."""
        ...


class Porch:
    """Makes the protocol of each new connection.

    A WebSocket is opened from the first bytes of its connection. Source: measured 2026-11-21,
    through the framework each costs 0.7 ms of CPU, this way 0.3 ms. Whatever is unusual, or no
    WebSocket, or refused, is the framework's from the first byte on.
    """

    def __init__(self, door: Door | None, framework: Callable[[], BaseProtocol]) -> None:
        self._door = door
        self._framework = framework
        # They have said nothing, or wait for their turn.
        self.waiting: set[Newcomer] = set()
        self._line: deque[Newcomer] = deque()

    def __call__(self) -> "Newcomer":
        """A protocol for a connection that comes."""
        return Newcomer(self)

    def line_up(self, newcomer: "Newcomer") -> None:
        """It has said something, and waits for its turn."""
        if not self._line:
            asyncio.get_running_loop().call_soon(self._serve)
        self._line.append(newcomer)

    def _serve(self) -> None:
        try:
            for _ in range(min(AT_ONCE, len(self._line))):
                self._let_in(self._line.popleft())
        finally:
            # One that came to grief costs the others nothing.
            if self._line:
                asyncio.get_running_loop().call_soon(self._serve)

    def _let_in(self, newcomer: "Newcomer") -> None:
        transport, said = newcomer.transport, newcomer.said
        if newcomer not in self.waiting or transport.is_closing():
            return
        self.waiting.remove(newcomer)
        is_in = False
        try:
            self._hand_over(transport, said)
            is_in = True
        finally:
            if not is_in:
                # A bug of ours: nobody would ever answer it.
                transport.abort()

    def _hand_over(self, transport: asyncio.Transport, said: bytes) -> None:
        # What it says from now on is for whom it is handed to.
        transport.resume_reading()
        if self._door is not None and said.startswith(_OPENINGS):
            request = _parsed(said)
            if request is not None and self._door.open(transport, *request):
                return
        protocol = self._framework()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(said)

    def close(self) -> None:
        """Let nobody wait any more."""
        for newcomer in list(self.waiting):
            newcomer.transport.abort()


class Newcomer(asyncio.Protocol):
    """A connection that has said nothing, or stands in line with the first that it said."""

    __slots__ = ("_porch", "said", "transport")

    def __init__(self, porch: Porch) -> None:
        self._porch = porch
        self.said = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands on the porch."""
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self._porch.waiting.add(self)

    def data_received(self, data: bytes) -> None:
        """Nothing more is read until its turn."""
        self.transport.pause_reading()
        self.said += data
        self._porch.line_up(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone without having been let in."""
        _ = exc
        self._porch.waiting.discard(self)


def _parsed(said: bytes) -> tuple[Headers, bytes] | None:
    """The headers of a whole request for another protocol, and what stands behind it."""
    loop = asyncio.get_running_loop()
    reader = HttpRequestParser(
        BaseProtocol(loop),
        loop,
        _REQUEST_BYTES,
        max_line_size=_REQUEST_BYTES,
        max_field_size=_REQUEST_BYTES,
        max_headers=_HEADERS_MAX,
    )
    try:
        requests, is_upgrade, beyond = reader.feed_data(said)
    except HttpProcessingError:
        return None
    return (requests[0][0].headers, beyond) if is_upgrade and len(requests) == 1 else None
