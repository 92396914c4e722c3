"""Which new connections become WebSockets at once, and how many in one turn of the loop."""

import asyncio
from typing import Any, cast

import pytest
from aiohttp.base_protocol import BaseProtocol

from handlers.transport.accept_queue import (
    UPGRADES_PER_TICK,
    AcceptQueue,
    Headers,
    PendingConnection,
)
from tests.handlers.masked_frames import frame
from tests.handlers.socket_edge import RunningEdge, run_edge
from tests.waiting import Until

REQUEST_LINE = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
HEADERS = (
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
UPGRADE_REQUEST = REQUEST_LINE + HEADERS + b"\r\n"


class FakeTransport:
    """A transport, as far as a newcomer needs one."""

    def __init__(self) -> None:
        self.protocol: object = None
        self.is_reading = True
        self.is_aborted = False

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol


class HttpProtocol(BaseProtocol):
    """Stands where the framework would."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = transport

    def data_received(self, data: bytes) -> None:
        self.received += data


class FakeOpener:
    """A door that lets in whom it likes."""

    def __init__(self) -> None:
        self.is_accepting = True
        self.opened: list[tuple[object, str, bytes]] = []
        self.failing_transport: object = None

    def open_websocket(self, transport: object, headers: Headers, tail: bytes) -> bool:
        if transport is self.failing_transport:
            raise ZeroDivisionError
        if self.is_accepting:
            self.opened.append((transport, headers["host"], tail))
        return self.is_accepting


class Case:
    """A porch before a door, and everybody whom the framework got."""

    def __init__(self) -> None:
        self.opener = FakeOpener()
        self.http_protocols: list[HttpProtocol] = []
        self.queue = AcceptQueue(cast("Any", self.opener), self._http_factory)

    def _http_factory(self) -> HttpProtocol:
        self.http_protocols.append(HttpProtocol())
        return self.http_protocols[-1]

    def connect(self, data: bytes = UPGRADE_REQUEST) -> tuple[FakeTransport, PendingConnection]:
        wire, newcomer = FakeTransport(), self.queue()
        newcomer.connection_made(cast("Any", wire))
        newcomer.data_received(data)
        return wire, newcomer


async def next_tick() -> None:
    await asyncio.sleep(0)


async def test_a_websocket_is_opened_from_its_first_bytes():
    """What stands behind the request is handed on with it."""
    yard = Case()
    wire, _ = yard.connect(UPGRADE_REQUEST + b"behind")
    assert not wire.is_reading
    await next_tick()
    assert yard.opener.opened == [(wire, "x", b"behind")]
    assert wire.is_reading
    assert (yard.http_protocols, yard.queue.pending) == ([], set())


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST" + UPGRADE_REQUEST[3:],
        UPGRADE_REQUEST[:-2],
        REQUEST_LINE,
        REQUEST_LINE + b"Host: x\r\n\r\n",
        REQUEST_LINE.replace(b"websocket ", b"websocket&sid=abc ") + HEADERS + b"\r\n",
        REQUEST_LINE.replace(b"=4", b"=3") + HEADERS + b"\r\n",
        REQUEST_LINE + b"A b: c\r\n" + HEADERS + b"\r\n",
        REQUEST_LINE + b"A: " + b"a" * 9_000 + b"\r\n" + HEADERS + b"\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
async def test_other_requests_go_to_the_http_server(data: bytes):
    """From its first byte on, as if nobody had stood in between."""
    yard = Case()
    wire, _ = yard.connect(data)
    await next_tick()
    [inside] = yard.http_protocols
    assert (inside.received, inside.wire, wire.protocol) == (data, wire, inside)
    assert yard.opener.opened == []
    assert wire.is_reading


async def test_a_refused_websocket_goes_to_the_http_server():
    """It also says why he is refused."""
    yard = Case()
    yard.opener.is_accepting = False
    yard.connect()
    await next_tick()
    assert [each.received for each in yard.http_protocols] == [UPGRADE_REQUEST]


async def test_upgrades_per_tick_are_bounded():
    """A rush of newcomers leaves every turn of the loop to those who are in."""
    yard = Case()
    for _ in range(2 * UPGRADES_PER_TICK + 1):
        yard.connect()
    told = []
    for _ in range(4):
        await next_tick()
        told.append(len(yard.opener.opened))
    assert told == [
        UPGRADES_PER_TICK,
        2 * UPGRADES_PER_TICK,
        2 * UPGRADES_PER_TICK + 1,
        2 * UPGRADES_PER_TICK + 1,
    ]


async def test_a_lost_connection_is_skipped():
    """Before his turn came; he is nobody's."""
    yard = Case()
    _, gone = yard.connect()
    closing, _ = yard.connect()
    here, _ = yard.connect()
    gone.connection_lost(None)
    closing.abort()
    await next_tick()
    assert [wire for wire, _, _ in yard.opener.opened] == [here]
    assert yard.http_protocols == []


async def test_a_failing_upgrade_does_not_stop_the_others():
    """A bug in one opening is told to the loop; it is cut, and the line moves on."""
    yard, grief = Case(), []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: grief.append(told))
    yard.opener.failing_transport = cut = yard.connect()[0]
    here, _ = yard.connect()
    await next_tick()
    await next_tick()
    asyncio.get_running_loop().set_exception_handler(None)
    assert [wire for wire, _, _ in yard.opener.opened] == [here]
    assert (cut.is_aborted, here.is_aborted) == (True, False)
    assert [type(each["exception"]) for each in grief] == [ZeroDivisionError]


async def test_a_connection_without_bytes_waits_until_close():
    """Nobody stays when the server goes."""
    yard = Case()
    wire = FakeTransport()
    yard.queue().connection_made(cast("Any", wire))
    await next_tick()
    assert len(yard.queue.pending) == 1
    yard.queue.close()
    assert wire.is_aborted


async def status_line(house: RunningEdge, request_tail: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*house.url[7:].split(":"))
    writer.write(REQUEST_LINE + HEADERS + request_tail)
    head = await reader.readuntil(b"\r\n")
    writer.close()
    return head


@pytest.mark.parametrize(
    ("request_tail", "status"),
    [
        (b"\r\n", b"101"),
        (b"Origin: https://elsewhere.example\r\n\r\n", b"400"),
        (b"Content-Length: 2\r\n\r\nab", b"101"),
        (b"Sec-WebSocket-Protocol: x\r\n\r\n", b"101"),
    ],
)
async def test_both_upgrade_paths_answer_alike(request_tail: bytes, status: bytes):
    """A client cannot tell who has answered it."""
    async with run_edge() as house:
        quick = await status_line(house, request_tail)
        house.accept_queue._opener = None
        assert (quick, await status_line(house, request_tail)) == (quick, quick)
        assert quick.split()[1] == status


async def test_a_websocket_bypasses_the_http_server():
    """It is not asked at all."""
    async with run_edge() as house:
        house.accept_queue._http_factory = cast("Any", None)
        connect = f'40/rider,{{"token":"{house.issue_token()}"}}'.encode()
        reader, writer = await asyncio.open_connection(*house.url[7:].split(":"))
        writer.write(UPGRADE_REQUEST + frame(connect))
        await Until().true(lambda: len(house.sessions) == 1)
        assert [session.identity for session in house.sessions] == ["rider:rdr_1"]
        assert not house.http_server.connections
        writer.close()
        await reader.read()
        await Until().true(lambda: len(house.sessions) == 0)
