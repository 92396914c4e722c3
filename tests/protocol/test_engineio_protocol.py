"""Engine.IO protocol 4 over WebSocket: the cases of the protocol's public test suite.

Source: engine.io-protocol, test suite; nine cases over WebSocket and three of the upgrade.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from handlers.transport.engineio_session import SessionTimeouts
from tests.handlers.socket_edge import WS_PATH, RunningEdge, run_edge
from tests.waiting import Until

# As in the public suite; short, so that the heartbeat can be observed.
PING_S, TIMEOUT_S = 0.3, 0.2


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge(
        SessionTimeouts(ping_interval_s=PING_S, ping_timeout_s=TIMEOUT_S)
    ) as running:
        yield running


async def next_message(ws: aiohttp.ClientWebSocketResponse) -> Any:
    async with asyncio.timeout(5):
        while (message := await ws.receive()).data == "2":
            await ws.send_str("3")
    return message


# Handshake.


async def test_a_websocket_opens_a_session(edge: RunningEdge):
    """The first packet has the session's id, both heartbeat intervals and the frame bound."""
    async with edge.http.ws_connect(edge.url + WS_PATH) as ws:
        packet = (await ws.receive()).data
    handshake = json.loads(packet[1:])
    assert packet[0] == "0"
    assert sorted(handshake) == ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]
    assert (handshake["pingInterval"], handshake["pingTimeout"]) == (300, 200)
    assert handshake["upgrades"] == []


@pytest.mark.parametrize("query", ["transport=websocket", "EIO=abc&transport=websocket"])
async def test_a_session_needs_the_protocols_version(edge: RunningEdge, query: str):
    """A missing or invalid `EIO` parameter opens no session."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await edge.http.ws_connect(f"{edge.url}/socket.io/?{query}")


@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc"])
async def test_a_session_needs_a_transport(edge: RunningEdge, query: str):
    """A missing or invalid `transport` parameter opens no session."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await edge.http.ws_connect(f"{edge.url}/socket.io/?{query}")


# Messages. The public suite's server echoes; here a command is acknowledged.


async def test_text_is_answered_with_text(edge: RunningEdge):
    """A message is a text frame that begins with 4, in both directions."""
    async with edge.connect_rider() as raw:
        ack = await raw.send_command("arrived_pickup", "ord_1")
    assert ack == {"ok": True, "data": {"orderId": "ord_1", "by": "rdr_1"}}


async def test_binary_closes(edge: RunningEdge):
    """The contract has no binary: where the suite's server echoes, this one closes."""
    async with edge.connect_rider() as raw:
        await raw.ws.send_bytes(bytes([1, 2, 3, 4]))
        assert await raw.next_packet() == "closed"


async def test_a_malformed_packet_ends_the_connection(edge: RunningEdge):
    """The public suite sends `abc`."""
    async with edge.connect() as raw:
        await raw.send("abc")
        assert await raw.next_packet() == "closed"


# Heartbeat.


async def test_the_server_pings_and_the_client_answers(edge: RunningEdge):
    """After three answered pings the connection is still open."""
    async with edge.connect_rider() as raw:
        for _ in range(3):
            assert (await raw.ws.receive()).data == "2"
            await raw.send("3")
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_without_a_pong_the_connection_ends(edge: RunningEdge):
    """A ping that is not answered closes the connection soon after the timeout."""
    async with edge.connect_rider() as raw, asyncio.timeout(3 * (PING_S + TIMEOUT_S)):
        assert (await raw.ws.receive()).data == "2"
        assert (await raw.ws.receive()).type is not aiohttp.WSMsgType.TEXT


# Close.


async def test_a_client_closes_its_session(edge: RunningEdge):
    """The packet `1` closes at once, and the session is removed."""
    async with edge.connect_rider("rdr_closes") as raw:
        await raw.send("1")
        assert await raw.next_packet() == "closed"
    await Until().true(lambda: not edge.sessions.for_identity("rider:rdr_closes"))


# Upgrade.


async def upgrade_session(edge: RunningEdge, url: str) -> aiohttp.ClientWebSocketResponse:
    ws = await edge.http.ws_connect(url.replace("polling", "websocket"))
    await ws.send_str("2probe")
    assert (await ws.receive()).data == "3probe"
    await ws.send_str("5")
    return ws


async def test_a_poll_becomes_a_websocket(edge: RunningEdge):
    """After `2probe`, `3probe` and `5` messages go over the WebSocket."""
    url, _ = await edge.open_polling_session()
    ws = await upgrade_session(edge, url)
    await ws.send_str(f'40/rider,{{"token":"{edge.issue_token()}"}}')
    assert (await next_message(ws)).data.startswith('40/rider,{"sid":')
    await ws.close()


async def test_an_upgraded_session_is_not_polled(edge: RunningEdge):
    """HTTP requests with its session id get 400."""
    url, handshake = await edge.open_polling_session()
    ws = await upgrade_session(edge, url)
    connection = edge.server.eio.sockets[handshake["sid"]]
    await Until().true(lambda: connection.upgraded)
    async with edge.http.post(url, data="40/rider,{}") as response:
        assert response.status == 400
    async with edge.http.get(url) as response:
        assert response.status == 400
    await ws.close()


async def test_an_upgraded_session_is_not_upgraded_again(edge: RunningEdge):
    """A second WebSocket with its session id is refused, and the first one goes on."""
    url, _ = await edge.open_polling_session()
    ws = await upgrade_session(edge, url)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await upgrade_session(edge, url)
    await ws.send_str('40/rider,{"token":"x"}')
    assert (await next_message(ws)).data == '44/rider,{"message":"token_invalid"}'
    await ws.close()
