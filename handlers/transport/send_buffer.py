"""Send buffer of a connection, bounded while its client does not read, and a socket's sender."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from prometheus_client import Counter

from dispatch import metrics
from dispatch.wire import frames
from handlers.websocket.frame_writer import Frame, cached_text_frame, payload_of, text_frame
from handlers.websocket.read_batch import ReadBatch

# Bounds of what one connection may have pending. Source: docs/decisions/0005; SECURITY.md, row 3 of
# the stock stack, an unbounded queue per client.
PACKETS_MAX = 256
BYTES_MAX = 256 * 1024
# Acknowledgements one socket may owe. Source: a rider has at most one open offer at a time.
ACKS_MAX = 64
# Counters that are kept by event name; there are some forty events.
_COUNTERS_CACHED_MAX = 256


class FrameTransport(Protocol):
    """What the send buffer needs of a WebSocket."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """The TCP connection; None once it is lost."""
        ...

    @property
    def is_writing_paused(self) -> bool:
        """Whether the transport holds more than its high-water mark."""
        ...

    async def drain(self) -> None:
        """Wait until the client reads. Errors: ConnectionError once the connection is lost."""
        ...


class SendBuffer:
    """Outgoing frames of one connection.

    While the client reads, frames go straight to the transport, without a task or an await. While
    it does not, and between two polls of a client without WebSocket, they are kept here: the newest
    of each coalescible event, and at most `PACKETS_MAX` frames and `BYTES_MAX` bytes in all. One
    event more calls `on_overflow`, which ends the connection; so does a client that reads nothing
    for `write_timeout_s`. A position that exceeds the bounds is dropped and counted.

    Units: `write_timeout_s` in seconds.
    """

    __slots__ = (
        "_drain_task",
        "_frame_transport",
        "_latest_positions",
        "_on_overflow",
        "_pending_bytes",
        "_pending_frames",
        "_poll_waiter",
        "_write_timeout_s",
        "is_closed",
        "read_batch",
    )  # fmt: skip

    def __init__(
        self, on_overflow: Callable[[], None], write_timeout_s: float, read_batch: ReadBatch
    ) -> None:
        self.read_batch = read_batch
        self._on_overflow = on_overflow
        self._write_timeout_s = write_timeout_s
        self._frame_transport: FrameTransport | None = None
        # None until something has to wait: most clients always read.
        self._pending_frames: deque[Frame] | None = None
        self._latest_positions: dict[bytes, Frame] | None = None
        self._pending_bytes = 0
        self._drain_task: asyncio.Task[None] | None = None
        self._poll_waiter: asyncio.Future[None] | None = None
        self.is_closed = False

    def attach_transport(self, frame_transport: FrameTransport) -> None:
        """Write to a WebSocket from now on, pending frames first."""
        self._frame_transport = frame_transport
        self._flush()
        if not self.is_empty:
            self._start_drain()

    def send(self, frame: Frame) -> None:
        """Write one text frame, or keep it until the client reads again."""
        frame_transport = self._frame_transport
        if (
            frame_transport is None
            or self._drain_task is not None
            or frame_transport.is_writing_paused
        ):
            if not self.is_closed:
                self._enqueue(frame)
            return
        transport = frame_transport.transport
        if transport is not None and not transport.is_closing():
            transport.write(frame)

    def close(self) -> None:
        """Discard pending frames and ignore all further ones."""
        self.is_closed = True
        # Both refer to the session that owns this buffer; without the cycle all are freed at once.
        self._frame_transport = None
        self._on_overflow = _ignore_overflow
        self._pending_frames = self._latest_positions = None
        self._pending_bytes = 0
        if self._drain_task is not None:
            self._drain_task.cancel()
        self.release_poll()

    @property
    def is_empty(self) -> bool:
        """Whether no frame is pending."""
        return not self._pending_frames and not self._latest_positions

    @property
    def is_draining(self) -> bool:
        """Whether a task waits for the client to read."""
        return self._drain_task is not None and not self._drain_task.done()

    @property
    def is_polled(self) -> bool:
        """Whether a long poll waits for a frame."""
        return self._poll_waiter is not None

    async def poll(self) -> list[bytes]:
        """Wait for a frame and take all pending ones; for long polling.

        Shapes: payloads of the frames; empty where `release_poll` ended the wait.
        """
        if self.is_empty and not self.is_closed:
            self._poll_waiter = asyncio.get_running_loop().create_future()
            try:
                await self._poll_waiter
            finally:
                self._poll_waiter = None
        payloads = [payload_of(frame) for frame in self._pending_frames or ()]
        payloads += [payload_of(frame) for frame in (self._latest_positions or {}).values()]
        self._pending_frames = self._latest_positions = None
        self._pending_bytes = 0
        return payloads

    def release_poll(self) -> None:
        """End a waiting long poll, even without a frame."""
        if self._poll_waiter is not None and not self._poll_waiter.done():
            self._poll_waiter.set_result(None)

    def _enqueue(self, frame: Frame) -> None:
        key = frames.coalescing_key(payload_of(frame))
        if key is not None:
            self._enqueue_position(key, frame)
        elif not self.is_empty and self._is_full(frame):
            self._on_overflow()
            return
        else:
            if self._pending_frames is None:
                self._pending_frames = deque()
            self._pending_frames.append(frame)
            self._pending_bytes += len(frame)
        self.release_poll()
        if self._frame_transport is not None and self._drain_task is None:
            self._start_drain()

    def _enqueue_position(self, key: bytes, frame: Frame) -> None:
        if self._latest_positions is None:
            self._latest_positions = {}
        older = self._latest_positions.pop(key, b"")
        self._pending_bytes -= len(older)
        if older:
            metrics.EVENTS_DROPPED.labels("superseded").inc()
        if self._is_full(frame):
            metrics.EVENTS_DROPPED.labels("slow_reader").inc()
            return
        self._latest_positions[key] = frame
        self._pending_bytes += len(frame)

    def _is_full(self, frame: Frame) -> bool:
        count = len(self._pending_frames or ()) + len(self._latest_positions or ())
        return count >= PACKETS_MAX or self._pending_bytes + len(frame) > BYTES_MAX

    def _start_drain(self) -> None:
        self._drain_task = asyncio.get_running_loop().create_task(self._drain_pending())

    async def _drain_pending(self) -> None:
        """Write pending frames as fast as the client reads; end it after a write timeout."""
        try:
            while not self.is_empty:
                async with asyncio.timeout(self._write_timeout_s):
                    assert self._frame_transport is not None, "draining needs a transport"
                    await self._frame_transport.drain()
                self._flush()
        except TimeoutError:
            self._drain_task = None
            self._on_overflow()
        except ConnectionError:
            # The reading side sees the lost connection too, and ends the session.
            return
        finally:
            self._drain_task = None

    def _flush(self) -> None:
        frame_transport = self._frame_transport
        assert frame_transport is not None, "flushing needs a transport"
        while not self.is_empty and not frame_transport.is_writing_paused:
            transport = frame_transport.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError
            frame = self._next_frame()
            self._pending_bytes -= len(frame)
            transport.write(frame)

    def _next_frame(self) -> Frame:
        # Events first: they are older, and newer positions will follow.
        if self._pending_frames:
            return self._pending_frames.popleft()
        assert self._latest_positions, "a frame is pending"
        return self._latest_positions.pop(next(iter(self._latest_positions)))


def _ignore_overflow() -> None:
    """Ignore an overflow: the connection has ended."""


@lru_cache(_COUNTERS_CACHED_MAX)
def _sent_counter(event: bytes) -> Counter:
    """Return the counter of an event; finding it in the metric costs more than counting."""
    return metrics.EVENTS_SENT.labels(event.decode())


class SocketSender:
    """Sends packets to one socket, which is one namespace of one connection.

    Sending never blocks and never raises. Packets are encoded by `dispatch.wire.frames`.
    """

    __slots__ = ("_last_ack_id", "_pending_acks", "_send_buffer")

    def __init__(self, send_buffer: SendBuffer) -> None:
        self._send_buffer = send_buffer
        self._pending_acks: dict[int, Callable[[], None]] = {}
        self._last_ack_id = 0

    def send_event(self, packet: bytes) -> None:
        """Send an EVENT packet and count it. Shapes: `42/user,["order_ready",{…}]`."""
        self._send_buffer.send(cached_text_frame(packet))
        _sent_counter(frames.event_name(packet)).inc()

    def send_position(self, packet: bytes) -> None:
        """Send a coalescible EVENT packet at the end of the tick.

        Counted where positions are relayed (`reeyo_fixes_relayed_total`), not here.
        """
        self._send_buffer.read_batch.add_write(self._send_buffer, cached_text_frame(packet))

    def send_packet(self, packet: bytes) -> None:
        """Send a packet that is not an event: an acknowledgement or a DISCONNECT."""
        self._send_buffer.send(text_frame(packet))

    def send_with_ack(
        self, name: str, namespace: str, body: bytes, on_ack: Callable[[], None]
    ) -> None:
        """Send an event; `on_ack` is called once, when the client acknowledges it.

        Of more than `ACKS_MAX` outstanding acknowledgements the oldest is given up.
        """
        self._last_ack_id += 1
        self._pending_acks[self._last_ack_id] = on_ack
        if len(self._pending_acks) > ACKS_MAX:
            del self._pending_acks[next(iter(self._pending_acks))]
            metrics.EVENTS_DROPPED.labels("ack_evicted").inc()
        self.send_event(frames.encode_packet(namespace, name, body, self._last_ack_id))

    def resolve_ack(self, ack_id: int) -> bool:
        """Call an acknowledgement's callback; False where none is outstanding under that id."""
        on_ack = self._pending_acks.pop(ack_id, None)
        if on_ack is None:
            return False
        on_ack()
        return True
