"""Socket.IO packets: who joins a namespace, and which packets end the connection."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import socketio
from structlog.testing import capture_logs

from handlers.sessions.auth import UserType
from handlers.sessions.rate_limits import JOIN_RATE
from handlers.transport.socketio_server import CONNECTS_MAX, CUT_LOG_BURST, OrjsonCodec
from tests.handlers.socket_edge import POLL_PATH, RawClient, RunningEdge, run_edge
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as running:
        yield running


# Joining a namespace.


async def test_joins_per_identity_are_limited(edge: RunningEdge):
    """An identity over its limit is aborted without CONNECT_ERROR; others may join.

    The official client reconnects by itself after that, as it would not after a CONNECT_ERROR.
    """
    joins_max = int(JOIN_RATE.burst)
    replies = []
    for _ in range(joins_max + 2):
        async with edge.connect() as raw:
            replies.append(await raw.join("/rider", token=edge.issue_token()))
    assert [packet[:2] for packet in replies] == ["40"] * joins_max + ["cl"] * 2
    await Until().true(lambda: len(edge.context.left) == joins_max)
    async with edge.connect_rider("rdr_2") as raw:
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
    edge.clock.advance(1_000)
    async with edge.connect_rider() as raw:
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_connect_is_answered_before_any_event(edge: RunningEdge):
    """An event sent while a client joins arrives after its CONNECT (SECURITY.md, row 11)."""
    async with edge.connect() as raw:
        packet = await raw.join("/user", token=edge.issue_token("USER", "usr_1"))
        assert packet.startswith('40/user,{"sid":"')
        assert await raw.next_packet() == '42/user,["hello",{"you":"usr_1"}]'


async def connect_error(raw: RawClient, namespace: str, auth: Any) -> Any:
    await raw.send(f"40{namespace},{json.dumps(auth)}")
    packet = await raw.next_packet()
    prefix = f"44{namespace},"
    assert packet.startswith(prefix), packet
    return json.loads(packet.removeprefix(prefix))


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({}, "token_required"),
        (None, "token_required"),
        ({"token": None}, "token_required"),
        ({"token": ""}, "token_required"),
        ({"token": "hello"}, "token_invalid"),
        ({"token": 7}, "token_invalid"),
        ({"token": ["a"]}, "token_invalid"),
    ],
)
async def test_a_bad_token_is_refused_with_its_code(edge: RunningEdge, auth: Any, code: str):
    """CONNECT_ERROR is an object with the code as its message, and nothing else."""
    async with edge.connect() as raw:
        assert await connect_error(raw, "/rider", auth) == {"message": code}


async def test_an_expired_token_has_its_own_code(edge: RunningEdge):
    """`token_expired` tells the app to fetch a new token."""
    token = edge.issue_token(ttl_s=60)
    edge.clock.advance(60_000)
    async with edge.connect() as raw:
        assert await connect_error(raw, "/rider", {"token": token}) == {"message": "token_expired"}


@pytest.mark.parametrize(
    ("kind", "namespace"),
    [
        (kind, namespace)
        for kind, own in (("USER", "/user"), ("VENDOR", "/vendor"), ("RIDER", "/rider"))
        for namespace in ("/user", "/vendor", "/rider")
        if namespace != own
    ],
)
async def test_a_namespace_requires_its_user_type(
    edge: RunningEdge, kind: UserType, namespace: str
):
    """A token admits to the namespace of its user type and to no other."""
    async with edge.connect() as raw:
        auth = {"token": edge.issue_token(kind, "x_1")}
        assert await connect_error(raw, namespace, auth) == {"message": "wrong_user_type"}
        assert len(edge.sessions) == 0


@pytest.mark.parametrize("namespace", ["/nowhere", "/ops", "/rider/", "/Rider", "/"])
async def test_an_unknown_namespace_is_refused(edge: RunningEdge, namespace: str):
    """CONNECT_ERROR is an object with a message, also for `/` (SECURITY.md, row 11)."""
    async with edge.connect() as raw:
        await raw.send(
            f"40{namespace},".replace("/,", "") + json.dumps({"token": edge.issue_token()})
        )
        packet = await raw.next_packet()
        assert packet.endswith('{"message":"unknown_namespace"}')
        assert packet.startswith("44")


async def test_a_namespace_is_joined_once(edge: RunningEdge):
    """A second CONNECT gets CONNECT_ERROR, and the first session goes on."""
    async with edge.connect_rider() as raw:
        auth = {"token": edge.issue_token()}
        assert await connect_error(raw, "/rider", auth) == {"message": "already_connected"}
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_a_client_may_leave_and_join_again(edge: RunningEdge):
    """DISCONNECT ends the session and keeps the connection, which may join again."""
    async with edge.connect_rider() as raw:
        await raw.send("41/rider,")
        await Until().true(lambda: len(edge.sessions) == 0)
        packet = await raw.join("/rider", token=edge.issue_token())
        assert packet.startswith('40/rider,{"sid":"')
        assert len(edge.sessions) == 1


async def test_connect_attempts_are_limited(edge: RunningEdge):
    """A connection that sends more than `CONNECTS_MAX` CONNECT packets is closed."""
    async with edge.connect() as raw:
        for _ in range(CONNECTS_MAX):
            assert await connect_error(raw, "/rider", {"token": "x"}) == {
                "message": "token_invalid"
            }
        await raw.send('40/rider,{"token":"x"}')
        assert await raw.next_packet() == "closed"


# Packets outside the protocol.


BAD_PACKETS = {
    "an unknown Engine.IO packet": "9",
    "a letter": "x",
    "nothing": "",
    "a handshake": '0{"sid":"x"}',
    "a ping of the client": "2",
    "an upgrade without a probe": "5",
    "a pong with more": "3probe",
    "an empty message": "4",
    "an unknown Socket.IO packet": "49",
    "a letter for a packet": "4abc",
    "a CONNECT_ERROR": '44/rider,{"message":"x"}',
    "a payload that is an object": "42/rider,{}",
    "a payload that is missing": "42/rider,",
    "an empty payload": "42/rider,[]",
    "a name that is a number": "42/rider,[1]",
    "a name that is an object": '42/rider,[{"a":1}]',
    "an id that is no number": '42/rider,abc["accept_delivery",{}]',
    "an endless id": f'42/rider,{"1" * 200}["accept_delivery",{{}}]',
    "a bracket too few": '42/rider,["location_update",{"lat":1,"lng":2}',
    "a brace too few": '42/rider,["location_update",{"lat":1,"lng":2]',
    "trailing text": '42/rider,["location_update",{"lat":1,"lng":2}]x',
    "a missing payload after a comma": '42/rider,["location_update",]',
    "not a number": '42/rider,["location_update",{"lat":NaN,"lng":2}]',
    "an unpaired surrogate": '42/rider,["location_update",{"lat":1,"lng":2,"x":"\\ud800"}]',
    "a single quote": "42/rider,['location_update']",
    "five thousand brackets": "42/rider," + "[" * 5000,
    "five thousand brackets in a field": '42/rider,["location_update",{"x":' + "[" * 5000,
    "deep but complete": '42/rider,["location_update",{"lat":1,"lng":2,"x":'
    + "[" * 3000 + "]" * 3000 + "}]",
    "a namespace not joined": '42/user,["subscribe_order","ord_1"]',
    "the root namespace": '42["location_update",{"lat":1,"lng":2}]',
    "an acknowledgement without id": "43/rider,[]",
    "an acknowledgement of a text": '43/rider,1"x"',
    "an acknowledgement elsewhere": "43/user,1[]",
    "a binary event": '451-/rider,["x",{"_placeholder":true,"num":0}]',
    "a binary acknowledgement": '461-/rider,1[{"_placeholder":true,"num":0}]',
    "attachments on a plain event": '421-/rider,["x"]',
    "binary as text": "bAQIDBA==",
    "a token that is a list": '40/rider,["token"]',
    "a token that is a text": '40/rider,"token"',
    "digits of another script": "4\u0662/rider,[\u0661]",
}  # fmt: skip


@pytest.mark.parametrize("frame", BAD_PACKETS.values(), ids=BAD_PACKETS)
async def test_a_bad_frame_ends_the_connection_at_once(
    edge: RunningEdge, frame: str, caplog: pytest.LogCaptureFixture
):
    """No session is left, and nothing is logged above info (SECURITY.md, rows 7 and 9)."""
    with capture_logs() as logs:
        async with edge.connect_rider() as raw:
            await raw.send(frame)
            assert await raw.next_packet() == "closed"
        await Until().true(lambda: len(edge.sessions) == 0)
    assert edge.server.eio.sockets == {}
    assert [entry for entry in logs if entry["log_level"] != "info"] == []
    assert all(len(json.dumps(entry)) <= 200 for entry in logs)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("size", [1, 15_000])
async def test_binary_frames_end_the_connection(edge: RunningEdge, size: int):
    """The contract has no binary; attachments would fill the memory (SECURITY.md, row 8)."""
    async with edge.connect_rider() as raw:
        await raw.ws.send_bytes(b"\x00" * size)
        assert await raw.next_packet() == "closed"
    await Until().true(lambda: edge.server.eio.sockets == {})


async def test_frame_size_is_bounded(edge: RunningEdge):
    """A frame of 64 KiB is handled, one byte more closes (SECURITY.md, row 8)."""
    start, end = '42/rider,1["arrived_pickup",{"orderId":"ord_1","x":"', '"}]'
    longest = start + "a" * (64 * 1024 - len(start + end)) + end
    async with edge.connect_rider() as raw:
        await raw.send(longest)
        answer = await raw.next_ack()
        assert answer["ok"] is True
        await raw.send(longest + " ")
        assert await raw.next_packet() == "closed"
    await Until().true(lambda: edge.server.eio.sockets == {})


async def test_bad_frame_log_lines_are_limited(edge: RunningEdge):
    """Thirty bad clients write at most `CUT_LOG_BURST` lines (SECURITY.md, row 9)."""
    with capture_logs() as logs:
        for _ in range(30):
            async with edge.connect() as raw:
                await raw.send("x")
                assert await raw.next_packet() == "closed"
    assert 1 <= len(logs) <= CUT_LOG_BURST


PACKET_PIECES = [
    "4", "2", "0", "1", "3", "5", "/rider", "/user", ",", "[", "]", "{", "}", '"', ":", "7", "-",
    '"location_update"', '"arrived_pickup"', '"orderId"', '"ord_1"', '"lat"', "1.5", "null",
    "1e999", "\\ud800", "\\", "\x1e", "\x00", "é", "\u0662", "²", "?", "true", '{"lat":1,"lng":2}',
    '42/rider,["location_update",{"lat":1,"lng":2}]', '42/rider,5["arrived_pickup","ord_1"]',
    "99999999999999999999", "[[[[[[[[", '43/rider,1["x"]', "41/rider,", "-1", "NaN", " ",
]  # fmt: skip


async def test_no_frame_raises(edge: RunningEdge):
    """Of 10,000 random packets (seed 11) each is handled or ends its connection, without error."""
    rng = random.Random(11)
    handled = 0
    join = f'40/rider,{{"token":"{edge.issue_token()}"}}'
    with capture_logs() as logs:
        for _ in range(1000):
            connection = edge.server.eio.open_session("127.0.0.1", "websocket")
            connection.receive(join)
            frames = (
                "4" + "".join(rng.choices(PACKET_PIECES, k=rng.randint(0, 9))) for _ in range(10)
            )
            handled += sum(connection.receive(frame) for frame in frames)
            connection.end("client_closed")
            # Awaiting commands run, and the identity may join again.
            await asyncio.sleep(0)
            edge.clock.advance(1_000)
    assert [entry for entry in logs if entry["log_level"] != "info"] == []
    assert 0 < handled < 5000
    assert len(edge.sessions) == 0
    assert edge.server.eio.sockets == {}


# The whole server.


async def test_a_server_that_stops_ends_every_connection(edge: RunningEdge):
    """All clients are closed at once, and new ones are refused (SECURITY.md, row 12)."""
    async with edge.connect_rider() as one, edge.connect_rider("rdr_2") as two:
        await edge.server.close_all()
        assert [await one.next_packet(), await two.next_packet()] == ["closed", "closed"]
        assert len(edge.sessions) == 0
    async with edge.http.get(edge.url + POLL_PATH) as response:
        assert response.status == 503


async def test_the_librarys_emit_is_refused(edge: RunningEdge):
    """The library would drop the event silently, because its rooms are empty."""
    with pytest.raises(NotImplementedError):
        await edge.server.emit("hello", {})


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_the_library_client_is_served_over_every_transport(
    edge: RunningEdge, transports: list[str]
):
    """Long polling, WebSocket, and the upgrade from one to the other.

    It holds the private `_upgrades`, `_ok`, `_make_response`, `_handle_connect` and
    `_engineio_server_class` of the libraries.
    """
    client = socketio.AsyncClient(reconnection=False)
    auth = {"token": edge.issue_token()}
    await client.connect(edge.url, auth=auth, namespaces=["/rider"], transports=transports)
    answer = await client.call("arrived_pickup", {"orderId": "ord_1"}, namespace="/rider")
    assert answer == {"ok": True, "data": {"orderId": "ord_1", "by": "rdr_1"}}
    assert client.transport() == transports[-1]
    await client.disconnect()
    await Until().true(lambda: len(edge.sessions) == 0 and not edge.server.eio.sockets)


def test_the_codec_raises_value_error_for_deep_nesting():
    """The depth is limited; `json` would raise RecursionError (SECURITY.md, row 7)."""
    value = ["x", {"a": 1}]
    assert OrjsonCodec.loads(OrjsonCodec.dumps(value, separators=(",", ":"))) == value
    with pytest.raises(ValueError, match="depth limit"):
        OrjsonCodec.loads("[" * 5_000)
