"""The way out to one client: bounded, and without task or await while the client reads."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from prometheus_client import Counter

from dispatch import metrics
from dispatch.wire import frames
from handlers.transport.read_batch import Turn

# Source: reliability design, hole 3 of the stock stack.
PACKETS_MAX = 256
BYTES_MAX = 256 * 1024
# Events that hold a whole truth of their own, so that a newer one makes the older needless.
COALESCIBLE = frozenset({b"rider_location_update", b"eta_update"})
# Acknowledgements one socket may owe; a rider is offered one order at a time.
ACKS_MAX = 64
# Events that are counted; there are some forty.
_NAMES_KEPT = 256

# Source: RFC 6455 section 5.2, FIN with opcode 1 (text); lengths of 7, 16 and 64 bits.
_TEXT = 0x81
_LENGTH_7, _LENGTH_16, _LENGTH_64 = 125, 126, 127
# Most frames are of this kind; the length is added.
_HEAD_16 = _TEXT << 24 | _LENGTH_16 << 16

Frame = bytes


class Line(Protocol):
    """What the pipe asks of a WebSocket."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """The TCP connection, None once it is gone."""
        ...

    @property
    def writing_paused(self) -> bool:
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


class _Latest:
    """The packet framed last: one position goes to many watchers, one after the other."""

    __slots__ = ("frame", "packet")

    def __init__(self) -> None:
        self.packet = b""
        self.frame: Frame = b""


_latest = _Latest()


def framed(packet: bytes) -> Frame:
    """A packet in a WebSocket frame; made once for all who get it one after the other."""
    if packet is not _latest.packet:
        _latest.frame = text_frame(packet)
        _latest.packet = packet
    return _latest.frame


class Pipe:
    """What one connection is told.

    While the client reads, frames go straight to the transport. While it does not, and between
    two polls of a client without WebSocket, they wait here: the newest of each position, and up
    to 256 packets or 256 KiB of everything else; then `on_overflow` ends the connection.
    """

    __slots__ = (
        "_bytes", "_latest", "_line", "_on_overflow", "_poller", "_pump", "_stuck_s", "_waiting",
        "closed", "turn",
    )  # fmt: skip

    def __init__(self, on_overflow: Callable[[], None], stuck_s: float, turn: Turn) -> None:
        self.turn = turn
        self._on_overflow = on_overflow
        self._stuck_s = stuck_s
        self._line: Line | None = None
        # Most connections never have to wait for their client; they hold no queue.
        self._waiting: deque[Frame] | None = None
        self._latest: dict[bytes, Frame] | None = None
        self._bytes = 0
        self._pump: asyncio.Task[None] | None = None
        self._poller: asyncio.Future[None] | None = None
        self.closed = False

    def open(self, line: Line) -> None:
        """From now on write to a WebSocket; what waited goes out first."""
        self._line = line
        self._flush()
        if not self.is_empty:
            self._start_pump()

    def send(self, frame: Frame) -> None:
        """Send one text frame, or keep it until the client reads again."""
        line = self._line
        if line is None or self._pump is not None or line.writing_paused:
            if not self.closed:
                self._hold(frame)
            return
        transport = line.transport
        if transport is not None and not transport.is_closing():
            transport.write(frame)

    def close(self) -> None:
        """Forget what waits, and send nothing more."""
        self.closed = True
        # Each of these knows the connection that owns this pipe.
        self._line = None
        self._on_overflow = _ignore
        self._waiting = self._latest = None
        self._bytes = 0
        if self._pump is not None:
            self._pump.cancel()
        self.release()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting and not self._latest

    @property
    def is_polled(self) -> bool:
        """Whether a poll waits for something to be told."""
        return self._poller is not None

    async def poll(self) -> list[bytes]:
        """Wait until there is something to tell, and take all of it; for long polling."""
        if self.is_empty and not self.closed:
            self._poller = asyncio.get_running_loop().create_future()
            try:
                await self._poller
            finally:
                self._poller = None
        taken = [payload_of(frame) for frame in self._waiting or ()]
        taken += [payload_of(frame) for frame in (self._latest or {}).values()]
        self._waiting = self._latest = None
        self._bytes = 0
        return taken

    def release(self) -> None:
        """Let a waiting poll go, even with nothing to tell."""
        if self._poller is not None and not self._poller.done():
            self._poller.set_result(None)

    def _hold(self, frame: Frame) -> None:
        key = _position_key(frame)
        if key is not None:
            self._hold_latest(key, frame)
        elif not self.is_empty and self._is_full(frame):
            self._on_overflow()
            return
        else:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(frame)
            self._bytes += len(frame)
        self.release()
        if self._line is not None and self._pump is None:
            self._start_pump()

    def _hold_latest(self, key: bytes, frame: Frame) -> None:
        if self._latest is None:
            self._latest = {}
        older = self._latest.pop(key, b"")
        self._bytes -= len(older)
        if older:
            metrics.EVENTS_DROPPED.labels("superseded").inc()
        if self._is_full(frame):
            metrics.EVENTS_DROPPED.labels("slow_reader").inc()
            return
        self._latest[key] = frame
        self._bytes += len(frame)

    def _is_full(self, frame: Frame) -> bool:
        count = len(self._waiting or ()) + len(self._latest or ())
        return count >= PACKETS_MAX or self._bytes + len(frame) > BYTES_MAX

    def _start_pump(self) -> None:
        self._pump = asyncio.get_running_loop().create_task(self._drain_waiting())

    async def _drain_waiting(self) -> None:
        """Write what waits as fast as the client reads; ends the connection of one that stands."""
        try:
            while not self.is_empty:
                async with asyncio.timeout(self._stuck_s):
                    assert self._line is not None, "a pump begins with a WebSocket"
                    await self._line.drain()
                self._flush()
        except TimeoutError:
            self._pump = None
            self._on_overflow()
        except ConnectionError:
            # The reading side learns of it too and ends the connection.
            return
        finally:
            self._pump = None

    def _flush(self) -> None:
        line = self._line
        assert line is not None, "there is a WebSocket to write to"
        while not self.is_empty and not line.writing_paused:
            transport = line.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError
            frame = self._next()
            self._bytes -= len(frame)
            transport.write(frame)

    def _next(self) -> Frame:
        # Events before positions: they are older, and there will be newer positions.
        if self._waiting:
            return self._waiting.popleft()
        assert self._latest, "something waits"
        return self._latest.pop(next(iter(self._latest)))


def _ignore() -> None:
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


@lru_cache(_NAMES_KEPT)
def _counter(event: bytes) -> Counter:
    """How many such events were sent; looking it up costs more than counting."""
    return metrics.EVENTS_SENT.labels(event.decode())


class Outlet:
    """The way out to one socket: one namespace of one connection."""

    __slots__ = ("_acks", "_last_ack_id", "_pipe")

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._acks: dict[int, Callable[[], None]] = {}
        self._last_ack_id = 0

    def tell(self, packet: bytes) -> None:
        """Send an encoded event (`dispatch.wire.frames`); never blocks, never raises."""
        self._pipe.send(framed(packet))
        start = packet.index(b'["') + 2
        _counter(packet[start : packet.index(b'"', start)]).inc()

    def show(self, packet: bytes) -> None:
        """The same for a position, of which there are thousands a second, at the end of the turn.

        They are counted where they are relayed (`reeyo_fixes_relayed_total`).
        """
        self._pipe.turn.write(self._pipe, framed(packet))

    def tell_with_ack(
        self, name: str, namespace: str, body: bytes, on_ack: Callable[[], None]
    ) -> None:
        """Send an event; `on_ack` is called once, when the client says that it has it."""
        self._last_ack_id += 1
        self._acks[self._last_ack_id] = on_ack
        if len(self._acks) > ACKS_MAX:
            del self._acks[next(iter(self._acks))]
            metrics.EVENTS_DROPPED.labels("ack_forgotten").inc()
        self.tell(frames.packet(namespace, name, body, self._last_ack_id))

    def acknowledged(self, ack_id: int) -> bool:
        """Call back for one acknowledgement; False where nobody waits for it (any more)."""
        on_ack = self._acks.pop(ack_id, None)
        if on_ack is None:
            return False
        on_ack()
        return True
