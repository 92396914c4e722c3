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

from handlers.transport.engineio_session import Timings
from tests.handlers.socket_edge import WS, House, edge
from tests.waiting import Until

# As short as the public suite's own, so that a heartbeat can be seen.
PING_S, TIMEOUT_S = 0.3, 0.2
POLL = "/socket.io/?EIO=4&transport=polling"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house() -> AsyncIterator[House]:
    async with edge(Timings(ping_interval_s=PING_S, ping_timeout_s=TIMEOUT_S)) as house:
        yield house


async def next_but_pings(ws: aiohttp.ClientWebSocketResponse) -> Any:
    async with asyncio.timeout(5):
        while (message := await ws.receive()).data == "2":
            await ws.send_str("3")
    return message


# Handshake.


async def test_a_websocket_opens_a_session(house: House):
    """The first packet says who we are and how often we ask for a sign of life."""
    async with house.http.ws_connect(house.url + WS) as ws:
        opening = (await ws.receive()).data
    told = json.loads(opening[1:])
    assert opening[0] == "0"
    assert sorted(told) == ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]
    assert (told["pingInterval"], told["pingTimeout"]) == (300, 200)
    assert told["upgrades"] == []


@pytest.mark.parametrize("query", ["transport=websocket", "EIO=abc&transport=websocket"])
async def test_a_session_needs_the_protocols_version(house: House, query: str):
    """An invalid `EIO` query parameter opens nothing."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await house.http.ws_connect(f"{house.url}/socket.io/?{query}")


@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc"])
async def test_a_session_needs_a_transport(house: House, query: str):
    """An invalid `transport` query parameter opens nothing."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await house.http.ws_connect(f"{house.url}/socket.io/?{query}")


# Messages. The public suite has an echo; ours is a command and its acknowledgement.


async def test_text_goes_there_and_back(house: House):
    """A message is a text frame that begins with 4, both ways."""
    async with house.rider() as raw:
        answer = await raw.ask("arrived_pickup", "ord_1")
    assert answer == {"ok": True, "data": {"orderId": "ord_1", "by": "rdr_1"}}


async def test_binary_goes_nowhere(house: House):
    """The contract has none: where the public suite has an echo, ours ends the connection."""
    async with house.rider() as raw:
        await raw.ws.send_bytes(bytes([1, 2, 3, 4]))
        assert await raw.next() == "closed"


async def test_a_packet_without_form_ends_the_connection(house: House):
    """The public suite sends `abc`."""
    async with house.raw() as raw:
        await raw.say("abc")
        assert await raw.next() == "closed"


# Heartbeat.


async def test_the_server_pings_and_the_client_answers(house: House):
    """Three pings, each answered in time, and the connection still stands."""
    async with house.rider() as raw:
        for _ in range(3):
            assert (await raw.ws.receive()).data == "2"
            await raw.say("3")
        assert (await raw.ask("arrived_pickup", "ord_1"))["ok"] is True


async def test_without_a_pong_the_connection_ends(house: House):
    """The ping is heard and not answered: the end comes within interval and timeout."""
    async with house.rider() as raw, asyncio.timeout(3 * (PING_S + TIMEOUT_S)):
        assert (await raw.ws.receive()).data == "2"
        assert (await raw.ws.receive()).type is not aiohttp.WSMsgType.TEXT


# Close.


async def test_a_client_closes_its_session(house: House):
    """A packet `1` ends it at once, and nothing of it is left."""
    async with house.rider("rdr_closes") as raw:
        await raw.say("1")
        assert await raw.next() == "closed"
    await Until().true(lambda: not house.sessions.of("rider:rdr_closes"))


# Upgrade.


async def polled(house: House) -> str:
    async with house.http.get(house.url + POLL) as answer:
        sid = json.loads((await answer.text())[1:])["sid"]
    return f"&sid={sid}"


async def upgraded(house: House, sid: str) -> aiohttp.ClientWebSocketResponse:
    ws = await house.http.ws_connect(house.url + WS + sid)
    await ws.send_str("2probe")
    assert (await ws.receive()).data == "3probe"
    await ws.send_str("5")
    return ws


async def test_a_poll_becomes_a_websocket(house: House):
    """`2probe`, `3probe`, `5`; what follows goes over the WebSocket."""
    ws = await upgraded(house, await polled(house))
    await ws.send_str(f'40/rider,{{"token":"{house.token()}"}}')
    assert (await next_but_pings(ws)).data.startswith('40/rider,{"sid":')
    await ws.close()


async def test_an_upgraded_session_is_not_polled(house: House):
    """HTTP requests with its sid are turned away."""
    sid = await polled(house)
    ws = await upgraded(house, sid)
    [connection] = [c for c in house.server.eio.sockets.values() if f"&sid={c.sid}" == sid]
    await Until().true(lambda: connection.upgraded)
    async with house.http.post(house.url + POLL + sid, data="40/rider,{}") as answer:
        assert answer.status == 400
    async with house.http.get(house.url + POLL + sid) as answer:
        assert answer.status == 400
    await ws.close()


async def test_an_upgraded_session_is_not_upgraded_again(house: House):
    """A second WebSocket with its sid is turned away, and the first one lives."""
    sid = await polled(house)
    ws = await upgraded(house, sid)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await upgraded(house, sid)
    await ws.send_str('40/rider,{"token":"x"}')
    assert (await next_but_pings(ws)).data == '44/rider,{"message":"token_invalid"}'
    await ws.close()
