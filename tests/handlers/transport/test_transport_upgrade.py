"""A polling session moves to a WebSocket, or keeps polling where the attempt fails."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from handlers.transport.engineio_session import SessionTimeouts
from tests.handlers.socket_edge import RunningEdge, run_edge
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as running:
        yield running


async def test_an_unfinished_probe_keeps_the_polling_session(edge: RunningEdge):
    """A WebSocket that is lost during the upgrade leaves the session to long polling."""
    url, handshake = await edge.open_polling_session()
    assert handshake["upgrades"] == ["websocket"]
    async with edge.http.ws_connect(url.replace("polling", "websocket")) as ws:
        await ws.send_str("2probe")
        assert (await ws.receive()).data == "3probe"
    async with edge.http.post(url, data='40/rider,{"token":"x"}') as response:
        assert (response.status, await response.text()) == (200, "OK")
    async with edge.http.get(url) as response:
        assert await response.text() == '44/rider,{"message":"token_invalid"}'


async def test_a_session_is_upgraded_once(edge: RunningEdge):
    """A second WebSocket with the session's id is refused, and the first one goes on."""
    url, _ = await edge.open_polling_session()
    url = url.replace("polling", "websocket")
    async with edge.http.ws_connect(url) as ws:
        await ws.send_str("2probe")
        assert (await ws.receive()).data == "3probe"
        await ws.send_str("5")
        [connection] = edge.server.eio.sockets.values()
        await Until().true(lambda: connection.upgraded)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await edge.http.ws_connect(url)
        await ws.send_str('40/rider,{"token":"x"}')
        assert (await ws.receive()).data == '44/rider,{"message":"token_invalid"}'


@pytest.mark.parametrize("packets", [["x"], ["2probe", "x"], ["2probe", "40/rider,{}"], ["5"]])
async def test_another_packet_ends_the_attempt(edge: RunningEdge, packets: list[str]):
    """The WebSocket is aborted, the session keeps polling, and may be upgraded later."""
    url, _ = await edge.open_polling_session()
    ws_url = url.replace("polling", "websocket")
    async with edge.http.ws_connect(ws_url) as ws:
        for packet in packets:
            await ws.send_str(packet)
        while not ws.closed:
            await ws.receive()
    [connection] = edge.server.eio.sockets.values()
    assert not connection.upgraded
    assert not connection.upgrading
    async with edge.http.ws_connect(ws_url) as ws:
        await ws.send_str("2probe")
        assert (await ws.receive()).data == "3probe"


async def test_an_attempt_that_takes_too_long_ends():
    """The WebSocket of an upgrade that does not go on is aborted after the timeout."""
    async with run_edge(SessionTimeouts(transfer_timeout_s=0.05)) as running:
        url, _ = await running.open_polling_session()
        async with running.http.ws_connect(url.replace("polling", "websocket")) as ws:
            await ws.send_str("2probe")
            assert (await ws.receive()).data == "3probe"
            assert (await ws.receive()).type is not aiohttp.WSMsgType.TEXT
        [connection] = running.server.eio.sockets.values()
        assert not connection.upgrading


async def test_two_attempts_at_once_are_refused(edge: RunningEdge):
    """The second WebSocket gets 400; the first attempt goes on."""
    url, _ = await edge.open_polling_session()
    ws_url = url.replace("polling", "websocket")
    async with edge.http.ws_connect(ws_url) as ws:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await edge.http.ws_connect(ws_url)
        await ws.send_str("2probe")
        assert (await ws.receive()).data == "3probe"


async def test_a_waiting_poll_ends_when_the_websocket_is_probed(edge: RunningEdge):
    """The client must not send `5` before its poll has been answered; the answer is NOOP."""
    url, _ = await edge.open_polling_session()
    poll = asyncio.ensure_future(edge.http.get(url))
    [connection] = edge.server.eio.sockets.values()
    await Until().true(lambda: connection.send_buffer.is_polled)
    async with edge.http.ws_connect(url.replace("polling", "websocket")) as ws:
        await ws.send_str("2probe")
        assert (await ws.receive()).data == "3probe"
        assert await (await poll).text() == "6"
