"""Which new connections become WebSockets directly, and how many in one event-loop tick."""

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
from tests.handlers.socket_edge import RunningEdge, run_edge, upgrade_request_bytes
from tests.waiting import Until

REQUEST_LINE = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
UPGRADE_REQUEST = upgrade_request_bytes()
HEADERS = UPGRADE_REQUEST.removeprefix(REQUEST_LINE).removesuffix(b"\r\n")


class FakeTransport:
    """A transport that records what the accept queue does to it."""

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
    """The HTTP server's protocol, which records its input."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport_made = transport

    def data_received(self, data: bytes) -> None:
        self.received += data


class FakeOpener:
    """Opens WebSockets, or refuses them, or fails."""

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
    """An accept queue with its opener, and the protocols that the HTTP server has made."""

    def __init__(self) -> None:
        self.opener = FakeOpener()
        self.http_protocols: list[HttpProtocol] = []
        self.queue = AcceptQueue(cast("Any", self.opener), self._http_factory)

    def _http_factory(self) -> HttpProtocol:
        self.http_protocols.append(HttpProtocol())
        return self.http_protocols[-1]

    def connect(self, data: bytes = UPGRADE_REQUEST) -> tuple[FakeTransport, PendingConnection]:
        transport, connection = FakeTransport(), self.queue()
        connection.connection_made(cast("Any", transport))
        connection.data_received(data)
        return transport, connection


async def next_tick() -> None:
    await asyncio.sleep(0)


async def test_a_websocket_is_opened_from_its_first_bytes():
    """Input behind the request is passed on with it, and nothing is read until then."""
    case = Case()
    transport, _ = case.connect(UPGRADE_REQUEST + b"behind")
    assert not transport.is_reading
    await next_tick()
    assert case.opener.opened == [(transport, "x", b"behind")]
    assert transport.is_reading
    assert (case.http_protocols, case.queue.pending) == ([], set())


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
    """The HTTP server gets them with their first byte, on a connection that is being read."""
    case = Case()
    transport, _ = case.connect(data)
    await next_tick()
    [protocol] = case.http_protocols
    assert (protocol.received, protocol.transport_made) == (data, transport)
    assert transport.protocol is protocol
    assert case.opener.opened == []
    assert transport.is_reading


async def test_a_refused_websocket_goes_to_the_http_server():
    """The HTTP server sends the reason."""
    case = Case()
    case.opener.is_accepting = False
    case.connect()
    await next_tick()
    assert [each.received for each in case.http_protocols] == [UPGRADE_REQUEST]


async def test_upgrades_per_tick_are_bounded():
    """Many new connections are opened over several ticks, `UPGRADES_PER_TICK` in each."""
    case = Case()
    for _ in range(2 * UPGRADES_PER_TICK + 1):
        case.connect()
    opened = []
    for _ in range(4):
        await next_tick()
        opened.append(len(case.opener.opened))
    assert opened == [
        UPGRADES_PER_TICK,
        2 * UPGRADES_PER_TICK,
        2 * UPGRADES_PER_TICK + 1,
        2 * UPGRADES_PER_TICK + 1,
    ]


async def test_a_lost_connection_is_skipped():
    """A connection lost or closing before its turn is neither opened nor handed on."""
    case = Case()
    _, gone = case.connect()
    closing, _ = case.connect()
    here, _ = case.connect()
    gone.connection_lost(None)
    closing.abort()
    await next_tick()
    assert [transport for transport, _, _ in case.opener.opened] == [here]
    assert case.http_protocols == []


async def test_a_failing_upgrade_does_not_stop_the_others():
    """The event loop reports the error, its connection is aborted, the next one is opened."""
    case, reported = Case(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    case.opener.failing_transport = cut = case.connect()[0]
    here, _ = case.connect()
    await next_tick()
    await next_tick()
    asyncio.get_running_loop().set_exception_handler(None)
    assert [transport for transport, _, _ in case.opener.opened] == [here]
    assert (cut.is_aborted, here.is_aborted) == (True, False)
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]


async def test_a_connection_without_bytes_waits_until_close():
    """`close` aborts it."""
    case = Case()
    transport = FakeTransport()
    case.queue().connection_made(cast("Any", transport))
    await next_tick()
    assert len(case.queue.pending) == 1
    case.queue.close()
    assert transport.is_aborted


async def status_line(edge: RunningEdge, request: bytes) -> bytes:
    reader, writer = await edge.open_tcp(request)
    line = await reader.readuntil(b"\r\n")
    writer.close()
    return line


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
    """The accept queue and the HTTP server give the same status line."""
    async with run_edge() as edge:
        # An additional parameter leaves the request to the HTTP server.
        http_request_line = REQUEST_LINE.replace(b"websocket ", b"websocket&t=1 ")
        lines = [
            await status_line(edge, request_line + HEADERS + request_tail)
            for request_line in (REQUEST_LINE, http_request_line)
        ]
        assert lines[0] == lines[1]
        assert lines[0].split()[1] == status


async def test_a_websocket_bypasses_the_http_server():
    """A session opens over an accept queue whose HTTP server would fail."""

    def fail() -> BaseProtocol:
        raise AssertionError("the HTTP server is asked for a protocol")

    async with run_edge() as edge:
        queue = AcceptQueue(edge.server.eio, fail)
        listener = await asyncio.get_running_loop().create_server(queue, "127.0.0.1", 0)
        connect = f'40/rider,{{"token":"{edge.issue_token()}"}}'.encode()
        address = listener.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(UPGRADE_REQUEST + frame(connect))
        await Until().true(lambda: len(edge.sessions) == 1)
        assert [session.identity for session in edge.sessions] == ["rider:rdr_1"]
        writer.close()
        await reader.read()
        await Until().true(lambda: len(edge.sessions) == 0)
        listener.close()
