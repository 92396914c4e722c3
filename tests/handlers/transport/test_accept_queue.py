"""Which new connections become WebSockets at once, and how many in one turn of the loop."""

import asyncio
from typing import Any, cast

import pytest
from aiohttp.base_protocol import BaseProtocol

from handlers.transport.accept_queue import AT_ONCE, Headers, Newcomer, Porch
from tests.handlers.masked import frame
from tests.handlers.socket_edge import House, edge
from tests.waiting import Until

OPENING = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
HEADERS = (
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
WHOLE = OPENING + HEADERS + b"\r\n"


class Wire:
    """A transport, as far as a newcomer needs one."""

    def __init__(self) -> None:
        self.protocol: object = None
        self.is_reading = True
        self.is_gone = False

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return self.is_gone

    def abort(self) -> None:
        self.is_gone = True

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol


class Inside(BaseProtocol):
    """Stands where the framework would."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data


class Entrance:
    """A door that lets in whom it likes."""

    def __init__(self) -> None:
        self.is_open = True
        self.taken: list[tuple[object, str, bytes]] = []
        self.failing: object = None

    def open(self, transport: object, headers: Headers, beyond: bytes) -> bool:
        if transport is self.failing:
            raise ZeroDivisionError
        if self.is_open:
            self.taken.append((transport, headers["host"], beyond))
        return self.is_open


class Yard:
    """A porch before a door, and everybody whom the framework got."""

    def __init__(self) -> None:
        self.door = Entrance()
        self.inside: list[Inside] = []
        self.porch = Porch(cast("Any", self.door), self._framework)

    def _framework(self) -> Inside:
        self.inside.append(Inside())
        return self.inside[-1]

    def come(self, said: bytes = WHOLE) -> tuple[Wire, Newcomer]:
        wire, newcomer = Wire(), self.porch()
        newcomer.connection_made(cast("Any", wire))
        newcomer.data_received(said)
        return wire, newcomer


async def turn() -> None:
    await asyncio.sleep(0)


async def test_a_websocket_is_opened_from_its_first_bytes():
    """What stands behind the request is handed on with it."""
    yard = Yard()
    wire, _ = yard.come(WHOLE + b"behind")
    assert not wire.is_reading
    await turn()
    assert yard.door.taken == [(wire, "x", b"behind")]
    assert wire.is_reading
    assert (yard.inside, yard.porch.waiting) == ([], set())


@pytest.mark.parametrize(
    "said",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST" + WHOLE[3:],
        WHOLE[:-2],
        OPENING,
        OPENING + b"Host: x\r\n\r\n",
        OPENING.replace(b"websocket ", b"websocket&sid=abc ") + HEADERS + b"\r\n",
        OPENING.replace(b"=4", b"=3") + HEADERS + b"\r\n",
        OPENING + b"A b: c\r\n" + HEADERS + b"\r\n",
        OPENING + b"A: " + b"a" * 9_000 + b"\r\n" + HEADERS + b"\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
async def test_whatever_is_unusual_is_the_frameworks(said: bytes):
    """From its first byte on, as if nobody had stood in between."""
    yard = Yard()
    wire, _ = yard.come(said)
    await turn()
    [inside] = yard.inside
    assert (inside.heard, inside.wire, wire.protocol) == (said, wire, inside)
    assert yard.door.taken == []
    assert wire.is_reading


async def test_whom_the_door_leaves_the_framework_gets():
    """It also says why he is refused."""
    yard = Yard()
    yard.door.is_open = False
    yard.come()
    await turn()
    assert [each.heard for each in yard.inside] == [WHOLE]


async def test_a_few_are_let_in_at_a_time():
    """A rush of newcomers leaves every turn of the loop to those who are in."""
    yard = Yard()
    for _ in range(2 * AT_ONCE + 1):
        yard.come()
    told = []
    for _ in range(4):
        await turn()
        told.append(len(yard.door.taken))
    assert told == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1, 2 * AT_ONCE + 1]


async def test_who_has_gone_is_passed_over():
    """Before his turn came; he is nobody's."""
    yard = Yard()
    _, gone = yard.come()
    closing, _ = yard.come()
    here, _ = yard.come()
    gone.connection_lost(None)
    closing.abort()
    await turn()
    assert [wire for wire, _, _ in yard.door.taken] == [here]
    assert yard.inside == []


async def test_who_comes_to_grief_costs_the_others_nothing():
    """A bug in one opening is told to the loop; it is cut, and the line moves on."""
    yard, grief = Yard(), []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: grief.append(told))
    yard.door.failing = cut = yard.come()[0]
    here, _ = yard.come()
    await turn()
    await turn()
    asyncio.get_running_loop().set_exception_handler(None)
    assert [wire for wire, _, _ in yard.door.taken] == [here]
    assert (cut.is_gone, here.is_gone) == (True, False)
    assert [type(each["exception"]) for each in grief] == [ZeroDivisionError]


async def test_who_says_nothing_waits_until_the_end():
    """Nobody stays when the server goes."""
    yard = Yard()
    wire = Wire()
    yard.porch().connection_made(cast("Any", wire))
    await turn()
    assert len(yard.porch.waiting) == 1
    yard.porch.close()
    assert wire.is_gone


async def opened(house: House, more: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*house.url[7:].split(":"))
    writer.write(OPENING + HEADERS + more)
    head = await reader.readuntil(b"\r\n")
    writer.close()
    return head


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b"\r\n", b"101"),
        (b"Origin: https://elsewhere.example\r\n\r\n", b"400"),
        (b"Content-Length: 2\r\n\r\nab", b"101"),
        (b"Sec-WebSocket-Protocol: x\r\n\r\n", b"101"),
    ],
)
async def test_both_ways_say_the_same(more: bytes, status: bytes):
    """A client cannot tell who has answered it."""
    async with edge() as house:
        quick = await opened(house, more)
        house.porch._door = None
        assert (quick, await opened(house, more)) == (quick, quick)
        assert quick.split()[1] == status


async def test_the_frameworks_connections_are_not_needed_for_a_websocket():
    """It is not asked at all."""
    async with edge() as house:
        house.porch._framework = cast("Any", None)
        connect = f'40/rider,{{"token":"{house.token()}"}}'.encode()
        reader, writer = await asyncio.open_connection(*house.url[7:].split(":"))
        writer.write(WHOLE + frame(connect))
        await Until().true(lambda: len(house.sessions) == 1)
        assert [session.identity for session in house.sessions] == ["rider:rdr_1"]
        assert not house.http_server.connections
        writer.close()
        await reader.read()
        await Until().true(lambda: len(house.sessions) == 0)
