"""The way out to one client: bounded, and without task or await while the client reads."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from prometheus_client import Counter

from dispatch import metrics
from dispatch.wire import frames
from handlers.transport.read_batch import ReadBatch

# Source: reliability design, hole 3 of the stock stack.
PACKETS_MAX = 256
BYTES_MAX = 256 * 1024
# Events that hold a whole truth of their own, so that a newer one makes the older needless.
COALESCIBLE = frozenset({b"rider_location_update", b"eta_update"})
# Acknowledgements one socket may owe; a rider is offered one order at a time.
ACKS_MAX = 64
# Events that are counted; there are some forty.
_COUNTERS_CACHED_MAX = 256

# Source: RFC 6455 section 5.2, FIN with opcode 1 (text); lengths of 7, 16 and 64 bits.
_TEXT = 0x81
_LENGTH_7, _LENGTH_16, _LENGTH_64 = 125, 126, 127
# Most frames are of this kind; the length is added.
_HEAD_16 = _TEXT << 24 | _LENGTH_16 << 16

Frame = bytes


class FrameTransport(Protocol):
    """What the pipe asks of a WebSocket."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """The TCP connection, None once it is gone."""
        ...

    @property
    def is_writing_paused(self) -> bool:
        """Whether the transport holds more than its high-water mark."""
        ...

    async def drain(self) -> None:
        """Return when the transport has room again. Errors: ConnectionError where it is gone."""
        ...


def text_frame(payload: bytes) -> Frame:
    """An unmasked WebSocket text frame.

    Source: RFC 6455 section 5.1, a server does not mask.
    """
    size = len(payload)
    if size <= _LENGTH_7:
        return bytes((_TEXT, size)) + payload
    if size < 65536:
        return (_HEAD_16 | size).to_bytes(4, "big") + payload
    return bytes((_TEXT, _LENGTH_64)) + size.to_bytes(8, "big") + payload


def payload_of(frame: Frame) -> bytes:
    """What `text_frame` was given."""
    length = frame[1]
    if length <= _LENGTH_7:
        return frame[2:]
    return frame[4:] if length == _LENGTH_16 else frame[10:]


class _LastFrame:
    """The packet framed last: one position goes to many watchers, one after the other."""

    __slots__ = ("frame", "packet")

    def __init__(self) -> None:
        self.packet = b""
        self.frame: Frame = b""


_last_frame = _LastFrame()


def cached_text_frame(packet: bytes) -> Frame:
    """A packet in a WebSocket frame; made once for all who get it one after the other."""
    if packet is not _last_frame.packet:
        _last_frame.frame = text_frame(packet)
        _last_frame.packet = packet
    return _last_frame.frame


class SendBuffer:
    """What one connection is told.

    While the client reads, frames go straight to the transport. While it does not, and between
    two polls of a client without WebSocket, they wait here: the newest of each position, and up
    to 256 packets or 256 KiB of everything else; then `on_overflow` ends the connection.
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
        # Most connections never have to wait for their client; they hold no queue.
        self._pending_frames: deque[Frame] | None = None
        self._latest_positions: dict[bytes, Frame] | None = None
        self._pending_bytes = 0
        self._drain_task: asyncio.Task[None] | None = None
        self._poll_waiter: asyncio.Future[None] | None = None
        self.is_closed = False

    def attach_transport(self, frame_transport: FrameTransport) -> None:
        """From now on write to a WebSocket; what waited goes out first."""
        self._frame_transport = frame_transport
        self._flush()
        if not self.is_empty:
            self._start_drain()

    def send(self, frame: Frame) -> None:
        """Send one text frame, or keep it until the client reads again."""
        line = self._frame_transport
        if line is None or self._drain_task is not None or line.is_writing_paused:
            if not self.is_closed:
                self._enqueue(frame)
            return
        transport = line.transport
        if transport is not None and not transport.is_closing():
            transport.write(frame)

    def close(self) -> None:
        """Forget what waits, and send nothing more."""
        self.is_closed = True
        # Each of these knows the connection that owns this pipe.
        self._frame_transport = None
        self._on_overflow = _ignore_overflow
        self._pending_frames = self._latest_positions = None
        self._pending_bytes = 0
        if self._drain_task is not None:
            self._drain_task.cancel()
        self.release_poll()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._pending_frames and not self._latest_positions

    @property
    def is_polled(self) -> bool:
        """Whether a poll waits for something to be told."""
        return self._poll_waiter is not None

    async def poll(self) -> list[bytes]:
        """Wait until there is something to tell, and take all of it; for long polling."""
        if self.is_empty and not self.is_closed:
            self._poll_waiter = asyncio.get_running_loop().create_future()
            try:
                await self._poll_waiter
            finally:
                self._poll_waiter = None
        taken = [payload_of(frame) for frame in self._pending_frames or ()]
        taken += [payload_of(frame) for frame in (self._latest_positions or {}).values()]
        self._pending_frames = self._latest_positions = None
        self._pending_bytes = 0
        return taken

    def release_poll(self) -> None:
        """Let a waiting poll go, even with nothing to tell."""
        if self._poll_waiter is not None and not self._poll_waiter.done():
            self._poll_waiter.set_result(None)

    def _enqueue(self, frame: Frame) -> None:
        key = _position_key(frame)
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
        """Write what waits as fast as the client reads; ends the connection of one that stands."""
        try:
            while not self.is_empty:
                async with asyncio.timeout(self._write_timeout_s):
                    assert self._frame_transport is not None, "a pump begins with a WebSocket"
                    await self._frame_transport.drain()
                self._flush()
        except TimeoutError:
            self._drain_task = None
            self._on_overflow()
        except ConnectionError:
            # The reading side learns of it too and ends the connection.
            return
        finally:
            self._drain_task = None

    def _flush(self) -> None:
        line = self._frame_transport
        assert line is not None, "there is a WebSocket to write to"
        while not self.is_empty and not line.is_writing_paused:
            transport = line.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError
            frame = self._next_frame()
            self._pending_bytes -= len(frame)
            transport.write(frame)

    def _next_frame(self) -> Frame:
        # Events before positions: they are older, and there will be newer positions.
        if self._pending_frames:
            return self._pending_frames.popleft()
        assert self._latest_positions, "something waits"
        return self._latest_positions.pop(next(iter(self._latest_positions)))


def _ignore_overflow() -> None:
    """The end of a connection that has ended."""


def _position_key(frame: Frame) -> bytes | None:
    """What a coalescible packet is about: everything up to the end of its first field.

    Shapes: `4/user,["rider_location_update",{"orderId":"ord_1",…` gives the part before the `,…`.
    """
    start = frame.find(b'["', 0, 32)
    end = frame.find(b'"', start + 2, start + 34)
    if start < 0 or frame[start + 2 : end] not in COALESCIBLE:
        return None
    return payload_of(frame[: frame.find(b",", end + 2)])


@lru_cache(_COUNTERS_CACHED_MAX)
def _sent_counter(event: bytes) -> Counter:
    """How many such events were sent; looking it up costs more than counting."""
    return metrics.EVENTS_SENT.labels(event.decode())


class SocketSender:
    """The way out to one socket: one namespace of one connection."""

    __slots__ = ("_last_ack_id", "_pending_acks", "_send_buffer")

    def __init__(self, send_buffer: SendBuffer) -> None:
        self._send_buffer = send_buffer
        self._pending_acks: dict[int, Callable[[], None]] = {}
        self._last_ack_id = 0

    def send_event(self, packet: bytes) -> None:
        """Send an encoded event (`dispatch.wire.frames`); never blocks, never raises."""
        self._send_buffer.send(cached_text_frame(packet))
        start = packet.index(b'["') + 2
        _sent_counter(packet[start : packet.index(b'"', start)]).inc()

    def send_position(self, packet: bytes) -> None:
        """The same for a position, of which there are thousands a second, at the end of the turn.

        They are counted where they are relayed (`reeyo_fixes_relayed_total`).
        """
        self._send_buffer.read_batch.add_write(self._send_buffer, cached_text_frame(packet))

    def send_with_ack(
        self, name: str, namespace: str, body: bytes, on_ack: Callable[[], None]
    ) -> None:
        """Send an event; `on_ack` is called once, when the client says that it has it."""
        self._last_ack_id += 1
        self._pending_acks[self._last_ack_id] = on_ack
        if len(self._pending_acks) > ACKS_MAX:
            del self._pending_acks[next(iter(self._pending_acks))]
            metrics.EVENTS_DROPPED.labels("ack_forgotten").inc()
        self.send_event(frames.encode_packet(namespace, name, body, self._last_ack_id))

    def resolve_ack(self, ack_id: int) -> bool:
        """Call back for one acknowledgement; False where nobody waits for it (any more)."""
        on_ack = self._pending_acks.pop(ack_id, None)
        if on_ack is None:
            return False
        on_ack()
        return True
