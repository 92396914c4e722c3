"""Pings, closing handshakes and ends of a WebSocket, on a fake transport and on TCP."""

import asyncio
import gc
import json
import weakref
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import WSMsgType

from handlers.sessions.rate_limits import VIOLATIONS_MAX
from handlers.transport.engineio_session import EngineIoSession
from handlers.websocket.frame_reader import FRAMES_PER_TICK
from handlers.websocket.read_batch import ReadBatch
from handlers.websocket.rfc6455 import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    INVALID_PAYLOAD,
    MESSAGE_TOO_BIG,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    UNSUPPORTED_DATA,
)
from handlers.websocket.websocket import LINGER_S, WebSocket
from tests.handlers.masked_frames import frame
from tests.handlers.socket_edge import WS_PATH, RunningEdge, run_edge, upgrade_request_bytes
from tests.waiting import Until


class FakeTransport:
    """A transport that records its calls."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = 0
        self.aborted = 0
        self.reading_calls: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading_calls.append("pause")

    def resume_reading(self) -> None:
        self.reading_calls.append("resume")

    def is_closing(self) -> bool:
        return bool(self.closed or self.aborted)

    def close(self) -> None:
        self.closed += 1

    def abort(self) -> None:
        self.aborted += 1


class Case:
    """A WebSocket with messages of at most 100 bytes, its texts and the reasons of its end."""

    def __init__(self, linger_s: float = LINGER_S) -> None:
        self.texts: list[str] = []
        self.end_reasons: list[str] = []
        self.transport: Any = FakeTransport()
        self.ws = WebSocket(100, ReadBatch(), linger_s)
        self.ws.on_text = self.texts.append
        self.ws.on_end = self.end_reasons.append
        self.ws.connection_made(self.transport)


def read_close(written: bytes) -> tuple[int, str]:
    """Code and text of the close frame that is all that was written."""
    assert written[:2] == bytes((FIN | CLOSE, len(written) - 2))
    return int.from_bytes(written[2:4], "big"), written[4:].decode()


def close_frame(code: int) -> bytes:
    return bytes((FIN | CLOSE, 2)) + code.to_bytes(2, "big")


def test_a_ping_is_answered_with_its_payload():
    """An unsolicited pong is allowed, and texts around control frames are read."""
    case = Case()
    case.ws.consume(frame(b"hello", PING) + frame(b"", PONG) + frame(b"text"))
    assert case.transport.written == b"\x8a\x05hello"
    assert case.texts == ["text"]


def test_a_client_that_does_not_read_gets_no_pongs():
    """Pongs would pile up without bound; after it reads again pings are answered."""
    case = Case()
    case.ws.pause_writing()
    case.ws.consume(frame(b"hello", PING) * 10)
    assert case.transport.written == b""
    case.ws.resume_writing()
    case.ws.consume(frame(b"", PING))
    assert case.transport.written == b"\x8a\x00"


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 4999])
async def test_a_close_is_answered_with_its_code(code: int):
    """The connection is closed then, and later frames are ignored. Source: RFC 6455 5.5.1."""
    case = Case()
    case.ws.consume(frame(code.to_bytes(2, "big") + b"why", CLOSE) + frame(b"more"))
    assert case.transport.written == close_frame(code)
    assert (case.transport.closed, case.end_reasons, case.texts) == (1, ["transport_closed"], [])


async def test_a_close_without_a_code_is_normal_closure():
    """The answer to a close frame without a code is 1000."""
    case = Case()
    case.ws.consume(frame(b"", CLOSE))
    assert case.transport.written == close_frame(1000)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", PROTOCOL_ERROR),
        (b"\x03\xe7", PROTOCOL_ERROR),
        (b"\x03\xec", PROTOCOL_ERROR),
        (b"\x03\xed", PROTOCOL_ERROR),
        (b"\x03\xee", PROTOCOL_ERROR),
        (b"\x03\xf7", PROTOCOL_ERROR),
        (b"\x07\xd0", PROTOCOL_ERROR),
        (b"\x13\x88", PROTOCOL_ERROR),
        (b"\x03\xe8\xff", INVALID_PAYLOAD),
    ],
)
async def test_an_invalid_close_is_a_violation(payload: bytes, code: int):
    """Codes that must not be sent, an incomplete code, and a reason that is not UTF-8."""
    case = Case()
    case.ws.consume(frame(payload, CLOSE))
    assert (read_close(case.transport.written)[0], case.end_reasons) == (code, ["malformed"])


@pytest.mark.parametrize(
    ("data", "code", "reason", "text"),
    [
        (
            frame(b"\x00", BINARY),
            UNSUPPORTED_DATA,
            "binary",
            "binary frames are not supported; send JSON as text",
        ),
        (frame(b"x" * 101), MESSAGE_TOO_BIG, "oversized", "a message is too long"),
        (frame(b"\xff"), INVALID_PAYLOAD, "malformed", "a text is not UTF-8"),
        (b"\x81\x00", PROTOCOL_ERROR, "malformed", "a frame breaks RFC 6455"),
    ],
)
async def test_a_violation_is_answered_with_its_code_and_ends_the_connection(
    data: bytes, code: int, reason: str, text: str
):
    """It is answered once in words, reported once, and later frames are not read."""
    case = Case()
    case.ws.consume(frame(b"before") + data + frame(b"after"))
    case.ws.consume(frame(b"\x00", BINARY))
    case.ws.connection_lost(None)
    assert read_close(case.transport.written) == (code, text)
    assert (case.transport.closed, case.end_reasons, case.texts) == (1, [reason], ["before"])


async def test_our_close_waits_for_the_clients():
    """Texts are ignored meanwhile; the client's close frame closes, and is not answered again."""
    case = Case()
    case.ws.close(60)
    case.ws.consume(frame(b"late") + frame(b"", PING))
    assert (case.transport.closed, case.texts) == (0, [])
    case.ws.consume(frame(b"\x03\xe8", CLOSE))
    assert case.transport.written == close_frame(1000) + b"\x8a\x00"
    assert case.transport.closed == 1
    case.ws.connection_lost(None)


async def test_a_client_that_does_not_close_is_aborted():
    """The connection is aborted after the timeout of the closing handshake."""
    case = Case()
    case.ws.close(0.01)
    await Until().true(lambda: case.transport.aborted == 1)
    assert case.transport.written == close_frame(1000)


@pytest.mark.parametrize("last", [frame(b"", CLOSE), frame(b"\xff"), frame(b"x" * 101)])
async def test_a_client_that_closes_and_does_not_read_is_aborted(last: bytes):
    """Unread output does not keep a connection open that has ended, by close or violation."""
    case = Case(linger_s=0.01)
    case.ws.pause_writing()
    case.ws.consume(last)
    assert case.transport.aborted == 0
    await Until().true(lambda: case.transport.aborted == 1)


async def test_a_client_that_sends_thousands_of_frames_yields_to_others():
    """Each tick handles `FRAMES_PER_TICK` frames; other callbacks run in between.

    Source: measured, one read of 256 KiB delayed all other clients by 0.1 s.
    """
    case, seen_by_others = Case(), []
    case.ws.consume(frame(b"text") * (3 * FRAMES_PER_TICK))
    assert len(case.texts) == FRAMES_PER_TICK
    asyncio.get_running_loop().call_soon(lambda: seen_by_others.append(len(case.texts)))
    await Until().true(lambda: len(case.texts) == 3 * FRAMES_PER_TICK)
    assert seen_by_others == [2 * FRAMES_PER_TICK]
    assert case.transport.reading_calls == ["pause", "resume"] * 2


async def test_a_deferred_client_may_disconnect():
    """Its remaining frames are not handled, and the end is reported once."""
    case = Case()
    case.ws.consume(frame(b"text") * (2 * FRAMES_PER_TICK))
    case.ws.connection_lost(None)
    await asyncio.sleep(0)
    assert (len(case.texts), case.end_reasons) == (FRAMES_PER_TICK, ["transport_closed"])


@pytest.mark.parametrize(
    "overhead", [frame(b"", PING), frame(b"", PONG), frame(b"", TEXT, fin=False)]
)
async def test_overhead_frames_are_counted(overhead: bytes):
    """Pings, pongs and fragments are counted, unfragmented texts are not."""
    case, counted = Case(), []
    case.ws.on_overhead_frame = lambda: counted.append(1)
    case.ws.consume(frame(b"text") * 3 + overhead)
    assert counted == [1]


@pytest.mark.parametrize("overhead", [frame(b"", PING), frame(b"", CONTINUATION, fin=False)])
async def test_a_flood_of_pings_or_fragments_is_cut(overhead: bytes):
    """They take from the connection's violation budget, and an empty budget ends it."""
    async with run_edge() as edge:
        connect = f"40/rider,{json.dumps({'token': edge.issue_token()})}".encode()
        flood = frame(b"", TEXT, fin=False) + overhead * (VIOLATIONS_MAX + 10)
        reader, writer = await edge.open_tcp(upgrade_request_bytes() + frame(connect))
        await Until().true(lambda: len(edge.sessions) == 1)
        writer.write(flood)
        with suppress(ConnectionError):
            await reader.read()
        await Until().true(lambda: len(edge.context.left) == 1)
        writer.close()


async def test_waiters_resume_when_the_connection_is_lost():
    """`drain` raises ConnectionError, `wait_closed` returns, and later writes are dropped."""
    case = Case()
    case.ws.pause_writing()
    writer, waiter = (
        asyncio.create_task(case.ws.drain()),
        asyncio.create_task(case.ws.wait_closed()),
    )
    await asyncio.sleep(0)
    case.ws.connection_lost(ConnectionResetError())
    with pytest.raises(ConnectionError):
        await writer
    await waiter
    assert case.end_reasons == ["transport_closed"]
    with pytest.raises(ConnectionError):
        await case.ws.drain()
    await case.ws.wait_closed()
    case.ws.write_short_frame(TEXT, b"late")
    assert case.transport.written == b""


async def test_a_writer_resumes_when_the_client_reads():
    """`drain` returns at once while the client reads, and when it reads again."""
    case = Case()
    await case.ws.drain()
    case.ws.pause_writing()
    writer = asyncio.create_task(case.ws.drain())
    await asyncio.sleep(0)
    assert not writer.done()
    case.ws.resume_writing()
    await writer


async def test_an_independent_client_agrees():
    """Ping and closing handshake with an independent client."""
    async with (
        run_edge() as edge,
        edge.http.ws_connect(edge.url + WS_PATH, autoping=False) as ws,
    ):
        await ws.receive()
        await ws.ping(b"hello")
        pong = await ws.receive()
        assert (pong.type, pong.data) == (WSMsgType.PONG, b"hello")
        assert await ws.close(code=1001)
        assert ws.close_code == 1001


async def open_and_end_session(edge: RunningEdge) -> "weakref.ref[EngineIoSession]":
    async with edge.connect_rider() as raw:
        await raw.send_command("arrived_pickup", "ord_1")
        [connection] = edge.server.eio.sockets.values()
        return weakref.ref(connection)


async def test_an_ended_connection_is_freed_without_the_collector():
    """Sessions leave no reference cycles: the server's thresholds make collections rare."""
    async with run_edge() as edge:
        gc.collect()
        gc.disable()
        try:
            connection = await open_and_end_session(edge)
            await Until().true(lambda: len(edge.context.left) == 1)
            edge.context.left.clear()
            await Until().true(lambda: connection() is None)
        finally:
            gc.enable()


def test_a_bug_in_a_handler_aborts_the_connection():
    """The position in the stream is lost, so that the rest must not be read."""
    case = Case()
    case.ws.on_text = [].__getitem__
    with pytest.raises(TypeError):
        case.ws.consume(frame(b"text"))
    assert case.transport.aborted == 1
