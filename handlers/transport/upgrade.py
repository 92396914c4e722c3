"""From an HTTP request to a WebSocket: the opening handshake, after which the framework lets go."""

import base64
import binascii
import hashlib
from collections.abc import Mapping

from aiohttp import web

from handlers.transport.websocket import WebSocket

# Source: RFC 6455 section 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"
_KEY_BYTES = 16


class BadUpgrade(Exception):
    """The request does not ask for a WebSocket as it should."""


def upgrade_response(headers: Mapping[str, str]) -> bytes:
    """The server's half of the opening handshake; no extension is agreed to.

    Source: RFC 6455 section 4.2.
    Errors: NoHandshake.
    """
    if "websocket" not in _tokens(headers, "Upgrade") or "upgrade" not in _tokens(
        headers, "Connection"
    ):
        raise BadUpgrade("no upgrade to a WebSocket")
    if headers.get("Sec-WebSocket-Version") != _VERSION:
        raise BadUpgrade(f"version {_VERSION} is spoken here")
    key = headers.get("Sec-WebSocket-Key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        raise BadUpgrade("no key")
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(digest)
    )


def _tokens(headers: Mapping[str, str], name: str) -> list[str]:
    return [token.strip().lower() for token in headers.get(name, "").split(",")]


def switch_protocol(request: web.Request, ws: WebSocket) -> bytes:
    """Give a request's TCP connection to a WebSocket; what the client has sent beyond the request.

    The framework takes the connection for lost; the answer it gets from its handler goes nowhere.
    Errors: NoHandshake; ConnectionError where the client is gone.
    """
    answer = upgrade_response(request.headers)
    # Private names of the pinned release; test_upgrade.py holds us to them.
    protocol, transport = request.protocol, request.transport
    if transport is None or transport.is_closing():
        # Nobody is there to be told that what came behind the request is no other one.
        protocol._message_tail = b""
        raise ConnectionResetError
    beyond, is_paused = protocol._message_tail, protocol._buffer_paused
    protocol.transport = None
    protocol.connection_lost(None)
    transport.set_protocol(ws)
    ws.connection_made(transport)
    if is_paused:
        transport.resume_reading()
    transport.write(answer)
    return beyond
