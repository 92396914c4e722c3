"""Pings, goodbyes and ends of a WebSocket, on a transport that only notes, and on a real one."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from aiohttp import WSMsgType

from handlers.sessions.rate_limits import PATIENCE
from handlers.transport.engineio_session import Connection
from handlers.transport.frame_reader import (
    FRAMES_AT_ONCE,
    NOT_TEXT,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED,
)
from handlers.transport.read_batch import Turn
from handlers.transport.websocket import WebSocket
from tests.handlers.masked import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from tests.handlers.socket_edge import WS, House, Raw, edge
from tests.waiting import Until


class Transport:
    """What a transport was asked to do."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = 0
        self.aborted = 0
        self.turns: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.turns.append("pause")

    def resume_reading(self) -> None:
        self.turns.append("resume")

    def is_closing(self) -> bool:
        return bool(self.closed or self.aborted)

    def close(self) -> None:
        self.closed += 1

    def abort(self) -> None:
        self.aborted += 1


class Case:
    """A WebSocket of at most 100 bytes a message, and all that it told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.ends: list[str] = []
        self.wire: Any = Transport()
        self.ws = WebSocket(100, Turn())
        self.ws.hear = self.heard.append
        self.ws.ended = self.ends.append
        self.ws.connection_made(self.wire)


def goodbye(code: int) -> bytes:
    return b"\x88\x02" + code.to_bytes(2, "big")


def test_a_ping_is_answered_with_its_own_words():
    """Proxies keep connections alive that way; a pong that nobody asked for is no offence."""
    case = Case()
    case.ws.read(frame(b"hello", PING) + frame(b"", PONG) + frame(b"text"))
    assert case.wire.written == b"\x8a\x05hello"
    assert case.heard == ["text"]


def test_one_who_does_not_read_gets_no_pongs():
    """They would pile up for him without bound."""
    case = Case()
    case.ws.pause_writing()
    case.ws.read(frame(b"hello", PING) * 10)
    assert case.wire.written == b""
    case.ws.resume_writing()
    case.ws.read(frame(b"", PING))
    assert case.wire.written == b"\x8a\x00"


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 4999])
async def test_a_goodbye_is_answered_with_its_code(code: int):
    """Then the connection is closed, and nothing behind it is heard. Source: RFC 6455 5.5.1."""
    case = Case()
    case.ws.read(frame(code.to_bytes(2, "big") + b"why", CLOSE) + frame(b"more"))
    assert case.wire.written == goodbye(code)
    assert (case.wire.closed, case.ends, case.heard) == (1, ["transport_closed"], [])


async def test_a_goodbye_need_not_say_why():
    """No code is answered with the plainest."""
    case = Case()
    case.ws.read(frame(b"", CLOSE))
    assert case.wire.written == goodbye(1000)


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
        (b"\x03\xe8\xff", NOT_TEXT),
    ],
)
async def test_a_wrong_goodbye_is_an_offence(payload: bytes, code: int):
    """Codes that must not be sent, half a code, and a reason that is no text."""
    case = Case()
    case.ws.read(frame(payload, CLOSE))
    assert (case.wire.written, case.ends) == (goodbye(code), ["malformed"])


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        (frame(b"\x00", BINARY), UNSUPPORTED, "binary"),
        (frame(b"x" * 101), TOO_BIG, "oversized"),
        (frame(b"\xff"), NOT_TEXT, "malformed"),
        (b"\x81\x00", PROTOCOL_ERROR, "malformed"),
    ],
)
async def test_an_offender_is_told_and_cut(said: bytes, code: int, reason: str):
    """Once, with the code of the standard and a reason of ours; what follows is not read."""
    case = Case()
    case.ws.read(frame(b"before") + said + frame(b"after"))
    case.ws.read(frame(b"\x00", BINARY))
    case.ws.connection_lost(None)
    assert case.wire.written == goodbye(code)
    assert (case.wire.closed, case.ends, case.heard) == (1, [reason], ["before"])


async def test_our_goodbye_waits_for_the_clients():
    """Nothing he says meanwhile counts; his goodbye closes, and is not answered again."""
    case = Case()
    case.ws.close(60)
    case.ws.read(frame(b"late") + frame(b"", PING))
    assert (case.wire.closed, case.heard) == (0, [])
    case.ws.read(frame(b"\x03\xe8", CLOSE))
    assert case.wire.written == goodbye(1000) + b"\x8a\x00"
    assert case.wire.closed == 1
    case.ws.connection_lost(None)


async def test_a_client_without_a_goodbye_is_cut():
    """Our patience has an end."""
    case = Case()
    case.ws.close(0.01)
    await Until().true(lambda: case.wire.aborted == 1)
    assert case.wire.written == goodbye(1000)


async def test_whoever_ends_and_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch):
    """He had asked for more than the buffers hold and said goodbye: the connection stayed his."""
    monkeypatch.setattr("handlers.transport.websocket.GOODBYE_S", 0.01)
    for said in (frame(b"", CLOSE), frame(b"\xff"), frame(b"x" * 101)):
        case = Case()
        case.ws.pause_writing()
        case.ws.read(said)
        assert case.wire.aborted == 0
        await Until().true(lambda wire=case.wire: wire.aborted == 1)


async def test_one_who_sends_thousands_waits_for_the_others():
    """A read of a quarter of a megabyte held everybody up for a tenth of a second, per offender."""
    case, others = Case(), []
    case.ws.read(frame(b"text") * (3 * FRAMES_AT_ONCE))
    assert len(case.heard) == FRAMES_AT_ONCE
    asyncio.get_running_loop().call_soon(lambda: others.append(len(case.heard)))
    await Until().true(lambda: len(case.heard) == 3 * FRAMES_AT_ONCE)
    assert others == [2 * FRAMES_AT_ONCE]
    assert case.wire.turns == ["pause", "resume"] * 2


async def test_one_who_goes_while_he_waits_is_forgotten():
    """His turn comes, and there is nobody."""
    case = Case()
    case.ws.read(frame(b"text") * (2 * FRAMES_AT_ONCE))
    case.ws.connection_lost(None)
    await asyncio.sleep(0)
    assert (len(case.heard), case.ends) == (FRAMES_AT_ONCE, ["transport_closed"])


@pytest.mark.parametrize("odd", [frame(b"", PING), frame(b"", PONG), frame(b"", TEXT, fin=False)])
async def test_frames_of_no_app_are_counted(odd: bytes):
    """A text in one piece is none of them; a part of one, a ping and a pong are."""
    case, counted = Case(), []
    case.ws.overheard = lambda: counted.append(1)
    case.ws.read(frame(b"text") * 3 + odd)
    assert counted == [1]


async def test_a_flood_of_pings_or_parts_is_cut():
    """They cost no bucket, and went on for ever; one proxy's ping in twenty seconds goes on."""
    async with edge() as house:
        for odd in (frame(b"", PING), frame(b"", CONTINUATION, fin=False)):
            async with house.rider() as raw:
                raw.ws._writer.transport.write(frame(b"", TEXT, fin=False) + odd * (PATIENCE + 10))
                assert await ended(raw) == "closed"
        await Until().true(lambda: len(house.desk.went) == 2)


async def ended(raw: Raw) -> str:
    """What comes last, behind pongs that the library keeps to itself."""
    said = await raw.next()
    while said != "closed":
        said = await raw.next()
    return said


async def test_whoever_waits_for_a_connection_goes_on_when_it_is_gone():
    """A writer hears an error, one who waits for the end hears nothing."""
    case = Case()
    case.ws.pause_writing()
    writer, waiter = asyncio.create_task(case.ws.drain()), asyncio.create_task(case.ws.gone())
    await asyncio.sleep(0)
    case.ws.connection_lost(ConnectionResetError())
    with pytest.raises(ConnectionError):
        await writer
    await waiter
    assert case.ends == ["transport_closed"]
    with pytest.raises(ConnectionError):
        await case.ws.drain()
    await case.ws.gone()
    case.ws.write(TEXT, b"to nobody")
    assert case.wire.written == b""


async def test_a_writer_goes_on_when_the_client_reads():
    """Whoever need not wait does not."""
    case = Case()
    await case.ws.drain()
    case.ws.pause_writing()
    writer = asyncio.create_task(case.ws.drain())
    await asyncio.sleep(0)
    assert not writer.done()
    case.ws.resume_writing()
    await writer


async def test_another_implementation_agrees():
    """Ping, a message in two parts, and the goodbye, with an independent client."""
    async with edge() as house, house.http.ws_connect(house.url + WS, autoping=False) as ws:
        await ws.receive()
        await ws.ping(b"hello")
        answer = await ws.receive()
        assert (answer.type, answer.data) == (WSMsgType.PONG, b"hello")
        assert await ws.close(code=1001)
        assert ws.close_code == 1001


async def end_one(house: House) -> "weakref.ref[Connection]":
    async with house.rider() as raw:
        await raw.ask("arrived_pickup", "ord_1")
        [connection] = house.server.eio.sockets.values()
        return weakref.ref(connection)


async def test_an_ended_connection_is_freed_without_the_collector():
    """Under the server's thresholds the collector comes rarely; ten thousand phones come often."""
    async with edge() as house:
        gc.collect()
        gc.disable()
        try:
            remains = await end_one(house)
            await Until().true(lambda: len(house.desk.went) == 1)
            house.desk.went.clear()
            await Until().true(lambda: remains() is None)
        finally:
            gc.enable()


def test_a_client_whose_words_met_a_bug_of_ours_is_cut():
    """It may have been stopped within them; what follows could be read as something else."""
    case = Case()
    case.ws.hear = [].__getitem__
    with pytest.raises(TypeError):
        case.ws.read(frame(b"text"))
    assert case.wire.aborted == 1
