"""Pings, goodbyes and ends of a WebSocket, on a transport that only notes, and on a real one."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from aiohttp import WSMsgType

from handlers.sessions.rate_limits import VIOLATIONS_MAX
from handlers.transport.engineio_session import EngineIoSession
from handlers.transport.frame_reader import (
    FRAMES_PER_TICK,
    INVALID_PAYLOAD,
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    UNSUPPORTED_DATA,
)
from handlers.transport.read_batch import ReadBatch
from handlers.transport.websocket import WebSocket
from tests.handlers.masked import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from tests.handlers.socket_edge import WS_PATH, RawClient, RunningEdge, run_edge
from tests.waiting import Until


class FakeTransport:
    """What a transport was asked to do."""

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
    """A WebSocket of at most 100 bytes a message, and all that it told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.end_reasons: list[str] = []
        self.transport: Any = FakeTransport()
        self.ws = WebSocket(100, ReadBatch())
        self.ws.on_text = self.texts.append
        self.ws.on_end = self.end_reasons.append
        self.ws.connection_made(self.transport)


def close_frame(code: int) -> bytes:
    return b"\x88\x02" + code.to_bytes(2, "big")


def test_a_ping_is_answered_with_its_payload():
    """Proxies keep connections alive that way; a pong that nobody asked for is no offence."""
    case = Case()
    case.ws.consume(frame(b"hello", PING) + frame(b"", PONG) + frame(b"text"))
    assert case.transport.written == b"\x8a\x05hello"
    assert case.texts == ["text"]


def test_a_client_that_does_not_read_gets_no_pongs():
    """They would pile up for him without bound."""
    case = Case()
    case.ws.pause_writing()
    case.ws.consume(frame(b"hello", PING) * 10)
    assert case.transport.written == b""
    case.ws.resume_writing()
    case.ws.consume(frame(b"", PING))
    assert case.transport.written == b"\x8a\x00"


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 4999])
async def test_a_close_is_answered_with_its_code(code: int):
    """Then the connection is closed, and nothing behind it is heard. Source: RFC 6455 5.5.1."""
    case = Case()
    case.ws.consume(frame(code.to_bytes(2, "big") + b"why", CLOSE) + frame(b"more"))
    assert case.transport.written == close_frame(code)
    assert (case.transport.closed, case.end_reasons, case.texts) == (1, ["transport_closed"], [])


async def test_a_close_without_a_code_is_normal_closure():
    """No code is answered with the plainest."""
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
    """Codes that must not be sent, half a code, and a reason that is no text."""
    case = Case()
    case.ws.consume(frame(payload, CLOSE))
    assert (case.transport.written, case.end_reasons) == (close_frame(code), ["malformed"])


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (frame(b"\x00", BINARY), UNSUPPORTED_DATA, "binary"),
        (frame(b"x" * 101), MESSAGE_TOO_BIG, "oversized"),
        (frame(b"\xff"), INVALID_PAYLOAD, "malformed"),
        (b"\x81\x00", PROTOCOL_ERROR, "malformed"),
    ],
)
async def test_a_violation_is_answered_with_its_code_and_ends_the_connection(
    data: bytes, code: int, reason: str
):
    """Once, with the code of the standard and a reason of ours; what follows is not read."""
    case = Case()
    case.ws.consume(frame(b"before") + data + frame(b"after"))
    case.ws.consume(frame(b"\x00", BINARY))
    case.ws.connection_lost(None)
    assert case.transport.written == close_frame(code)
    assert (case.transport.closed, case.end_reasons, case.texts) == (1, [reason], ["before"])


async def test_our_close_waits_for_the_clients():
    """Nothing he says meanwhile counts; his goodbye closes, and is not answered again."""
    case = Case()
    case.ws.close(60)
    case.ws.consume(frame(b"late") + frame(b"", PING))
    assert (case.transport.closed, case.texts) == (0, [])
    case.ws.consume(frame(b"\x03\xe8", CLOSE))
    assert case.transport.written == close_frame(1000) + b"\x8a\x00"
    assert case.transport.closed == 1
    case.ws.connection_lost(None)


async def test_a_client_that_does_not_close_is_aborted():
    """Our patience has an end."""
    case = Case()
    case.ws.close(0.01)
    await Until().true(lambda: case.transport.aborted == 1)
    assert case.transport.written == close_frame(1000)


async def test_a_client_that_closes_and_does_not_read_is_aborted(monkeypatch: pytest.MonkeyPatch):
    """He had asked for more than the buffers hold and said goodbye: the connection stayed his."""
    monkeypatch.setattr("handlers.transport.websocket.LINGER_S", 0.01)
    for said in (frame(b"", CLOSE), frame(b"\xff"), frame(b"x" * 101)):
        case = Case()
        case.ws.pause_writing()
        case.ws.consume(said)
        assert case.transport.aborted == 0
        await Until().true(lambda wire=case.transport: wire.aborted == 1)


async def test_a_client_that_sends_thousands_of_frames_yields_to_others():
    """A read of a quarter of a megabyte held everybody up for a tenth of a second, per offender."""
    case, others = Case(), []
    case.ws.consume(frame(b"text") * (3 * FRAMES_PER_TICK))
    assert len(case.texts) == FRAMES_PER_TICK
    asyncio.get_running_loop().call_soon(lambda: others.append(len(case.texts)))
    await Until().true(lambda: len(case.texts) == 3 * FRAMES_PER_TICK)
    assert others == [2 * FRAMES_PER_TICK]
    assert case.transport.reading_calls == ["pause", "resume"] * 2


async def test_a_deferred_client_may_disconnect():
    """His turn comes, and there is nobody."""
    case = Case()
    case.ws.consume(frame(b"text") * (2 * FRAMES_PER_TICK))
    case.ws.connection_lost(None)
    await asyncio.sleep(0)
    assert (len(case.texts), case.end_reasons) == (FRAMES_PER_TICK, ["transport_closed"])


@pytest.mark.parametrize("odd", [frame(b"", PING), frame(b"", PONG), frame(b"", TEXT, fin=False)])
async def test_overhead_frames_are_counted(odd: bytes):
    """A text in one piece is none of them; a part of one, a ping and a pong are."""
    case, counted = Case(), []
    case.ws.on_overhead_frame = lambda: counted.append(1)
    case.ws.consume(frame(b"text") * 3 + odd)
    assert counted == [1]


async def test_a_flood_of_pings_or_fragments_is_cut():
    """They cost no bucket, and went on for ever; one proxy's ping in twenty seconds goes on."""
    async with run_edge() as house:
        for odd in (frame(b"", PING), frame(b"", CONTINUATION, fin=False)):
            async with house.connect_rider() as raw:
                raw.ws._writer.transport.write(
                    frame(b"", TEXT, fin=False) + odd * (VIOLATIONS_MAX + 10)
                )
                assert await wait_closed(raw) == "closed"
        await Until().true(lambda: len(house.desk.left) == 2)


async def wait_closed(raw: RawClient) -> str:
    """What comes last, behind pongs that the library keeps to itself."""
    said = await raw.next_packet()
    while said != "closed":
        said = await raw.next_packet()
    return said


async def test_waiters_resume_when_the_connection_is_lost():
    """A writer hears an error, one who waits for the end hears nothing."""
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
    case.ws.write_short_frame(TEXT, b"to nobody")
    assert case.transport.written == b""


async def test_a_writer_resumes_when_the_client_reads():
    """Whoever need not wait does not."""
    case = Case()
    await case.ws.drain()
    case.ws.pause_writing()
    writer = asyncio.create_task(case.ws.drain())
    await asyncio.sleep(0)
    assert not writer.done()
    case.ws.resume_writing()
    await writer


async def test_an_independent_client_agrees():
    """Ping, a message in two parts, and the goodbye, with an independent client."""
    async with (
        run_edge() as house,
        house.http.ws_connect(house.url + WS_PATH, autoping=False) as ws,
    ):
        await ws.receive()
        await ws.ping(b"hello")
        answer = await ws.receive()
        assert (answer.type, answer.data) == (WSMsgType.PONG, b"hello")
        assert await ws.close(code=1001)
        assert ws.close_code == 1001


async def open_and_end_session(house: RunningEdge) -> "weakref.ref[EngineIoSession]":
    async with house.connect_rider() as raw:
        await raw.send_command("arrived_pickup", "ord_1")
        [connection] = house.server.eio.sockets.values()
        return weakref.ref(connection)


async def test_an_ended_connection_is_freed_without_the_collector():
    """Under the server's thresholds the collector comes rarely; ten thousand phones come often."""
    async with run_edge() as house:
        gc.collect()
        gc.disable()
        try:
            remains = await open_and_end_session(house)
            await Until().true(lambda: len(house.desk.left) == 1)
            house.desk.left.clear()
            await Until().true(lambda: remains() is None)
        finally:
            gc.enable()


def test_a_bug_in_a_handler_aborts_the_connection():
    """It may have been stopped within them; what follows could be read as something else."""
    case = Case()
    case.ws.on_text = [].__getitem__
    with pytest.raises(TypeError):
        case.ws.consume(frame(b"text"))
    assert case.transport.aborted == 1
