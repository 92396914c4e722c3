"""WebSocket opening handshake: turns an HTTP request's TCP connection into a WebSocket."""

# Uses private names of aiohttp; docs/library-internals.md has them.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping

from aiohttp import web

from handlers.websocket.websocket import WebSocket

# Source: RFC 6455 section 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Source: RFC 6455 section 4.1.
_VERSION = "13"
_KEY_BYTES = 16


class BadUpgrade(Exception):
    """The request is not a valid opening handshake."""


def upgrade_response(headers: Mapping[str, str]) -> bytes:
    """Encode the 101 response to an opening handshake; no extension is negotiated.

    Shapes: status line and headers of an HTTP/1.1 response. Source: RFC 6455 section 4.2.
    Errors: BadUpgrade.
    """
    if "websocket" not in _tokens(headers, "Upgrade") or "upgrade" not in _tokens(
        headers, "Connection"
    ):
        raise BadUpgrade("the request does not ask for an upgrade to a WebSocket")
    if headers.get("Sec-WebSocket-Version") != _VERSION:
        raise BadUpgrade(f"only version {_VERSION} is supported")
    key = headers.get("Sec-WebSocket-Key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        raise BadUpgrade("the key is missing or invalid")
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(digest)
    )


def _tokens(headers: Mapping[str, str], name: str) -> list[str]:
    return [token.strip().lower() for token in headers.get(name, "").split(",")]


def switch_protocol(transport: asyncio.Transport, ws: WebSocket, response: bytes) -> None:
    """Answer an opening handshake and give its TCP connection to a WebSocket."""
    transport.set_protocol(ws)
    ws.connection_made(transport)
    transport.write(response)


def upgrade_request(
    request: web.Request, ws: WebSocket, on_open: Callable[[bytes], object]
) -> web.Response:
    """Turn the connection of a request that aiohttp has parsed into a WebSocket.

    `on_open` gets the bytes that came behind the request. The response is sent only where there was
    no upgrade; after one aiohttp has no connection to send it on.
    """
    try:
        response = upgrade_response(request.headers)
        tail = _detach(request, ws, response)
    except BadUpgrade as error:
        return web.Response(status=400, text=f'"{error}"')
    except ConnectionError:
        # The client disconnected while its request was handled.
        return web.Response(status=400)
    on_open(tail)
    return web.Response()


def _detach(request: web.Request, ws: WebSocket, response: bytes) -> bytes:
    """Move a request's TCP connection from aiohttp to a WebSocket; returns its unread input.

    aiohttp takes the connection for lost. The private names used here are held by the tests that
    docs/library-internals.md lists.

    Errors: ConnectionError where the client has disconnected.
    """
    protocol, transport = request.protocol, request.transport
    if transport is None or transport.is_closing():
        # Otherwise aiohttp would parse the client's frames as its next request.
        protocol._message_tail = b""
        raise ConnectionResetError
    tail, is_paused = protocol._message_tail, protocol._buffer_paused
    protocol.transport = None
    protocol.connection_lost(None)
    switch_protocol(transport, ws, response)
    if is_paused:
        transport.resume_reading()
    return tail
