"""Socket.IO protocol 5: the sixteen cases of the protocol's public test suite.

Source: socket.io-protocol, test suite. Where docs/contract.md differs from the suite's server, the
case says so: the main namespace is not served, a namespace requires a token, and nothing is binary.
Pings are answered while a close is awaited: otherwise a server that forgets to close would pass by
its ping timeout.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from handlers.transport.engineio_session import SessionTimeouts
from tests.handlers.socket_edge import RawClient, RunningEdge, run_edge
from tests.waiting import Until

# The ping timeout is long, so that no case ends because of it.
TIMEOUTS = SessionTimeouts(ping_interval_s=0.1, ping_timeout_s=30, connect_timeout_s=0.5)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge(TIMEOUTS) as running:
        yield running


async def is_closed(raw: RawClient) -> bool:
    """Return whether the server closes, with all pings answered."""
    async with asyncio.timeout(5):
        return await raw.next_packet() == "closed"


# Connect.


async def test_1_the_main_namespace_answers(edge: RunningEdge):
    """The suite's server admits; this one serves audiences only and sends CONNECT_ERROR."""
    async with edge.connect() as raw:
        await raw.send("40")
        assert await raw.next_packet() == '44{"message":"unknown_namespace"}'


async def test_2_the_main_namespace_answers_a_payload(edge: RunningEdge):
    """Also with a token the main namespace is not served."""
    async with edge.connect() as raw:
        await raw.send(f'40{{"token":"{edge.issue_token()}"}}')
        assert await raw.next_packet() == '44{"message":"unknown_namespace"}'


async def test_3_a_custom_namespace_answers(edge: RunningEdge):
    """Without a payload there is no token, and CONNECT_ERROR says so."""
    async with edge.connect() as raw:
        await raw.send("40/rider,")
        assert await raw.next_packet() == '44/rider,{"message":"token_required"}'


async def test_4_a_custom_namespace_is_joined_with_a_payload(edge: RunningEdge):
    """CONNECT is answered with the namespace's own session id, before any event."""
    async with edge.connect() as raw:
        packet = await raw.join("/rider", token=edge.issue_token())
        body = json.loads(packet.removeprefix("40/rider,"))
    assert sorted(body) == ["sid"]
    assert body["sid"] != raw.handshake["sid"]


async def test_5_an_unknown_namespace_is_refused(edge: RunningEdge):
    """CONNECT_ERROR is an object with a `message`; the library by itself sends a text."""
    async with edge.connect() as raw:
        await raw.send("40/random")
        assert await raw.next_packet() == '44/random,{"message":"unknown_namespace"}'


@pytest.mark.parametrize("first", ["4abc", '42["x"]', "41/rider,x", "40/rider,[]", '40/rider,"t"'])
async def test_6_an_invalid_handshake_closes(edge: RunningEdge, first: str):
    """Must close, 1 of 5: the library by itself leaves the connection open."""
    async with edge.connect() as raw:
        await raw.send(first)
        assert await is_closed(raw)


async def test_7_without_a_handshake_it_closes(edge: RunningEdge):
    """Must close, 2 of 5: answering pings is not enough to stay."""
    async with edge.connect() as raw:
        assert await is_closed(raw)


# Disconnect.


async def test_8_leaving_an_unjoined_main_namespace_is_ignored(edge: RunningEdge):
    """The suite leaves the main namespace; here nobody has joined it, and the rider goes on."""
    async with edge.connect_rider() as raw:
        await raw.send("41")
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_9_a_custom_namespace_is_joined_and_left(edge: RunningEdge):
    """Its session ends, and the other session on the same connection goes on."""
    async with edge.connect() as raw:
        await raw.join("/rider", token=edge.issue_token(owner="rdr_leaves"))
        await raw.join("/user", token=edge.issue_token("USER", "usr_stays"))
        assert await raw.next_packet() == '42/user,["hello",{"you":"usr_stays"}]'
        await raw.send("41/rider,")
        await Until().true(lambda: not edge.sessions.for_identity("rider:rdr_leaves"))
        await raw.send('42/user,1["subscribe_order","ord_1"]')
        assert (await raw.next_packet()).startswith('43/user,1[{"ok":true')


# Messages.


async def test_10_a_plain_event_is_handled(edge: RunningEdge):
    """Without an acknowledgement id nothing is answered; the next command's answer comes next."""
    async with edge.connect_rider() as raw:
        await raw.send('42/rider,["location_update",{"lat":4.05,"lng":9.7,"seq":1}]')
        assert (await raw.send_command("arrived_pickup", "ord_1", 5))["ok"] is True
    assert edge.context.received[-2:] == [edge.context.received[-2], "ord_1"]
    assert (edge.context.received[-2].lat, edge.context.received[-2].seq) == (4.05, 1)


async def test_11_binary_attachments_close(edge: RunningEdge):
    """The suite's server echoes them; here the announcement of an attachment closes."""
    async with edge.connect_rider() as raw:
        await raw.send('452-/rider,["message",{"_placeholder":true,"num":0}]')
        assert await is_closed(raw)


async def test_12_an_event_is_acknowledged(edge: RunningEdge):
    """The acknowledgement has the id that the event was sent with."""
    async with AsyncExitStack() as stack:
        raw = await stack.enter_async_context(edge.connect_rider())
        for ack_id in (0, 1, 456, 999_999):
            assert (await raw.send_command("arrived_pickup", "ord_1", ack_id))["ok"] is True


async def test_13_binary_attachments_with_an_ack_close(edge: RunningEdge):
    """As without an acknowledgement id."""
    async with edge.connect_rider() as raw:
        await raw.send('452-/rider,789["message",{"_placeholder":true,"num":0}]')
        assert await is_closed(raw)


@pytest.mark.parametrize("frame", ["4abc", "47", "49/rider,[]"])
async def test_14_an_unknown_packet_type_closes(edge: RunningEdge, frame: str):
    """Must close, 3 of 5."""
    async with edge.connect_rider() as raw:
        await raw.send(frame)
        assert await is_closed(raw)


@pytest.mark.parametrize(
    "frame", ["42{}", "42/rider,{}", '42/rider,"x"', "42/rider,[]", "42/rider,"]
)
async def test_15_an_invalid_payload_closes(edge: RunningEdge, frame: str):
    """Must close, 4 of 5."""
    async with edge.connect_rider() as raw:
        await raw.send(frame)
        assert await is_closed(raw)


@pytest.mark.parametrize("frame", ['42abc["x",1]', '42/rider,abc["x",1]', '42/rider,-1["x",1]'])
async def test_16_an_invalid_ack_id_closes(edge: RunningEdge, frame: str):
    """Must close, 5 of 5."""
    async with edge.connect_rider() as raw:
        await raw.send(frame)
        assert await is_closed(raw)
