"""What a client gets while it reads, what is kept while it does not, and when it is cut."""

import asyncio
from typing import Any

import pytest

from dispatch.wire import frames
from dispatch.wire.events import LatLng, RiderLocationUpdate
from handlers.transport.send_buffer import (
    ACKS_MAX,
    BYTES_MAX,
    PACKETS_MAX,
    SendBuffer,
    SocketSender,
)
from handlers.websocket.frame_writer import payload_of, text_frame
from handlers.websocket.read_batch import ReadBatch
from tests.handlers.masked_frames import frame as masked
from tests.handlers.socket_edge import metric_value, run_edge, upgrade_request_bytes
from tests.waiting import Until


class FakeFrameTransport:
    """A connection whose client reads when the test lets it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_writing_paused = False
        self.transport: Any = self
        self.can_write = asyncio.Event()
        self.closing = False

    def write(self, frame: bytes) -> None:
        assert not self.is_writing_paused, "written to a client that does not read"
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
    """A send buffer on such a connection, and how often it has overflowed."""

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
    return metric_value("reeyo_events_dropped_total", reason=reason)


async def test_a_client_that_reads_gets_frames_at_once():
    """They are written in the call, without a task."""
    case = Case()
    case.sender.send_event(event(1))
    case.sender.send_event(event(2))
    assert case.frame_transport.sent == [event(n) for n in (1, 2)]
    assert not case.send_buffer.is_draining


async def test_events_wait_in_order_for_a_client_that_does_not_read():
    """Pending events go out first, and all events in the order in which they were sent."""
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
    """A client that reads again gets pending events, then the newest position of each order."""
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


@pytest.mark.parametrize(("size", "events_max"), [(0, PACKETS_MAX), (4000, BYTES_MAX // 4040)])
async def test_too_many_pending_events_cut_the_connection(size: int, events_max: int):
    """Events are never dropped: the connection ends, once, and the client resumes.

    Source: SECURITY.md, row 3 of the stock stack.
    """
    case = Case()
    case.frame_transport.stop_reading()
    for number in range(events_max):
        case.sender.send_event(event(number, size))
    assert case.overflows == 0
    case.sender.send_event(event(events_max, size))
    case.sender.send_event(event(events_max + 1, size))
    assert (case.overflows, case.send_buffer.is_empty) == (1, True)


async def test_too_many_pending_positions_are_dropped():
    """Positions beyond the bound are dropped and counted; the connection stays."""
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
    """A single large snapshot is kept; another event overflows."""
    case = Case()
    case.frame_transport.stop_reading()
    case.sender.send_event(event(1, BYTES_MAX * 2))
    assert case.overflows == 0
    case.sender.send_event(event(2))
    assert case.overflows == 1


async def test_a_client_that_stops_reading_is_cut_after_the_timeout():
    """Even when nothing more is sent to it, and nothing is written to it."""
    case = Case(write_timeout_s=0.02)
    case.frame_transport.stop_reading()
    case.sender.send_event(event(1))
    await Until().true(lambda: case.overflows == 1)
    assert case.send_buffer.is_closed
    assert case.frame_transport.sent == []


async def test_a_send_buffer_whose_client_disconnected_raises_nothing():
    """Draining stops quietly, and later events are dropped; the reading side reports the end."""
    case = Case()
    case.frame_transport.stop_reading()
    case.sender.send_event(event(1))
    case.frame_transport.closing = True
    case.frame_transport.resume_reading()
    await Until().true(lambda: not case.send_buffer.is_draining)
    case.send_buffer.close()
    case.sender.send_event(event(2))
    assert (case.frame_transport.sent, case.overflows) == ([], 0)


async def test_the_drain_task_ends_with_the_connection():
    """Closing the send buffer ends its task."""
    case = Case()
    case.frame_transport.stop_reading()
    case.sender.send_event(event(1))
    assert case.send_buffer.is_draining
    case.send_buffer.close()
    await Until().true(lambda: not case.send_buffer.is_draining)


async def test_pending_frames_go_out_when_a_websocket_is_attached():
    """An upgraded session loses no frame, also when its client stops reading meanwhile."""
    transport, send_buffer = FakeFrameTransport(), SendBuffer(lambda: None, 60, ReadBatch())
    for number in range(3):
        send_buffer.send(text_frame(b"4%d" % number))
    transport.stop_reading()
    send_buffer.attach_transport(transport)
    assert transport.sent == []
    transport.resume_reading()
    await Until().true(lambda: send_buffer.is_empty)
    assert transport.sent == [b"40", b"41", b"42"]


async def test_a_poll_takes_all_frames_or_waits_for_one():
    """A poll takes events and newest positions; with nothing pending it waits."""
    read_batch = ReadBatch()
    send_buffer = SendBuffer(lambda: None, 60, read_batch)
    sender = SocketSender(send_buffer)
    sender.send_event(event(1))
    sender.send_position(position("ord_1", 1))
    sender.send_position(position("ord_1", 2))
    read_batch.flush()
    assert await send_buffer.poll() == [event(1), position("ord_1", 2)]
    poll = asyncio.ensure_future(send_buffer.poll())
    await Until().true(lambda: send_buffer.is_polled)
    sender.send_event(event(2))
    assert await poll == [event(2)]


async def test_a_released_poll_returns_nothing():
    """A transport upgrade ends the waiting poll without a frame."""
    send_buffer = SendBuffer(lambda: None, 60, ReadBatch())
    poll = asyncio.ensure_future(send_buffer.poll())
    await Until().true(lambda: send_buffer.is_polled)
    send_buffer.release_poll()
    assert await poll == []


async def test_packets_other_than_events_are_not_counted_as_events():
    """`send_packet` writes at once; `send_event` also counts the event by name."""
    case = Case()
    before = metric_value("reeyo_events_sent_total", name="order_ready")
    case.sender.send_packet(b"41/user,")
    case.sender.send_event(event(1))
    assert case.frame_transport.sent == [b"41/user,", event(1)]
    assert metric_value("reeyo_events_sent_total", name="order_ready") == before + 1


async def test_acks_that_never_come_are_bounded():
    """The oldest of too many outstanding ones is dropped and counted; the others call back."""
    case, acked, before = Case(), [], dropped("ack_evicted")
    for number in range(ACKS_MAX + 1):
        case.sender.send_with_ack(
            "delivery_request", "/rider", b"{}", lambda number=number: acked.append(number)
        )
    assert dropped("ack_evicted") - before == 1
    assert [case.sender.resolve_ack(n) for n in (1, 2, 2, ACKS_MAX + 1)] == [
        False, True, False, True,
    ]  # fmt: skip
    assert acked == [1, ACKS_MAX]


async def test_a_stuck_reader_is_cut_and_others_are_not():
    """A TCP connection that is not read from: its buffers fill, then it is aborted."""
    async with run_edge() as edge, edge.connect_rider("rdr_2") as other:
        connect = f'40/rider,{{"token":"{edge.issue_token()}"}}'.encode()
        _, writer = await edge.open_tcp(upgrade_request_bytes() + masked(connect), read_limit=1024)
        await Until().true(lambda: len(edge.sessions.for_identity("rider:rdr_1")) == 1)
        [stuck] = edge.sessions.for_identity("rider:rdr_1")
        sent = 0
        while edge.sessions.for_identity("rider:rdr_1"):
            packet = f'42/rider,["order_ready",{{"n":{sent},"x":"{"a" * 1000}"}}]'
            stuck.sender.send_event(packet.encode())
            sent += 1
            await asyncio.sleep(0)
        # The kernels of both ends keep some megabytes, this process no more than its bound.
        assert 256 < sent < 50_000
        assert (await other.send_command("arrived_pickup", "ord_1"))["ok"] is True
        writer.transport.abort()
