"""Engine.IO protocol 4 over WebSocket: the cases that the protocol's public suite names, as ours.

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

# As short as the public suite's own, so that a heartbeat can be seen.
PING_S, TIMEOUT_S = 0.3, 0.2
POLL_PATH = "/socket.io/?EIO=4&transport=polling"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge(SessionTimeouts(ping_interval_s=PING_S, ping_timeout_s=TIMEOUT_S)) as house:
        yield house


async def next_message(ws: aiohttp.ClientWebSocketResponse) -> Any:
    async with asyncio.timeout(5):
        while (message := await ws.receive()).data == "2":
            await ws.send_str("3")
    return message


# Handshake.


async def test_a_websocket_opens_a_session(edge: RunningEdge):
    """The first packet says who we are and how often we ask for a sign of life."""
    async with edge.http.ws_connect(edge.url + WS_PATH) as ws:
        opening = (await ws.receive()).data
    told = json.loads(opening[1:])
    assert opening[0] == "0"
    assert sorted(told) == ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]
    assert (told["pingInterval"], told["pingTimeout"]) == (300, 200)
    assert told["upgrades"] == []


@pytest.mark.parametrize("query", ["transport=websocket", "EIO=abc&transport=websocket"])
async def test_a_session_needs_the_protocols_version(edge: RunningEdge, query: str):
    """An invalid `EIO` query parameter opens nothing."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await edge.http.ws_connect(f"{edge.url}/socket.io/?{query}")


@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc"])
async def test_a_session_needs_a_transport(edge: RunningEdge, query: str):
    """An invalid `transport` query parameter opens nothing."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await edge.http.ws_connect(f"{edge.url}/socket.io/?{query}")


# Messages. The public suite has an echo; ours is a command and its acknowledgement.


async def test_text_is_answered_with_text(edge: RunningEdge):
    """A message is a text frame that begins with 4, both ways."""
    async with edge.connect_rider() as raw:
        answer = await raw.send_command("arrived_pickup", "ord_1")
    assert answer == {"ok": True, "data": {"orderId": "ord_1", "by": "rdr_1"}}


async def test_binary_closes(edge: RunningEdge):
    """The contract has none: where the public suite has an echo, ours ends the connection."""
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
    """Three pings, each answered in time, and the connection still stands."""
    async with edge.connect_rider() as raw:
        for _ in range(3):
            assert (await raw.ws.receive()).data == "2"
            await raw.send("3")
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_without_a_pong_the_connection_ends(edge: RunningEdge):
    """The ping is heard and not answered: the end comes within interval and timeout."""
    async with edge.connect_rider() as raw, asyncio.timeout(3 * (PING_S + TIMEOUT_S)):
        assert (await raw.ws.receive()).data == "2"
        assert (await raw.ws.receive()).type is not aiohttp.WSMsgType.TEXT


# Close.


async def test_a_client_closes_its_session(edge: RunningEdge):
    """A packet `1` ends it at once, and nothing of it is left."""
    async with edge.connect_rider("rdr_closes") as raw:
        await raw.send("1")
        assert await raw.next_packet() == "closed"
    await Until().true(lambda: not edge.sessions.for_identity("rider:rdr_closes"))


# Upgrade.


async def open_polling_session(house: RunningEdge) -> str:
    async with house.http.get(house.url + POLL_PATH) as answer:
        sid = json.loads((await answer.text())[1:])["sid"]
    return f"&sid={sid}"


async def upgrade_session(house: RunningEdge, sid: str) -> aiohttp.ClientWebSocketResponse:
    ws = await house.http.ws_connect(house.url + WS_PATH + sid)
    await ws.send_str("2probe")
    assert (await ws.receive()).data == "3probe"
    await ws.send_str("5")
    return ws


async def test_a_poll_becomes_a_websocket(edge: RunningEdge):
    """`2probe`, `3probe`, `5`; what follows goes over the WebSocket."""
    ws = await upgrade_session(edge, await open_polling_session(edge))
    await ws.send_str(f'40/rider,{{"token":"{edge.issue_token()}"}}')
    assert (await next_message(ws)).data.startswith('40/rider,{"sid":')
    await ws.close()


async def test_an_upgraded_session_is_not_polled(edge: RunningEdge):
    """HTTP requests with its sid are turned away."""
    sid = await open_polling_session(edge)
    ws = await upgrade_session(edge, sid)
    [connection] = [c for c in edge.server.eio.sockets.values() if f"&sid={c.sid}" == sid]
    await Until().true(lambda: connection.upgraded)
    async with edge.http.post(edge.url + POLL_PATH + sid, data="40/rider,{}") as answer:
        assert answer.status == 400
    async with edge.http.get(edge.url + POLL_PATH + sid) as answer:
        assert answer.status == 400
    await ws.close()


async def test_an_upgraded_session_is_not_upgraded_again(edge: RunningEdge):
    """A second WebSocket with its sid is turned away, and the first one lives."""
    sid = await open_polling_session(edge)
    ws = await upgrade_session(edge, sid)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await upgrade_session(edge, sid)
    await ws.send_str('40/rider,{"token":"x"}')
    assert (await next_message(ws)).data == '44/rider,{"message":"token_invalid"}'
    await ws.close()
