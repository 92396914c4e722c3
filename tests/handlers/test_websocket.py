"""What we take from the pinned WebSocket library's inside, and that it still does it."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from aiohttp import WSMsgType
from aiohttp._websocket.reader import WebSocketReader

from handlers.connection import Connection
from handlers.websocket import Ear
from tests.handlers.edge import WS, House, edge
from tests.waiting import Until


class Protocol:
    """A connection that is never full."""

    _reading_paused = False


def frame(text: str) -> bytes:
    return bytes((0x81, len(text))) + text.encode()


def listening() -> tuple[Ear, WebSocketReader]:
    ear: Any = Ear(Protocol(), 2**16, loop=asyncio.get_running_loop())  # type: ignore[arg-type]
    return ear, WebSocketReader(ear, 1000, compress=False, decode_text=True)


async def test_text_is_handed_over_with_its_last_byte():
    """The library's parser, compiled or not, calls our queue; no turn of the loop lies between."""
    ear, reader = listening()
    heard: list[str] = []
    ear.deliver = heard.append
    reader.feed_data(frame("one") + frame("two") + frame("three")[:3])
    assert heard == ["one", "two"]
    reader.feed_data(frame("three")[3:])
    assert heard == ["one", "two", "three"]


async def test_what_came_before_the_listener_goes_first():
    """Frames that arrive with the handshake are queued, and no later one overtakes them."""
    ear, reader = listening()
    heard: list[str] = []
    reader.feed_data(frame("one"))
    ear.deliver = heard.append
    reader.feed_data(frame("two"))
    assert heard == []
    assert [(await ear.read()).data for _ in range(2)] == ["one", "two"]
    reader.feed_data(frame("three"))
    assert heard == ["three"]


async def test_everything_else_is_for_the_reader():
    """Binary frames, pings and the end are handled in a task, where they may wait."""
    ear, reader = listening()
    ear.deliver = lambda _text: pytest.fail("only text is handed over")
    reader.feed_data(b"\x82\x01\x00" + b"\x89\x00" + b"\x88\x00")
    kinds = [(await ear.read()).type for _ in range(3)]
    assert kinds == [WSMsgType.BINARY, WSMsgType.PING, WSMsgType.CLOSE]


async def test_frames_sent_with_the_handshake_are_heard():
    """A client need not wait for the server's first word."""
    async with edge() as house:
        head = (
            f"GET {WS} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        connect = f'40/rider,{{"token":"{house.token()}"}}'.encode()
        fix = b'42/rider,["location_update",{"lat":1,"lng":2}]'
        said = b"\x81\xfe" + len(connect).to_bytes(2, "big") + bytes(4) + connect
        said += bytes((0x81, 0x80 | len(fix))) + bytes(4) + fix
        _, writer = await asyncio.open_connection(*house.url[7:].split(":"))
        writer.write(head.encode() + said * 1)
        await Until().true(lambda: len(house.desk.heard) == 1)
        writer.transport.abort()
        await Until().true(lambda: len(house.sessions) == 0)


async def test_a_websocket_ping_is_answered_by_the_library():
    """Proxies keep connections alive that way."""
    async with edge() as house, house.http.ws_connect(house.url + WS, autoping=False) as ws:
        await ws.receive()
        await ws.ping(b"hello")
        answer = await ws.receive()
        assert (answer.type, answer.data) == (WSMsgType.PONG, b"hello")


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
