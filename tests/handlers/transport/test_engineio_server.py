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
from handlers.sessions.session_registry import PER_IDENTITY_MAX
from handlers.transport.engineio_server import CONNECTS_MAX
from handlers.transport.engineio_session import Timings
from tests.handlers.socket_edge import WS, House, Raw, edge
from tests.waiting import Until

SOON = 0.05


@pytest_asyncio.fixture(loop_scope="session")
async def house() -> AsyncIterator[House]:
    async with edge() as house:
        yield house


# The handshake.


async def test_the_handshake_says_how_often_and_how_much(house: House):
    """The client learns the ping's rhythm and the longest frame; nothing is left to upgrade."""
    async with house.raw() as raw:
        rhythm = {"pingInterval": 10_000, "pingTimeout": 10_000, "maxPayload": 16 * 1024}
        assert raw.opening == {"sid": raw.opening["sid"], "upgrades": [], **rhythm}


async def test_frames_are_never_compressed(house: House):
    """A compressor would cost a hundred kilobytes a socket; it is declined (hole 4)."""
    async with house.http.ws_connect(house.url + WS, compress=15) as ws:
        assert ws.compress == 0


async def test_the_true_address_of_a_client_is_known(house: House):
    """The stock driver says 127.0.0.1 for everyone (hole 10)."""
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.7", 0))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(house.url + WS),
        http.get(house.url + POLL),
    ):
        addresses = [c.address for c in house.server.eio.sockets.values()]
    assert addresses == ["127.0.0.7", "127.0.0.7"]


POLL = "/socket.io/?EIO=4&transport=polling"


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
async def test_a_strange_handshake_is_a_bad_request(house: House, query: str):
    """Other protocol versions, transports and sessions end before a session begins."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with house.http.get(f"{house.url}/socket.io/?{query}", headers=headers) as answer:
        assert answer.status == 400
    assert house.server.eio.sockets == {}


@pytest.mark.parametrize("path", [WS, POLL])
async def test_a_page_of_another_origin_stays_outside(house: House, path: str):
    """Browsers send their origin; only the server's own pages and the allow-list come in."""
    headers = {"Origin": "https://evil.example", **UPGRADE}
    async with house.http.get(house.url + path, headers=headers) as answer:
        assert answer.status == 400


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


UPGRADE_OF: dict[str, dict[str, str]] = {WS: UPGRADE, POLL: {}}


async def test_pages_of_the_allow_list_come_in():
    """An operator's page on another host is named in the settings."""
    async with edge(allowed_origins=("https://ops.example",)) as house:
        for origin in ("https://ops.example", house.url):
            async with house.raw(Origin=origin) as raw:
                assert "sid" in raw.opening


@pytest.mark.parametrize("path", [WS, POLL])
async def test_an_address_begins_so_many_connections(
    house: House, path: str, monkeypatch: pytest.MonkeyPatch
):
    """The next one is told when to come again; others, and sessions that are open, go on."""
    monkeypatch.setattr(
        "handlers.transport.engineio_server.CONNECTIONS", Rate("connection", 100, 2)
    )
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
    async with aiohttp.ClientSession(connector=connector) as flooding, house.rider() as raw:
        statuses = []
        for _ in range(4):
            async with flooding.get(house.url + path, headers=UPGRADE_OF[path]) as answer:
                statuses.append((answer.status, answer.headers.get("Retry-After")))
        assert (await raw.ask("arrived_pickup", "ord_1"))["ok"] is True
        house.clock.advance(1_000)
        async with flooding.get(house.url + path, headers=UPGRADE_OF[path]) as answer:
            assert answer.status in (101, 200)
    assert [status in (101, 200) for status, _ in statuses] == [True, True, False, False]
    assert statuses[2:] == [(429, "1")] * 2


# Joining a namespace.


async def test_an_identity_joins_so_many_times(house: House, monkeypatch: pytest.MonkeyPatch):
    """Who comes again and again is cut before anything is looked up for him; others come in.

    The official client comes back by itself after that, as it would not after a CONNECT_ERROR.
    """
    monkeypatch.setattr("handlers.sockets.gate.JOINS", Rate("join", 1, 3))
    heard = []
    for _ in range(5):
        async with house.raw() as raw:
            heard.append(await raw.join("/rider", token=house.token()))
    assert [packet[:2] for packet in heard] == ["40"] * 3 + ["cl"] * 2
    await Until().true(lambda: len(house.desk.went) == 3)
    async with house.rider("rdr_2") as raw:
        assert (await raw.ask("arrived_pickup", "ord_1"))["ok"] is True
    house.clock.advance(1_000)
    async with house.rider() as raw:
        assert (await raw.ask("arrived_pickup", "ord_1"))["ok"] is True


async def test_connect_is_answered_before_anything_else_is_told(house: House):
    """An event told while a client is let in arrives after its CONNECT (hole 11)."""
    async with house.raw() as raw:
        packet = await raw.join("/user", token=house.token("USER", "usr_1"))
        assert packet.startswith('40/user,{"sid":"')
        assert await raw.next() == '42/user,["hello",{"you":"usr_1"}]'


async def code_of(raw: Raw, namespace: str, auth: Any) -> Any:
    await raw.say(f"40{namespace},{json.dumps(auth)}")
    packet = await raw.next()
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
async def test_a_client_without_a_good_token_hears_why(house: House, auth: Any, code: str):
    """CONNECT_ERROR carries a message, and nothing else, for every client to read."""
    async with house.raw() as raw:
        assert await code_of(raw, "/rider", auth) == {"message": code}


async def test_an_old_token_is_told_apart(house: House):
    """`token_expired` tells the app to fetch a new one."""
    token = house.token(ttl_s=60)
    house.clock.advance(60_000)
    async with house.raw() as raw:
        assert await code_of(raw, "/rider", {"token": token}) == {"message": "token_expired"}


@pytest.mark.parametrize(
    ("kind", "namespace"),
    [
        (kind, namespace)
        for kind, own in (("USER", "/user"), ("VENDOR", "/vendor"), ("RIDER", "/rider"))
        for namespace in ("/user", "/vendor", "/rider")
        if namespace != own
    ],
)
async def test_nobody_enters_the_namespace_of_others(house: House, kind: UserType, namespace: str):
    """A token opens the namespace of its kind of user and no other."""
    async with house.raw() as raw:
        auth = {"token": house.token(kind, "x_1")}
        assert await code_of(raw, namespace, auth) == {"message": "wrong_user_type"}
        assert len(house.sessions) == 0


@pytest.mark.parametrize("namespace", ["/nowhere", "/ops", "/rider/", "/Rider", "/"])
async def test_an_unknown_namespace_is_named_as_such(house: House, namespace: str):
    """The answer is an object with a message; the root namespace is not served (hole 11)."""
    async with house.raw() as raw:
        await raw.say(f"40{namespace},".replace("/,", "") + json.dumps({"token": house.token()}))
        packet = await raw.next()
        assert packet.endswith('{"message":"unknown_namespace"}')
        assert packet.startswith("44")


async def test_a_namespace_is_joined_once(house: House):
    """The second CONNECT of one connection changes nothing for the first."""
    async with house.rider() as raw:
        auth = {"token": house.token()}
        assert await code_of(raw, "/rider", auth) == {"message": "already_connected"}
        assert (await raw.ask("arrived_pickup", "ord_1"))["ok"] is True


async def test_a_client_may_leave_and_join_again(house: House):
    """DISCONNECT ends the session and keeps the connection."""
    async with house.rider() as raw:
        await raw.say("41/rider,")
        await Until().true(lambda: len(house.sessions) == 0)
        packet = await raw.join("/rider", token=house.token())
        assert packet.startswith('40/rider,{"sid":"')
        assert len(house.sessions) == 1


async def test_a_client_cannot_guess_tokens_for_ever(house: House):
    """One connection has a handful of attempts."""
    async with house.raw() as raw:
        for _ in range(CONNECTS_MAX):
            assert await code_of(raw, "/rider", {"token": "x"}) == {"message": "token_invalid"}
        await raw.say('40/rider,{"token":"x"}')
        assert await raw.next() == "closed"


async def test_the_oldest_of_too_many_sockets_is_told_to_stay_away(house: House):
    """A DISCONNECT goes first, or forgotten tabs would push each other out for ever."""
    async with AsyncExitStack() as stack:
        oldest, *others = [
            await stack.enter_async_context(house.rider()) for _ in range(PER_IDENTITY_MAX + 1)
        ]
        assert await oldest.next() == "41/rider,"
        assert await oldest.next() == "closed"
        assert len(house.sessions.of("rider:rdr_1")) == PER_IDENTITY_MAX
        answers = [await other.ask("arrived_pickup", "ord_1") for other in others]
        assert [answer["ok"] for answer in answers] == [True] * PER_IDENTITY_MAX


# Frames outside of the protocol.

BAD_FRAMES = {
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


@pytest.mark.parametrize("frame", BAD_FRAMES.values(), ids=BAD_FRAMES)
async def test_a_bad_frame_ends_the_connection_at_once(
    house: House, frame: str, caplog: pytest.LogCaptureFixture
):
    """No ghost stays until the ping's timeout, and no traceback is written (holes 7, 9)."""
    with capture_logs() as logs:
        async with house.rider() as raw:
            await raw.say(frame)
            assert await raw.next() == "closed"
        await Until().true(lambda: len(house.sessions) == 0)
    assert house.server.eio.sockets == {}
    assert [entry for entry in logs if entry["log_level"] != "info"] == []
    assert all(len(json.dumps(entry)) <= 200 for entry in logs)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("size", [1, 15_000])
async def test_binary_frames_end_the_connection(house: House, size: int):
    """None are part of the contract, and attachments would fill the memory (hole 8)."""
    async with house.rider() as raw:
        await raw.ws.send_bytes(b"\x00" * size)
        assert await raw.next() == "closed"
    await Until().true(lambda: house.server.eio.sockets == {})


async def test_frames_have_a_bound(house: House):
    """A frame of 16 KiB is read to its end, one byte more is not (hole 8)."""
    head, tail = '42/rider,1["arrived_pickup",{"orderId":"ord_1","x":"', '"}]'
    longest = head + "a" * (16 * 1024 - len(head + tail)) + tail
    async with house.rider() as raw:
        await raw.say(longest)
        answer = await raw.answer()
        assert answer["error"]["message"] == "`x` is not known here"
        await raw.say(longest + " ")
        assert await raw.next() == "closed"
    await Until().true(lambda: house.server.eio.sockets == {})


async def test_complaints_about_bad_frames_are_rare(house: House):
    """A flood of bad clients does not become a flood of lines (hole 9)."""
    with capture_logs() as logs:
        for _ in range(30):
            async with house.raw() as raw:
                await raw.say("x")
                assert await raw.next() == "closed"
    assert 1 <= len(logs) <= 10


# Time.


@pytest.mark.parametrize("first", ["", '40/rider,{"token":"x"}', "40/nowhere,{}"])
async def test_a_connection_that_joins_nothing_is_cut(first: str):
    """Answering pings is not enough to stay (hole 6)."""
    async with edge(Timings(connect_s=SOON, ping_interval_s=SOON / 5)) as house:
        async with house.raw() as raw:
            await raw.say(first or "3")
            while await raw.next() != "closed":
                pass
        assert house.server.eio.sockets == {}


async def test_a_connection_that_has_left_is_cut_too():
    """Joining once is not enough either."""
    async with edge(Timings(connect_s=SOON)) as house, house.rider() as raw:
        await raw.say("41/rider,")
        assert await raw.next() == "closed"


async def test_a_joined_connection_stays():
    """The deadline for joining ends with the first CONNECT."""
    timings = Timings(connect_s=SOON, ping_interval_s=SOON / 2, ping_timeout_s=5)
    async with edge(timings) as house, house.rider() as raw:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SOON * 4):
                await raw.next()
        assert (await raw.ask("arrived_pickup", "ord_1"))["ok"] is True


async def test_who_does_not_answer_pings_is_cut():
    """A dead phone holds no socket longer than interval and timeout."""
    timings = Timings(ping_interval_s=SOON, ping_timeout_s=SOON)
    async with edge(timings) as house, house.rider() as raw:
        assert (await raw.ws.receive()).data == "2"
        assert (await raw.ws.receive()).type is not aiohttp.WSMsgType.TEXT
        await Until().true(lambda: len(house.sessions) == 0)


async def test_a_socket_ends_with_its_token(house: House):
    """The others stay; the client may come back with a new token (no DISCONNECT is sent)."""
    async with house.rider("rdr_2") as other, house.raw() as raw:
        await raw.join("/rider", token=house.token(ttl_s=60))
        house.clock.advance(59_999)
        assert house.sessions.end_expired() == 0
        house.clock.advance(1)
        assert house.sessions.end_expired() == 1
        assert await raw.next() == "closed"
        assert (await other.ask("arrived_pickup", "ord_1"))["ok"] is True


async def test_expiry_is_watched(house: House, monkeypatch: pytest.MonkeyPatch):
    """The loop that is supervised ends expired sockets by itself."""
    monkeypatch.setattr("handlers.sessions.session_registry.EXPIRY_EVERY_S", 0.01)
    async with house.rider() as raw, Until().running(house.sessions.watch_expiry):
        house.clock.advance(3_600_000)
        assert await raw.next() == "closed"


# The end, and long polling.


async def test_a_server_that_stops_ends_every_connection(house: House):
    """Nobody waits for a minute; the clients hear it at once and go elsewhere (hole 12)."""
    async with house.rider() as one, house.rider("rdr_2") as two:
        await house.server.close_all()
        assert [await one.next(), await two.next()] == ["closed", "closed"]
        assert len(house.sessions) == 0
    async with house.http.get(house.url + POLL) as answer:
        assert answer.status == 503


async def test_the_librarys_emit_is_refused(house: House):
    """It would be dropped without a word, for nobody is in the library's rooms."""
    with pytest.raises(NotImplementedError):
        await house.server.emit("hello", {})


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_the_library_client_is_served_over_every_transport(
    house: House, transports: list[str]
):
    """Long polling, WebSocket, and the move from one to the other."""
    client = socketio.AsyncClient(reconnection=False)
    auth = {"token": house.token()}
    await client.connect(house.url, auth=auth, namespaces=["/rider"], transports=transports)
    answer = await client.call("arrived_pickup", {"orderId": "ord_1"}, namespace="/rider")
    assert answer == {"ok": True, "data": {"orderId": "ord_1", "by": "rdr_1"}}
    assert client.transport() == transports[-1]
    await client.disconnect()
    await Until().true(lambda: len(house.sessions) == 0 and not house.server.eio.sockets)


async def poll(house: House) -> tuple[str, dict[str, Any]]:
    async with house.http.get(house.url + POLL) as answer:
        opening = json.loads((await answer.text())[1:])
    return f"{house.url}{POLL}&sid={opening['sid']}", opening


async def test_a_bad_post_ends_a_polling_session(house: House):
    """What holds for frames holds for the bodies of polls."""
    url, _ = await poll(house)
    async with house.http.post(url, data="x") as answer:
        assert answer.status == 400
    async with house.http.get(url) as answer:
        assert answer.status == 400
    assert house.server.eio.sockets == {}


@pytest.mark.parametrize("body", [b"4" * 20_000, b"\xff\xfe", b"40/rider,{}\x1ebAQ=="])
async def test_a_post_has_the_bounds_of_a_frame(house: House, body: bytes):
    """Sixteen kilobytes of text, and nothing binary in it."""
    url, _ = await poll(house)
    async with house.http.post(url, data=body) as answer:
        assert answer.status == 400
    assert house.server.eio.sockets == {}


async def test_two_polls_at_once_end_the_session(house: House):
    """Source: Engine.IO protocol, one GET at a time; the first hears CLOSE."""
    url, _ = await poll(house)
    first = asyncio.ensure_future(house.http.get(url))
    [connection] = house.server.eio.sockets.values()
    await Until().true(lambda: connection.pipe.is_polled)
    async with house.http.get(url) as second:
        assert second.status == 400
    assert await (await first).text() == "1"


async def test_a_probe_without_its_end_leaves_the_polls_alone(house: House):
    """A proxy that cuts WebSockets does not cost the session."""
    url, opening = await poll(house)
    assert opening["upgrades"] == ["websocket"]
    async with house.http.ws_connect(url.replace("polling", "websocket")) as ws:
        await ws.send_str("2probe")
        assert (await ws.receive()).data == "3probe"
    async with house.http.post(url, data='40/rider,{"token":"x"}') as answer:
        assert (answer.status, await answer.text()) == (200, "OK")
    async with house.http.get(url) as answer:
        assert await answer.text() == '44/rider,{"message":"token_invalid"}'


async def test_a_session_is_upgraded_once(house: House):
    """A second WebSocket with the same sid is turned away."""
    url, _ = await poll(house)
    url = url.replace("polling", "websocket")
    async with house.http.ws_connect(url) as ws:
        await ws.send_str("2probe")
        assert (await ws.receive()).data == "3probe"
        await ws.send_str("5")
        [connection] = house.server.eio.sockets.values()
        await Until().true(lambda: connection.upgraded)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await house.http.ws_connect(url)
        await ws.send_str('40/rider,{"token":"x"}')
        assert (await ws.receive()).data == '44/rider,{"message":"token_invalid"}'


# Many bad frames.

GRAMMAR = [
    "4", "2", "0", "1", "3", "5", "/rider", "/user", ",", "[", "]", "{", "}", '"', ":", "7", "-",
    '"location_update"', '"arrived_pickup"', '"orderId"', '"ord_1"', '"lat"', "1.5", "null",
    "1e999", "\\ud800", "\\", "\x1e", "\x00", "é", "\u0662", "²", "?", "true", '{"lat":1,"lng":2}',
    '42/rider,["location_update",{"lat":1,"lng":2}]', '42/rider,5["arrived_pickup","ord_1"]',
    "99999999999999999999", "[[[[[[[[", '43/rider,1["x"]', "41/rider,", "-1", "NaN", " ",
]  # fmt: skip


async def test_no_frame_raises(house: House):
    """Ten thousand frames from the grammar's pieces, seed 11: understood or ended, no more."""
    draw = random.Random(11)
    heard = 0
    join = f'40/rider,{{"token":"{house.token()}"}}'
    with capture_logs() as logs:
        for _ in range(1000):
            connection = house.server.eio.admit("127.0.0.1", "websocket")
            connection.receive(join)
            frames = ("4" + "".join(draw.choices(GRAMMAR, k=draw.randint(0, 9))) for _ in range(10))
            heard += sum(connection.receive(frame) for frame in frames)
            connection.end("client_closed")
            # The commands among them have their turn, and an identity may join again.
            await asyncio.sleep(0)
            house.clock.advance(1_000)
    assert [entry for entry in logs if entry["log_level"] != "info"] == []
    assert 0 < heard < 5000
    assert len(house.sessions) == 0
    assert house.server.eio.sockets == {}
