"""Which frames a connection understands, and how early it ends on the others."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio
from structlog.testing import capture_logs

from handlers.sessions.auth import UserType
from handlers.sessions.rate_limits import Rate
from handlers.sessions.session_registry import SOCKETS_PER_IDENTITY_MAX
from handlers.transport.engineio_server import CONNECTS_MAX
from handlers.transport.engineio_session import SessionTimeouts
from tests.handlers.socket_edge import WS_PATH, RawClient, RunningEdge, run_edge
from tests.waiting import Until

SOON_S = 0.05


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as house:
        yield house


# The handshake.


async def test_the_handshake_names_ping_interval_and_max_payload(edge: RunningEdge):
    """The client learns the ping's rhythm and the longest frame; nothing is left to upgrade."""
    async with edge.connect() as raw:
        rhythm = {"pingInterval": 10_000, "pingTimeout": 10_000, "maxPayload": 16 * 1024}
        assert raw.handshake == {"sid": raw.handshake["sid"], "upgrades": [], **rhythm}


async def test_frames_are_never_compressed(edge: RunningEdge):
    """A compressor would cost a hundred kilobytes a socket; it is declined (hole 4)."""
    async with edge.http.ws_connect(edge.url + WS_PATH, compress=15) as ws:
        assert ws.compress == 0


async def test_the_true_address_of_a_client_is_known(edge: RunningEdge):
    """The stock driver says 127.0.0.1 for everyone (hole 10)."""
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.7", 0))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(edge.url + WS_PATH),
        http.get(edge.url + POLL_PATH),
    ):
        addresses = [c.address for c in edge.server.eio.sockets.values()]
    assert addresses == ["127.0.0.7", "127.0.0.7"]


POLL_PATH = "/socket.io/?EIO=4&transport=polling"


@pytest.mark.parametrize(
    "query",
    [
        "EIO=3&transport=websocket",
        "transport=websocket",
        "EIO=abc&transport=websocket",
        "EIO=4&transport=carrier-pigeon",
        "EIO=4&transport=websocket&sid=nobody",
        "EIO=4&transport=polling&j=0",
    ],
)
async def test_an_invalid_handshake_gets_400(edge: RunningEdge, query: str):
    """Other protocol versions, transports and sessions end before a session begins."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with edge.http.get(f"{edge.url}/socket.io/?{query}", headers=headers) as answer:
        assert answer.status == 400
    assert edge.server.eio.sockets == {}


@pytest.mark.parametrize("path", [WS_PATH, POLL_PATH])
async def test_another_origin_is_refused(edge: RunningEdge, path: str):
    """Browsers send their origin; only the server's own pages and the allow-list come in."""
    headers = {"Origin": "https://evil.example", **UPGRADE_HEADERS}
    async with edge.http.get(edge.url + path, headers=headers) as answer:
        assert answer.status == 400


UPGRADE_HEADERS = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


HEADERS_BY_PATH: dict[str, dict[str, str]] = {WS_PATH: UPGRADE_HEADERS, POLL_PATH: {}}


async def test_allowed_origins_may_connect():
    """An operator's page on another host is named in the settings."""
    async with run_edge(allowed_origins=("https://ops.example",)) as house:
        for origin in ("https://ops.example", house.url):
            async with house.connect(Origin=origin) as raw:
                assert "sid" in raw.handshake


@pytest.mark.parametrize("path", [WS_PATH, POLL_PATH])
async def test_connections_per_address_are_limited(
    edge: RunningEdge, path: str, monkeypatch: pytest.MonkeyPatch
):
    """The next one is told when to come again; others, and sessions that are open, go on."""
    monkeypatch.setattr(
        "handlers.transport.engineio_server.CONNECTION_RATE", Rate("connection", 100, 2)
    )
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
    async with aiohttp.ClientSession(connector=connector) as flooding, edge.connect_rider() as raw:
        statuses = []
        for _ in range(4):
            async with flooding.get(edge.url + path, headers=HEADERS_BY_PATH[path]) as answer:
                statuses.append((answer.status, answer.headers.get("Retry-After")))
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
        edge.clock.advance(1_000)
        async with flooding.get(edge.url + path, headers=HEADERS_BY_PATH[path]) as answer:
            assert answer.status in (101, 200)
    assert [status in (101, 200) for status, _ in statuses] == [True, True, False, False]
    assert statuses[2:] == [(429, "1")] * 2


# Joining a namespace.


async def test_joins_per_identity_are_limited(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch):
    """Who comes again and again is cut before anything is looked up for him; others come in.

    The official client comes back by itself after that, as it would not after a CONNECT_ERROR.
    """
    monkeypatch.setattr("handlers.sockets.gate.JOIN_RATE", Rate("join", 1, 3))
    heard = []
    for _ in range(5):
        async with edge.connect() as raw:
            heard.append(await raw.join("/rider", token=edge.issue_token()))
    assert [packet[:2] for packet in heard] == ["40"] * 3 + ["cl"] * 2
    await Until().true(lambda: len(edge.desk.left) == 3)
    async with edge.connect_rider("rdr_2") as raw:
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
    edge.clock.advance(1_000)
    async with edge.connect_rider() as raw:
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_connect_is_answered_before_any_event(edge: RunningEdge):
    """An event told while a client is let in arrives after its CONNECT (hole 11)."""
    async with edge.connect() as raw:
        packet = await raw.join("/user", token=edge.issue_token("USER", "usr_1"))
        assert packet.startswith('40/user,{"sid":"')
        assert await raw.next_packet() == '42/user,["hello",{"you":"usr_1"}]'


async def connect_error(raw: RawClient, namespace: str, auth: Any) -> Any:
    await raw.send(f"40{namespace},{json.dumps(auth)}")
    packet = await raw.next_packet()
    head = f"44{namespace},"
    assert packet.startswith(head), packet
    return json.loads(packet[len(head) :])


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
    """CONNECT_ERROR carries a message, and nothing else, for every client to read."""
    async with edge.connect() as raw:
        assert await connect_error(raw, "/rider", auth) == {"message": code}


async def test_an_expired_token_has_its_own_code(edge: RunningEdge):
    """`token_expired` tells the app to fetch a new one."""
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
    """A token opens the namespace of its kind of user and no other."""
    async with edge.connect() as raw:
        auth = {"token": edge.issue_token(kind, "x_1")}
        assert await connect_error(raw, namespace, auth) == {"message": "wrong_user_type"}
        assert len(edge.sessions) == 0


@pytest.mark.parametrize("namespace", ["/nowhere", "/ops", "/rider/", "/Rider", "/"])
async def test_an_unknown_namespace_is_refused(edge: RunningEdge, namespace: str):
    """The answer is an object with a message; the root namespace is not served (hole 11)."""
    async with edge.connect() as raw:
        await raw.send(
            f"40{namespace},".replace("/,", "") + json.dumps({"token": edge.issue_token()})
        )
        packet = await raw.next_packet()
        assert packet.endswith('{"message":"unknown_namespace"}')
        assert packet.startswith("44")


async def test_a_namespace_is_joined_once(edge: RunningEdge):
    """The second CONNECT of one connection changes nothing for the first."""
    async with edge.connect_rider() as raw:
        auth = {"token": edge.issue_token()}
        assert await connect_error(raw, "/rider", auth) == {"message": "already_connected"}
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_a_client_may_leave_and_join_again(edge: RunningEdge):
    """DISCONNECT ends the session and keeps the connection."""
    async with edge.connect_rider() as raw:
        await raw.send("41/rider,")
        await Until().true(lambda: len(edge.sessions) == 0)
        packet = await raw.join("/rider", token=edge.issue_token())
        assert packet.startswith('40/rider,{"sid":"')
        assert len(edge.sessions) == 1


async def test_connect_attempts_are_limited(edge: RunningEdge):
    """One connection has a handful of attempts."""
    async with edge.connect() as raw:
        for _ in range(CONNECTS_MAX):
            assert await connect_error(raw, "/rider", {"token": "x"}) == {
                "message": "token_invalid"
            }
        await raw.send('40/rider,{"token":"x"}')
        assert await raw.next_packet() == "closed"


async def test_the_oldest_of_too_many_sockets_gets_disconnect(edge: RunningEdge):
    """A DISCONNECT goes first, or forgotten tabs would push each other out for ever."""
    async with AsyncExitStack() as stack:
        oldest, *others = [
            await stack.enter_async_context(edge.connect_rider())
            for _ in range(SOCKETS_PER_IDENTITY_MAX + 1)
        ]
        assert await oldest.next_packet() == "41/rider,"
        assert await oldest.next_packet() == "closed"
        assert len(edge.sessions.for_identity("rider:rdr_1")) == SOCKETS_PER_IDENTITY_MAX
        answers = [await other.send_command("arrived_pickup", "ord_1") for other in others]
        assert [answer["ok"] for answer in answers] == [True] * SOCKETS_PER_IDENTITY_MAX


# Frames outside of the protocol.

BAD_PACKETS = {
    "an unknown engine packet": "9",
    "a letter": "x",
    "nothing": "",
    "an opening": '0{"sid":"x"}',
    "a ping of the client's": "2",
    "an upgrade without a probe": "5",
    "a pong with more": "3probe",
    "no socket packet": "4",
    "an unknown socket packet": "49",
    "a letter for a packet": "4abc",
    "an error of the server's": '44/rider,{"message":"x"}',
    "a payload that is an object": "42/rider,{}",
    "a payload that is missing": "42/rider,",
    "an empty payload": "42/rider,[]",
    "a name that is a number": "42/rider,[1]",
    "a name that is an object": '42/rider,[{"a":1}]',
    "an id that is no number": '42/rider,abc["accept_delivery",{}]',
    "an id without end": f'42/rider,{"1" * 200}["accept_delivery",{{}}]',
    "a bracket too few": '42/rider,["location_update",{"lat":1,"lng":2}',
    "a brace too few": '42/rider,["location_update",{"lat":1,"lng":2]',
    "a word behind": '42/rider,["location_update",{"lat":1,"lng":2}]x',
    "a comma and nothing": '42/rider,["location_update",]',
    "not a number": '42/rider,["location_update",{"lat":NaN,"lng":2}]',
    "half a surrogate": '42/rider,["location_update",{"lat":1,"lng":2,"x":"\\ud800"}]',
    "a single quote": "42/rider,['location_update']",
    "five thousand brackets": "42/rider," + "[" * 5000,
    "five thousand brackets in a field": '42/rider,["location_update",{"x":' + "[" * 5000,
    "deep but whole": '42/rider,["location_update",{"lat":1,"lng":2,"x":'
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
    """No ghost stays until the ping's timeout, and no traceback is written (holes 7, 9)."""
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
    """None are part of the contract, and attachments would fill the memory (hole 8)."""
    async with edge.connect_rider() as raw:
        await raw.ws.send_bytes(b"\x00" * size)
        assert await raw.next_packet() == "closed"
    await Until().true(lambda: edge.server.eio.sockets == {})


async def test_frame_size_is_bounded(edge: RunningEdge):
    """A frame of 16 KiB is read to its end, one byte more is not (hole 8)."""
    head, tail = '42/rider,1["arrived_pickup",{"orderId":"ord_1","x":"', '"}]'
    longest = head + "a" * (16 * 1024 - len(head + tail)) + tail
    async with edge.connect_rider() as raw:
        await raw.send(longest)
        answer = await raw.next_ack()
        assert answer["error"]["message"] == "`x` is not known here"
        await raw.send(longest + " ")
        assert await raw.next_packet() == "closed"
    await Until().true(lambda: edge.server.eio.sockets == {})


async def test_bad_frame_log_lines_are_limited(edge: RunningEdge):
    """A flood of bad clients does not become a flood of lines (hole 9)."""
    with capture_logs() as logs:
        for _ in range(30):
            async with edge.connect() as raw:
                await raw.send("x")
                assert await raw.next_packet() == "closed"
    assert 1 <= len(logs) <= 10


# Time.


@pytest.mark.parametrize("first", ["", '40/rider,{"token":"x"}', "40/nowhere,{}"])
async def test_a_connection_that_joins_nothing_is_cut(first: str):
    """Answering pings is not enough to stay (hole 6)."""
    async with run_edge(
        SessionTimeouts(connect_timeout_s=SOON_S, ping_interval_s=SOON_S / 5)
    ) as house:
        async with house.connect() as raw:
            await raw.send(first or "3")
            while await raw.next_packet() != "closed":
                pass
        assert house.server.eio.sockets == {}


async def test_a_connection_that_has_left_its_namespace_is_cut():
    """Joining once is not enough either."""
    async with (
        run_edge(SessionTimeouts(connect_timeout_s=SOON_S)) as house,
        house.connect_rider() as raw,
    ):
        await raw.send("41/rider,")
        assert await raw.next_packet() == "closed"


async def test_a_joined_connection_stays():
    """The deadline for joining ends with the first CONNECT."""
    timings = SessionTimeouts(
        connect_timeout_s=SOON_S, ping_interval_s=SOON_S / 2, ping_timeout_s=5
    )
    async with run_edge(timings) as house, house.connect_rider() as raw:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SOON_S * 4):
                await raw.next_packet()
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_a_client_that_does_not_answer_pings_is_cut():
    """A dead phone holds no socket longer than interval and timeout."""
    timings = SessionTimeouts(ping_interval_s=SOON_S, ping_timeout_s=SOON_S)
    async with run_edge(timings) as house, house.connect_rider() as raw:
        assert (await raw.ws.receive()).data == "2"
        assert (await raw.ws.receive()).type is not aiohttp.WSMsgType.TEXT
        await Until().true(lambda: len(house.sessions) == 0)


async def test_a_socket_ends_with_its_token(edge: RunningEdge):
    """The others stay; the client may come back with a new token (no DISCONNECT is sent)."""
    async with edge.connect_rider("rdr_2") as other, edge.connect() as raw:
        await raw.join("/rider", token=edge.issue_token(ttl_s=60))
        edge.clock.advance(59_999)
        assert edge.sessions.end_expired() == 0
        edge.clock.advance(1)
        assert edge.sessions.end_expired() == 1
        assert await raw.next_packet() == "closed"
        assert (await other.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_the_expiry_loop_ends_sockets(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch):
    """The loop that is supervised ends expired sockets by itself."""
    monkeypatch.setattr("handlers.sessions.session_registry.EXPIRY_CHECK_EVERY_S", 0.01)
    async with edge.connect_rider() as raw, Until().running(edge.sessions.watch_expiry):
        edge.clock.advance(3_600_000)
        assert await raw.next_packet() == "closed"


# The end, and long polling.


async def test_a_server_that_stops_ends_every_connection(edge: RunningEdge):
    """Nobody waits for a minute; the clients hear it at once and go elsewhere (hole 12)."""
    async with edge.connect_rider() as one, edge.connect_rider("rdr_2") as two:
        await edge.server.close_all()
        assert [await one.next_packet(), await two.next_packet()] == ["closed", "closed"]
        assert len(edge.sessions) == 0
    async with edge.http.get(edge.url + POLL_PATH) as answer:
        assert answer.status == 503


async def test_the_librarys_emit_is_refused(edge: RunningEdge):
    """It would be dropped without a word, for nobody is in the library's rooms."""
    with pytest.raises(NotImplementedError):
        await edge.server.emit("hello", {})


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_the_library_client_is_served_over_every_transport(
    edge: RunningEdge, transports: list[str]
):
    """Long polling, WebSocket, and the move from one to the other."""
    client = socketio.AsyncClient(reconnection=False)
    auth = {"token": edge.issue_token()}
    await client.connect(edge.url, auth=auth, namespaces=["/rider"], transports=transports)
    answer = await client.call("arrived_pickup", {"orderId": "ord_1"}, namespace="/rider")
    assert answer == {"ok": True, "data": {"orderId": "ord_1", "by": "rdr_1"}}
    assert client.transport() == transports[-1]
    await client.disconnect()
    await Until().true(lambda: len(edge.sessions) == 0 and not edge.server.eio.sockets)


async def open_polling_session(house: RunningEdge) -> tuple[str, dict[str, Any]]:
    async with house.http.get(house.url + POLL_PATH) as answer:
        opening = json.loads((await answer.text())[1:])
    return f"{house.url}{POLL_PATH}&sid={opening['sid']}", opening


async def test_a_bad_post_ends_a_polling_session(edge: RunningEdge):
    """What holds for frames holds for the bodies of polls."""
    url, _ = await open_polling_session(edge)
    async with edge.http.post(url, data="x") as answer:
        assert answer.status == 400
    async with edge.http.get(url) as answer:
        assert answer.status == 400
    assert edge.server.eio.sockets == {}


@pytest.mark.parametrize("body", [b"4" * 20_000, b"\xff\xfe", b"40/rider,{}\x1ebAQ=="])
async def test_post_size_is_bounded(edge: RunningEdge, body: bytes):
    """Sixteen kilobytes of text, and nothing binary in it."""
    url, _ = await open_polling_session(edge)
    async with edge.http.post(url, data=body) as answer:
        assert answer.status == 400
    assert edge.server.eio.sockets == {}


async def test_two_polls_at_once_end_the_session(edge: RunningEdge):
    """Source: Engine.IO protocol, one GET at a time; the first hears CLOSE."""
    url, _ = await open_polling_session(edge)
    first = asyncio.ensure_future(edge.http.get(url))
    [connection] = edge.server.eio.sockets.values()
    await Until().true(lambda: connection.send_buffer.is_polled)
    async with edge.http.get(url) as second:
        assert second.status == 400
    assert await (await first).text() == "1"


async def test_an_unfinished_probe_keeps_the_polling_session(edge: RunningEdge):
    """A proxy that cuts WebSockets does not cost the session."""
    url, opening = await open_polling_session(edge)
    assert opening["upgrades"] == ["websocket"]
    async with edge.http.ws_connect(url.replace("polling", "websocket")) as ws:
        await ws.send_str("2probe")
        assert (await ws.receive()).data == "3probe"
    async with edge.http.post(url, data='40/rider,{"token":"x"}') as answer:
        assert (answer.status, await answer.text()) == (200, "OK")
    async with edge.http.get(url) as answer:
        assert await answer.text() == '44/rider,{"message":"token_invalid"}'


async def test_a_session_is_upgraded_once(edge: RunningEdge):
    """A second WebSocket with the same sid is turned away."""
    url, _ = await open_polling_session(edge)
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


# Many bad frames.

PACKET_PIECES = [
    "4", "2", "0", "1", "3", "5", "/rider", "/user", ",", "[", "]", "{", "}", '"', ":", "7", "-",
    '"location_update"', '"arrived_pickup"', '"orderId"', '"ord_1"', '"lat"', "1.5", "null",
    "1e999", "\\ud800", "\\", "\x1e", "\x00", "é", "\u0662", "²", "?", "true", '{"lat":1,"lng":2}',
    '42/rider,["location_update",{"lat":1,"lng":2}]', '42/rider,5["arrived_pickup","ord_1"]',
    "99999999999999999999", "[[[[[[[[", '43/rider,1["x"]', "41/rider,", "-1", "NaN", " ",
]  # fmt: skip


async def test_no_frame_raises(edge: RunningEdge):
    """Ten thousand frames from the grammar's pieces, seed 11: understood or ended, no more."""
    draw = random.Random(11)
    heard = 0
    join = f'40/rider,{{"token":"{edge.issue_token()}"}}'
    with capture_logs() as logs:
        for _ in range(1000):
            connection = edge.server.eio.open_session("127.0.0.1", "websocket")
            connection.receive(join)
            frames = (
                "4" + "".join(draw.choices(PACKET_PIECES, k=draw.randint(0, 9))) for _ in range(10)
            )
            heard += sum(connection.receive(frame) for frame in frames)
            connection.end("client_closed")
            # The commands among them have their turn, and an identity may join again.
            await asyncio.sleep(0)
            edge.clock.advance(1_000)
    assert [entry for entry in logs if entry["log_level"] != "info"] == []
    assert 0 < heard < 5000
    assert len(edge.sessions) == 0
    assert edge.server.eio.sockets == {}
