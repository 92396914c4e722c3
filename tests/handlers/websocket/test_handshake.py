"""How a request becomes a WebSocket, and that aiohttp releases its connection."""

import asyncio
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from handlers.websocket.handshake import BadUpgrade, upgrade_request, upgrade_response
from handlers.websocket.read_batch import ReadBatch
from handlers.websocket.websocket import WebSocket
from tests.handlers.masked_frames import frame
from tests.handlers.socket_edge import (
    HTTP_SERVER_WS_PATH,
    UPGRADE_HEADERS,
    WS_PATH,
    run_edge,
    upgrade_request_bytes,
)
from tests.waiting import Until


def test_the_rfc_example_gets_its_accept_key():
    """No extension is negotiated. Source: RFC 6455 section 1.3."""
    response = upgrade_response({**UPGRADE_HEADERS, "Connection": "keep-alive, Upgrade"})
    assert response.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" in response
    assert b"Extensions" not in response


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", ""),
        ("Upgrade", "h2c"),
        ("Connection", "keep-alive"),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Version", ""),
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "c2hvcnQ="),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j\x00Q=="),
        ("Sec-WebSocket-Key", "é" * 24),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==\r\nX: y"),
    ],
)
def test_an_incomplete_handshake_is_refused(name: str, value: str):
    """Each of the four headers is needed with a valid value."""
    with pytest.raises(BadUpgrade):
        upgrade_response({**UPGRADE_HEADERS, name: value})


@pytest.mark.parametrize("path", [WS_PATH, HTTP_SERVER_WS_PATH])
async def test_frames_sent_with_the_handshake_are_received(path: str):
    """A client need not wait for the response; the accept queue and aiohttp keep its frames.

    Afterwards aiohttp lists no connection. It holds the private `_message_tail` of aiohttp.
    """
    async with run_edge() as edge:
        connect = f'40/rider,{{"token":"{edge.issue_token()}"}}'.encode()
        fix = b'42/rider,["location_update",{"lat":1,"lng":2}]'
        request = upgrade_request_bytes(path)
        _, writer = await edge.open_tcp(request + frame(connect) + frame(fix))
        await Until().true(lambda: len(edge.context.received) == 1)
        [received] = edge.context.received
        assert (received.lat, received.lng) == (1, 2)
        await Until().true(lambda: not edge.http_server.connections)
        assert len(edge.sessions) == 1
        writer.transport.abort()
        await Until().true(lambda: len(edge.sessions) == 0)


class FakeTransport(asyncio.Transport):
    """A TCP connection whose input is given by the test; records what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading_calls: list[str] = []
        self.protocol: object = None
        self.closing = False

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        self.reading_calls.append("pause")

    def resume_reading(self) -> None:
        self.reading_calls.append("resume")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class UpgradeCase:
    """aiohttp's protocol on a fake connection, with a handler that upgrades every request."""

    def __init__(self) -> None:
        self.ws = WebSocket(100, ReadBatch())
        self.tails: list[bytes] = []
        self.responses: list[int] = []
        self.transport = FakeTransport()
        self.protocol = web.Server(self._handle)()
        self.protocol.connection_made(self.transport)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        response = upgrade_request(cast("web.Request", request), self.ws, self.tails.append)
        self.responses.append(response.status)
        return response


async def test_input_that_aiohttp_has_buffered_reaches_the_websocket():
    """Reading, which aiohttp pauses for a long tail, is resumed.

    It holds the private `_message_tail` and `_buffer_paused` of aiohttp.
    """
    case, frames = UpgradeCase(), frame(b"x" * 300_000)
    case.protocol.data_received(upgrade_request_bytes())
    case.protocol.data_received(frames)
    assert case.transport.reading_calls == ["pause"]
    await Until().true(lambda: bool(case.tails))
    assert case.tails == [frames]
    assert case.transport.reading_calls == ["pause", "resume"]
    assert case.transport.protocol is case.ws
    assert case.transport.written.startswith(b"HTTP/1.1 101 ")


async def test_a_keep_alive_connection_may_be_upgraded():
    """Proxies send upgrades over connections that have carried other requests."""
    async with run_edge() as edge:
        reader, writer = await edge.open_tcp(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(upgrade_request_bytes())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert b"0{" in await reader.readuntil(b"}")
        writer.close()


@pytest.mark.parametrize("missing", sorted({"Sec-WebSocket-Key", "Sec-WebSocket-Version"}))
async def test_an_incomplete_handshake_gets_400(missing: str):
    """It is answered over HTTP, and no session is opened."""
    headers = {name: value for name, value in UPGRADE_HEADERS.items() if name != missing}
    async with run_edge() as edge, aiohttp.ClientSession() as http:
        async with http.get(edge.url + WS_PATH, headers=headers) as response:
            assert response.status == 400
        assert edge.server.eio.sockets == {}
