"""How a request becomes a WebSocket, and what the HTTP library keeps of it."""

import asyncio

import aiohttp
import pytest

from handlers.transport.upgrade import BadUpgrade, upgrade_response
from tests.handlers.masked import frame
from tests.handlers.socket_edge import WS_PATH, run_edge
from tests.waiting import Until

UPGRADE_HEADERS = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_the_rfc_example_gets_its_accept_key():
    """Source: RFC 6455 section 1.3."""
    answer = upgrade_response(UPGRADE_HEADERS)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" in answer
    assert b"Extensions" not in answer


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
    """Each of its four headers is needed, and none of it comes back unread."""
    with pytest.raises(BadUpgrade):
        upgrade_response({**UPGRADE_HEADERS, name: value})


async def test_aiohttp_releases_the_connection():
    """It knows of no connection any more, and the session goes on."""
    async with run_edge() as house, house.connect_rider() as raw:
        assert await raw.send_command("arrived_pickup", "ord_1") == {
            "ok": True,
            "data": {"orderId": "ord_1", "by": "rdr_1"},
        }
        # What is left is the client's own, were it to ask over HTTP.
        await Until().true(lambda: not house.http_server.connections)
        assert await raw.send_command("arrived_pickup", "ord_2", 2)


async def test_frames_sent_with_the_handshake_are_received():
    """A client need not wait for the server's first word."""
    async with run_edge() as house:
        lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE_HEADERS.items())
        request = f"GET {WS_PATH} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
        connect = f'40/rider,{{"token":"{house.issue_token()}"}}'.encode()
        fix = b'42/rider,["location_update",{"lat":1,"lng":2}]'
        _, writer = await asyncio.open_connection(*house.url[7:].split(":"))
        writer.write(request + frame(connect) + frame(fix))
        await Until().true(lambda: len(house.desk.received) == 1)
        [heard] = house.desk.received
        assert (heard.lat, heard.lng) == (1, 2)
        writer.transport.abort()
        await Until().true(lambda: len(house.sessions) == 0)


async def test_a_keep_alive_connection_may_be_upgraded():
    """Proxies ask for a WebSocket over a connection that has carried other requests."""
    async with run_edge() as house:
        reader, writer = await asyncio.open_connection(*house.url[7:].split(":"))
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE_HEADERS.items())
        writer.write(f"GET {WS_PATH} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert b"0{" in await reader.readuntil(b"}")
        writer.close()


@pytest.mark.parametrize("missing", sorted({"Sec-WebSocket-Key", "Sec-WebSocket-Version"}))
async def test_an_incomplete_handshake_gets_400(missing: str):
    """It is answered over HTTP, and opens nothing."""
    headers = {name: value for name, value in UPGRADE_HEADERS.items() if name != missing}
    async with run_edge() as house, aiohttp.ClientSession() as http:
        async with http.get(house.url + WS_PATH, headers=headers) as answer:
            assert answer.status == 400
        assert house.server.eio.sockets == {}
