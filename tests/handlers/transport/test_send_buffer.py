"""What a client is told while it reads, while it does not, and where the patience ends."""

import asyncio
from typing import Any

import pytest

from dispatch import metrics
from dispatch.wire import frames
from dispatch.wire.events import LatLng, RiderLocationUpdate
from handlers.transport.read_batch import Turn
from handlers.transport.send_buffer import (
    ACKS_MAX,
    BYTES_MAX,
    PACKETS_MAX,
    Outlet,
    Pipe,
    framed,
    payload_of,
    text_frame,
)
from tests.handlers.socket_edge import WS, edge
from tests.waiting import Until


class Wire:
    """A connection whose client reads when the test says so."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.writing_paused = False
        self.transport: Any = self
        self.room = asyncio.Event()
        self.closing = False

    def write(self, frame: bytes) -> None:
        assert not self.writing_paused, "nothing is written to a client that does not read"
        self.sent.append(payload_of(frame))

    def is_closing(self) -> bool:
        return self.closing

    async def drain(self) -> None:
        await self.room.wait()

    def stop(self) -> None:
        self.writing_paused = True
        self.room.clear()

    def go_on(self) -> None:
        self.writing_paused = False
        self.room.set()


class Case:
    """A pipe on such a connection; `cuts` says how often it gave up."""

    def __init__(self, stuck_s: float = 60) -> None:
        self.cuts = 0
        self.wire = Wire()
        self.turn = Turn()
        self.pipe = Pipe(self._cut, stuck_s, self.turn)
        self.pipe.open(self.wire)
        self.outlet = Outlet(self.pipe)

    def _cut(self) -> None:
        self.cuts += 1
        self.pipe.close()


def event(number: int, size: int = 0) -> bytes:
    return f'42/user,["order_ready",{{"n":{number},"x":"{"a" * size}"}}]'.encode()


def position(order_id: str, number: int) -> bytes:
    update = RiderLocationUpdate(
        order_id=order_id, rider_id="rdr_1", location=LatLng(4, 9), heading=None, speed=None,
        accuracy=None, ts=number, received_at=number, state="live",
    )  # fmt: skip
    return frames.event_packet("/user", update)


def dropped(reason: str) -> float:
    return metrics.EVENTS_DROPPED.labels(reason)._value.get()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
async def test_a_frame_can_be_read_by_any_client(size: int):
    """The length takes 7, 16 or 64 bits; another implementation reads each of them."""
    payload = b"4" * size
    assert payload_of(text_frame(payload)) == payload
    async with edge() as house, house.http.ws_connect(house.url + WS, max_msg_size=0) as ws:
        await ws.receive()
        [connection] = house.server.eio.sockets.values()
        connection.pipe.send(text_frame(payload))
        assert (await ws.receive()).data == payload.decode()


def test_a_packet_for_many_is_encoded_once():
    """A position goes to every watcher; the frame is the same object."""
    packet = event(1)
    assert framed(packet) is framed(packet)
    assert payload_of(framed(packet)) == packet


async def test_a_client_that_reads_is_told_at_once():
    """No task, no queue, no switch between saying and writing."""
    case = Case()
    case.outlet.tell(event(1))
    case.outlet.tell(event(2))
    assert case.wire.sent == [event(n) for n in (1, 2)]
    assert case.pipe._pump is None


async def test_events_wait_in_order_for_a_client_that_does_not_read():
    """What waited goes out first, and everything in the order in which it was told."""
    case = Case()
    case.wire.stop()
    for number in range(100):
        case.outlet.tell(event(number))
    assert case.wire.sent == []
    case.wire.go_on()
    case.outlet.tell(event(100))
    await Until().true(lambda: case.pipe.is_empty)
    assert case.wire.sent == [event(n) for n in range(101)]
    case.outlet.tell(event(101))
    assert len(case.wire.sent) == 102


async def test_of_positions_only_the_newest_waits():
    """A client that reads again sees where the riders are, not where they were."""
    case, before = Case(), dropped("superseded")
    case.wire.stop()
    for number in range(1000):
        case.outlet.show(position("ord_1", number))
        case.outlet.show(position("ord_2", number))
    case.turn.end()
    case.outlet.tell(event(1))
    case.wire.go_on()
    await Until().true(lambda: case.pipe.is_empty)
    newest = [position("ord_1", 999), position("ord_2", 999)]
    assert case.wire.sent == [event(1), *newest]
    assert (case.cuts, dropped("superseded") - before) == (0, 1998)


@pytest.mark.parametrize(("size", "most"), [(0, PACKETS_MAX), (4000, BYTES_MAX // 4040)])
async def test_too_many_waiting_events_cut_the_connection(size: int, most: int):
    """An order's event is never dropped; its reader is, and resumes (hole 3)."""
    case = Case()
    case.wire.stop()
    for number in range(most):
        case.outlet.tell(event(number, size))
    assert case.cuts == 0
    case.outlet.tell(event(most, size))
    case.outlet.tell(event(most + 1, size))
    assert (case.cuts, case.pipe.is_empty) == (1, True)


async def test_too_many_waiting_positions_cut_nobody():
    """A position more or less is no loss; it is dropped and counted."""
    case, before = Case(), dropped("slow_reader")
    case.wire.stop()
    for number in range(PACKETS_MAX + 50):
        case.outlet.show(position(f"ord_{number}", 1))
    case.turn.end()
    assert (case.cuts, dropped("slow_reader") - before) == (0, 50)
    case.wire.go_on()
    await Until().true(lambda: case.pipe.is_empty)
    assert len(case.wire.sent) == PACKETS_MAX


async def test_one_large_answer_may_wait():
    """A snapshot above the bound is no backlog."""
    case = Case()
    case.wire.stop()
    case.outlet.tell(event(1, BYTES_MAX * 2))
    assert case.cuts == 0
    case.outlet.tell(event(2))
    assert case.cuts == 1


async def test_a_client_that_never_reads_again_is_cut():
    """Even when nothing more is said to it."""
    case = Case(stuck_s=0.02)
    case.wire.stop()
    case.outlet.tell(event(1))
    await Until().true(lambda: case.cuts == 1)
    assert case.pipe.closed
    assert case.wire.sent == []


async def test_a_pipe_whose_client_has_gone_stays_quiet():
    """The reading side learns of the end and closes the pipe; until then nothing is raised."""
    case = Case()
    case.wire.stop()
    case.outlet.tell(event(1))
    case.wire.closing = True
    case.wire.go_on()
    await Until().true(lambda: case.pipe._pump is None)
    case.pipe.close()
    case.outlet.tell(event(2))
    assert (case.wire.sent, case.cuts) == ([], 0)


async def test_a_wait_ends_with_the_connection():
    """No task is left behind."""
    case = Case()
    case.wire.stop()
    case.outlet.tell(event(1))
    pump = case.pipe._pump
    assert pump is not None
    case.pipe.close()
    await Until().true(pump.done)


async def test_what_waited_for_a_websocket_goes_out_with_it():
    """A session that moves from polling loses nothing, also when its client stops reading."""
    wire, pipe = Wire(), Pipe(lambda: None, 60, Turn())
    for number in range(3):
        pipe.send(text_frame(b"4%d" % number))
    wire.stop()
    pipe.open(wire)
    assert wire.sent == []
    wire.go_on()
    await Until().true(lambda: pipe.is_empty)
    assert wire.sent == [b"40", b"41", b"42"]


async def test_a_poll_takes_everything_and_waits_for_something():
    """Events and newest positions; an empty poll waits."""
    turn = Turn()
    pipe = Pipe(lambda: None, 60, turn)
    outlet = Outlet(pipe)
    outlet.tell(event(1))
    outlet.show(position("ord_1", 1))
    outlet.show(position("ord_1", 2))
    turn.end()
    assert await pipe.poll() == [event(1), position("ord_1", 2)]
    waiting = asyncio.ensure_future(pipe.poll())
    await Until().true(lambda: pipe.is_polled)
    outlet.tell(event(2))
    assert await waiting == [event(2)]


async def test_receipts_that_never_come_are_forgotten():
    """A client that acknowledges nothing costs a bounded memory."""
    case, receipts, before = Case(), [], dropped("ack_forgotten")
    for number in range(ACKS_MAX + 1):
        case.outlet.tell_with_ack(
            "delivery_request", "/rider", b"{}", lambda number=number: receipts.append(number)
        )
    assert dropped("ack_forgotten") - before == 1
    assert [case.outlet.acknowledged(n) for n in (1, 2, 2, ACKS_MAX + 1)] == [
        False, True, False, True,
    ]  # fmt: skip
    assert receipts == [1, ACKS_MAX]


HANDSHAKE = (
    f"GET {WS} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_stuck_reader_is_cut_and_others_are_not():
    """A real TCP connection that nobody reads from: its buffers fill, then it is aborted."""
    async with edge() as house, house.rider("rdr_2") as other:
        _, writer = await asyncio.open_connection(*house.url[7:].split(":"), limit=1024)
        connect = f'40/rider,{{"token":"{house.token()}"}}'.encode()
        # A text frame of 16-bit length, masked with zeros.
        frame = b"\x81\xfe" + len(connect).to_bytes(2, "big") + bytes(4) + connect
        writer.write(HANDSHAKE.encode() + frame)
        await Until().true(lambda: len(house.sessions.of("rider:rdr_1")) == 1)
        [stuck] = house.sessions.of("rider:rdr_1")
        told = 0
        while house.sessions.of("rider:rdr_1"):
            said = f'42/rider,["order_ready",{{"n":{told},"x":"{"a" * 1000}"}}]'
            stuck.outlet.tell(said.encode())
            told += 1
            await asyncio.sleep(0)
        # What the kernels of both ends keep, and no more than the bound on our side.
        assert 256 < told < 50_000
        assert (await other.ask("arrived_pickup", "ord_1"))["ok"] is True
        writer.transport.abort()
