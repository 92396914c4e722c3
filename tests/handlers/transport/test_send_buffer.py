"""What a client is told while it reads, while it does not, and where the patience ends."""

import asyncio
from typing import Any

import pytest

from dispatch import metrics
from dispatch.wire import frames
from dispatch.wire.events import LatLng, RiderLocationUpdate
from handlers.transport.read_batch import ReadBatch
from handlers.transport.send_buffer import (
    ACKS_MAX,
    BYTES_MAX,
    PACKETS_MAX,
    SendBuffer,
    SocketSender,
    cached_text_frame,
    payload_of,
    text_frame,
)
from tests.handlers.socket_edge import WS_PATH, run_edge
from tests.waiting import Until


class FakeFrameTransport:
    """A connection whose client reads when the test says so."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_writing_paused = False
        self.transport: Any = self
        self.can_write = asyncio.Event()
        self.closing = False

    def write(self, frame: bytes) -> None:
        assert not self.is_writing_paused, "nothing is written to a client that does not read"
        self.sent.append(payload_of(frame))

    def is_closing(self) -> bool:
        return self.closing

    async def drain(self) -> None:
        await self.can_write.wait()

    def stop_reading(self) -> None:
        self.is_writing_paused = True
        self.can_write.clear()

    def resume_reading(self) -> None:
        self.is_writing_paused = False
        self.can_write.set()


class Case:
    """A pipe on such a connection; `cuts` says how often it gave up."""

    def __init__(self, write_timeout_s: float = 60) -> None:
        self.overflows = 0
        self.frame_transport = FakeFrameTransport()
        self.read_batch = ReadBatch()
        self.send_buffer = SendBuffer(self._on_overflow, write_timeout_s, self.read_batch)
        self.send_buffer.attach_transport(self.frame_transport)
        self.sender = SocketSender(self.send_buffer)

    def _on_overflow(self) -> None:
        self.overflows += 1
        self.send_buffer.close()


def event(number: int, size: int = 0) -> bytes:
    return f'42/user,["order_ready",{{"n":{number},"x":"{"a" * size}"}}]'.encode()


def position(order_id: str, number: int) -> bytes:
    update = RiderLocationUpdate(
        order_id=order_id, rider_id="rdr_1", location=LatLng(4, 9), heading=None, speed=None,
        accuracy=None, ts=number, received_at=number, state="live",
    )  # fmt: skip
    return frames.encode_event("/user", update)


def dropped(reason: str) -> float:
    return metrics.EVENTS_DROPPED.labels(reason)._value.get()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
async def test_a_frame_is_readable_by_an_independent_client(size: int):
    """The length takes 7, 16 or 64 bits; another implementation reads each of them."""
    payload = b"4" * size
    assert payload_of(text_frame(payload)) == payload
    async with (
        run_edge() as house,
        house.http.ws_connect(house.url + WS_PATH, max_msg_size=0) as ws,
    ):
        await ws.receive()
        [connection] = house.server.eio.sockets.values()
        connection.send_buffer.send(text_frame(payload))
        assert (await ws.receive()).data == payload.decode()


def test_a_packet_for_many_is_encoded_once():
    """A position goes to every watcher; the frame is the same object."""
    packet = event(1)
    assert cached_text_frame(packet) is cached_text_frame(packet)
    assert payload_of(cached_text_frame(packet)) == packet


async def test_a_client_that_reads_gets_frames_at_once():
    """No task, no queue, no switch between saying and writing."""
    case = Case()
    case.sender.send_event(event(1))
    case.sender.send_event(event(2))
    assert case.frame_transport.sent == [event(n) for n in (1, 2)]
    assert case.send_buffer._drain_task is None


async def test_events_wait_in_order_for_a_client_that_does_not_read():
    """What waited goes out first, and everything in the order in which it was told."""
    case = Case()
    case.frame_transport.stop_reading()
    for number in range(100):
        case.sender.send_event(event(number))
    assert case.frame_transport.sent == []
    case.frame_transport.resume_reading()
    case.sender.send_event(event(100))
    await Until().true(lambda: case.send_buffer.is_empty)
    assert case.frame_transport.sent == [event(n) for n in range(101)]
    case.sender.send_event(event(101))
    assert len(case.frame_transport.sent) == 102


async def test_only_the_newest_position_waits():
    """A client that reads again sees where the riders are, not where they were."""
    case, before = Case(), dropped("superseded")
    case.frame_transport.stop_reading()
    for number in range(1000):
        case.sender.send_position(position("ord_1", number))
        case.sender.send_position(position("ord_2", number))
    case.read_batch.flush()
    case.sender.send_event(event(1))
    case.frame_transport.resume_reading()
    await Until().true(lambda: case.send_buffer.is_empty)
    newest = [position("ord_1", 999), position("ord_2", 999)]
    assert case.frame_transport.sent == [event(1), *newest]
    assert (case.overflows, dropped("superseded") - before) == (0, 1998)


@pytest.mark.parametrize(("size", "most"), [(0, PACKETS_MAX), (4000, BYTES_MAX // 4040)])
async def test_too_many_pending_events_cut_the_connection(size: int, most: int):
    """An order's event is never dropped; its reader is, and resumes (hole 3)."""
    case = Case()
    case.frame_transport.stop_reading()
    for number in range(most):
        case.sender.send_event(event(number, size))
    assert case.overflows == 0
    case.sender.send_event(event(most, size))
    case.sender.send_event(event(most + 1, size))
    assert (case.overflows, case.send_buffer.is_empty) == (1, True)


async def test_too_many_pending_positions_are_dropped():
    """A position more or less is no loss; it is dropped and counted."""
    case, before = Case(), dropped("slow_reader")
    case.frame_transport.stop_reading()
    for number in range(PACKETS_MAX + 50):
        case.sender.send_position(position(f"ord_{number}", 1))
    case.read_batch.flush()
    assert (case.overflows, dropped("slow_reader") - before) == (0, 50)
    case.frame_transport.resume_reading()
    await Until().true(lambda: case.send_buffer.is_empty)
    assert len(case.frame_transport.sent) == PACKETS_MAX


async def test_one_frame_above_the_bound_may_wait():
    """A snapshot above the bound is no backlog."""
    case = Case()
    case.frame_transport.stop_reading()
    case.sender.send_event(event(1, BYTES_MAX * 2))
    assert case.overflows == 0
    case.sender.send_event(event(2))
    assert case.overflows == 1


async def test_a_client_that_stops_reading_is_cut_after_the_timeout():
    """Even when nothing more is said to it."""
    case = Case(write_timeout_s=0.02)
    case.frame_transport.stop_reading()
    case.sender.send_event(event(1))
    await Until().true(lambda: case.overflows == 1)
    assert case.send_buffer.is_closed
    assert case.frame_transport.sent == []


async def test_a_send_buffer_whose_client_disconnected_raises_nothing():
    """The reading side learns of the end and closes the pipe; until then nothing is raised."""
    case = Case()
    case.frame_transport.stop_reading()
    case.sender.send_event(event(1))
    case.frame_transport.closing = True
    case.frame_transport.resume_reading()
    await Until().true(lambda: case.send_buffer._drain_task is None)
    case.send_buffer.close()
    case.sender.send_event(event(2))
    assert (case.frame_transport.sent, case.overflows) == ([], 0)


async def test_the_drain_task_ends_with_the_connection():
    """No task is left behind."""
    case = Case()
    case.frame_transport.stop_reading()
    case.sender.send_event(event(1))
    pump = case.send_buffer._drain_task
    assert pump is not None
    case.send_buffer.close()
    await Until().true(pump.done)


async def test_pending_frames_go_out_when_a_websocket_is_attached():
    """A session that moves from polling loses nothing, also when its client stops reading."""
    wire, pipe = FakeFrameTransport(), SendBuffer(lambda: None, 60, ReadBatch())
    for number in range(3):
        pipe.send(text_frame(b"4%d" % number))
    wire.stop_reading()
    pipe.attach_transport(wire)
    assert wire.sent == []
    wire.resume_reading()
    await Until().true(lambda: pipe.is_empty)
    assert wire.sent == [b"40", b"41", b"42"]


async def test_a_poll_takes_all_frames_or_waits_for_one():
    """Events and newest positions; an empty poll waits."""
    turn = ReadBatch()
    pipe = SendBuffer(lambda: None, 60, turn)
    outlet = SocketSender(pipe)
    outlet.send_event(event(1))
    outlet.send_position(position("ord_1", 1))
    outlet.send_position(position("ord_1", 2))
    turn.flush()
    assert await pipe.poll() == [event(1), position("ord_1", 2)]
    waiting = asyncio.ensure_future(pipe.poll())
    await Until().true(lambda: pipe.is_polled)
    outlet.send_event(event(2))
    assert await waiting == [event(2)]


async def test_acks_that_never_come_are_bounded():
    """A client that acknowledges nothing costs a bounded memory."""
    case, receipts, before = Case(), [], dropped("ack_forgotten")
    for number in range(ACKS_MAX + 1):
        case.sender.send_with_ack(
            "delivery_request", "/rider", b"{}", lambda number=number: receipts.append(number)
        )
    assert dropped("ack_forgotten") - before == 1
    assert [case.sender.resolve_ack(n) for n in (1, 2, 2, ACKS_MAX + 1)] == [
        False, True, False, True,
    ]  # fmt: skip
    assert receipts == [1, ACKS_MAX]


HANDSHAKE = (
    f"GET {WS_PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_stuck_reader_is_cut_and_others_are_not():
    """A real TCP connection that nobody reads from: its buffers fill, then it is aborted."""
    async with run_edge() as house, house.connect_rider("rdr_2") as other:
        _, writer = await asyncio.open_connection(*house.url[7:].split(":"), limit=1024)
        connect = f'40/rider,{{"token":"{house.issue_token()}"}}'.encode()
        # A text frame of 16-bit length, masked with zeros.
        frame = b"\x81\xfe" + len(connect).to_bytes(2, "big") + bytes(4) + connect
        writer.write(HANDSHAKE.encode() + frame)
        await Until().true(lambda: len(house.sessions.for_identity("rider:rdr_1")) == 1)
        [stuck] = house.sessions.for_identity("rider:rdr_1")
        told = 0
        while house.sessions.for_identity("rider:rdr_1"):
            said = f'42/rider,["order_ready",{{"n":{told},"x":"{"a" * 1000}"}}]'
            stuck.sender.send_event(said.encode())
            told += 1
            await asyncio.sleep(0)
        # What the kernels of both ends keep, and no more than the bound on our side.
        assert 256 < told < 50_000
        assert (await other.send_command("arrived_pickup", "ord_1"))["ok"] is True
        writer.transport.abort()
