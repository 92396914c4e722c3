"""How a request becomes a WebSocket, and that aiohttp releases its connection."""

import aiohttp
import pytest

from handlers.transport.upgrade import BadUpgrade, upgrade_response
from tests.handlers.masked_frames import frame
from tests.handlers.socket_edge import (
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


async def test_aiohttp_releases_the_connection():
    """It lists no connection after the upgrade, and the session goes on."""
    async with run_edge() as edge, edge.connect_rider() as raw:
        assert await raw.send_command("arrived_pickup", "ord_1") == {
            "ok": True,
            "data": {"orderId": "ord_1", "by": "rdr_1"},
        }
        await Until().true(lambda: not edge.http_server.connections)
        assert await raw.send_command("arrived_pickup", "ord_2", 2)


async def test_frames_sent_with_the_handshake_are_received():
    """A client need not wait for the response before it sends frames."""
    async with run_edge() as edge:
        connect = f'40/rider,{{"token":"{edge.issue_token()}"}}'.encode()
        fix = b'42/rider,["location_update",{"lat":1,"lng":2}]'
        _, writer = await edge.open_tcp(upgrade_request_bytes() + frame(connect) + frame(fix))
        await Until().true(lambda: len(edge.desk.received) == 1)
        [received] = edge.desk.received
        assert (received.lat, received.lng) == (1, 2)
        writer.transport.abort()
        await Until().true(lambda: len(edge.sessions) == 0)


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
