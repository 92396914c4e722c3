"""The minimal Socket.IO client, against a python-socketio server."""

import asyncio
from typing import Any

import pytest

from bench.common.client import (
    TEXT,
    CommandRefused,
    ConnectionClosed,
    SocketClient,
    connect,
    masked_frame,
)
from city.client.tokens import TokenSigner
from city.model.clock import MachineClock
from tests.city.fake_server import SECRET, FakeServer, running_fake_server
from tests.waiting import Until

# Far above what any answer takes; a busy machine is no reason to fail.
WAIT_S = 60
SIGNER = TokenSigner(SECRET, MachineClock().now_ms)


async def connect_rider(server: FakeServer, events: asyncio.Queue[Any]) -> SocketClient:
    token = SIGNER.sign("RIDER", "rdr_1")
    return await connect(server.url, "/rider", token, lambda *event: events.put_nowait(event))


async def test_commands_are_answered_or_refused():
    """An answered command returns its data; a refused one raises its code."""
    async with running_fake_server() as server:
        client = await connect_rider(server, asyncio.Queue(10))
        assert await client.call("set_availability", {"available": True}) == {}
        assert server.riders == {"rdr_1": True}
        with pytest.raises(CommandRefused) as refused:
            await client.call("pick_up", {"orderId": "none"})
        assert refused.value.code == "not_found"
        client.close()


async def test_events_arrive_with_their_time():
    """An event of the server is passed on with its name, its payload and a time."""
    async with running_fake_server() as server, asyncio.timeout(WAIT_S):
        events: asyncio.Queue[Any] = asyncio.Queue(10)
        client = await connect_rider(server, events)
        await server.send_event("RIDER", "rdr_1", "order_settled", amount=5)
        name, payload, at_s = await events.get()
        assert (name, payload["amount"]) == ("order_settled", 5)
        assert at_s > 0
        client.close()


async def test_packets_are_sent_as_they_are():
    """A fix sent as a raw packet reaches the server."""
    async with running_fake_server() as server:
        client = await connect_rider(server, asyncio.Queue(10))
        client.send(b'42/rider,["location_update",{"lat":4.05,"lng":9.72,"seq":1}]')
        await Until().true(lambda: bool(server.fixes["rdr_1"]), WAIT_S)
        assert [fix["seq"] for fix in server.fixes["rdr_1"]] == [1]
        client.close()


async def test_a_refused_connection_raises_its_code():
    """A token of another user type is refused with its code."""
    async with running_fake_server() as server:
        token = SIGNER.sign("USER", "usr_1")
        with pytest.raises(CommandRefused, match="wrong_user_type"):
            await connect(server.url, "/rider", token, lambda *_: None)


async def test_a_closed_connection_fails_pending_calls():
    """A call whose connection closes before its answer raises ConnectionClosed."""
    async with running_fake_server() as server, asyncio.timeout(WAIT_S):
        client = await connect_rider(server, asyncio.Queue(10))
        client.close()
        with pytest.raises(ConnectionClosed):
            await client.call("set_availability", {})


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (5, bytes((0x81, 0x85))),
        (126, bytes((0x81, 0xFE, 0, 126))),
        (500, bytes((0x81, 0xFE, 1, 244))),
    ],
)
def test_frames_are_masked_and_have_their_length(size: int, header: bytes):
    """A text frame has its length in 7 or 16 bits, a mask of zeros, and the payload unchanged."""
    payload = b"x" * size
    assert masked_frame(TEXT, payload) == header + bytes(4) + payload
