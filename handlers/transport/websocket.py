"""Our end of a WebSocket on its TCP connection: pings, goodbyes, and whether the client reads."""

import asyncio
from collections.abc import Callable
from typing import cast

from handlers.transport.frame_reader import (
    CLOSE,
    FIN,
    INVALID_PAYLOAD,
    MESSAGE_TOO_BIG,
    NORMAL_CLOSURE,
    PING,
    PONG,
    PROTOCOL_ERROR,
    UNSUPPORTED_DATA,
    FrameReader,
    ProtocolViolation,
    ignore_text,
)
from handlers.transport.read_batch import ReadBatch

# How long somebody who has ended the conversation may take to read what he was told before.
LINGER_S = 2.0
# Codes that may be sent, beside those that are free. Source: RFC 6455 section 7.4 and the
# registry of IANA that it founded.
_REGISTERED_CLOSE_CODES = frozenset(
    {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
)
_APPLICATION_CLOSE_CODES = range(3000, 5000)
# Why a connection ends, for logs and counters.
_VIOLATION_REASONS = {UNSUPPORTED_DATA: "binary", MESSAGE_TOO_BIG: "oversized"}


class WebSocket(FrameReader, asyncio.Protocol):
    """One WebSocket, from after its handshake until its TCP connection is gone.

    Texts are handled in the turn in which they were read: nothing waits for a task, so that nothing
    has to be bounded but the one message that has begun. `ended` is told once why no more will
    come.
    """

    __slots__ = (
        "_abort_timer",
        "_closed_waiter",
        "_drain_waiter",
        "_read_batch",
        "is_writing_paused",
        "on_end",
        "on_overhead_frame",
        "transport",
    )  # fmt: skip

    def __init__(self, message_bytes_max: int, read_batch: ReadBatch) -> None:
        super().__init__(message_bytes_max)
        self._read_batch = read_batch
        self.on_end: Callable[[str], object] = _ignore_end
        # Told of each frame that no app sends in numbers: pings, pongs, parts of messages.
        self.on_overhead_frame: Callable[[], object] = _ignore_frame
        self.transport: asyncio.Transport | None = None
        self.is_writing_paused = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._closed_waiter: asyncio.Future[None] | None = None

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ours."""
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        self._read_batch.add_read(self, data)

    def pause_writing(self) -> None:
        """The transport holds more than its high-water mark."""
        self.is_writing_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self.is_writing_paused = False
        _wake(self._drain_waiter)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; whoever waits for it goes on."""
        # However it went, it is gone.
        _ = exc
        self.transport = None
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        _wake(self._drain_waiter)
        _wake(self._closed_waiter)
        self._finish("transport_closed")

    # What the turn calls.

    def consume(self, data: bytes) -> None:
        """Read; a client that breaks the protocol is told so and cut."""
        is_whole = False
        try:
            self.feed(data)
            is_whole = True
        except ProtocolViolation as broken:
            self._send_close(broken.code)
            self._finish(_VIOLATION_REASONS.get(broken.code, "malformed"))
            return
        finally:
            if not is_whole and not self.is_discarding:
                # A bug of ours: where in his words we stopped is not known.
                self.abort()
        if self.has_unread_frames:
            self._yield_to_other_clients()

    def _yield_to_other_clients(self) -> None:
        """Let the others be heard before the rest of what this one has sent."""
        transport = self.transport
        if transport is None or transport.is_closing() or self.is_discarding:
            return
        # It closes what is read from now on, not what was: its goodbye waits as well.
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.resume_reading()
        self.consume(b"")

    # What its connection calls.

    async def drain(self) -> None:
        """Return when the client reads. Errors: ConnectionError where it is gone."""
        if self.transport is not None and self.is_writing_paused:
            self._drain_waiter = asyncio.get_running_loop().create_future()
            await self._drain_waiter
        if self.transport is None:
            raise ConnectionResetError

    def close(self, timeout_s: float) -> None:
        """Say goodbye, and wait for the client's before the connection is closed.

        Source: RFC 6455 section 7.1.1, the server closes after both have said so.
        """
        if self.transport is None or self.transport.is_closing():
            return
        self.on_text = ignore_text
        self._send_close(NORMAL_CLOSURE)
        self._abort_timer = asyncio.get_running_loop().call_later(timeout_s, self.abort)

    def abort(self) -> None:
        """Throw the connection away, with what the client has not read."""
        if self.transport is not None:
            self.transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        if self.transport is not None:
            self._closed_waiter = self._closed_waiter or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._closed_waiter)

    # What the client says beside texts.

    def on_control(self, opcode: int, payload: bytes) -> None:
        """Answer a ping or a goodbye. Errors: Broken."""
        self.on_overhead_frame()
        if opcode == PING:
            self.write_short_frame(PONG, payload)
        elif opcode == CLOSE:
            self._send_close(_close_code(payload))
            self._finish("transport_closed")

    def on_fragment(self) -> None:
        """It may be one of a million without a byte."""
        self.on_overhead_frame()

    def _send_close(self, code: int) -> None:
        # Where we have said it, this would be the answer to an answer.
        if self._abort_timer is None:
            self.write_short_frame(CLOSE, code.to_bytes(2, "big"))

    def write_short_frame(self, opcode: int, payload: bytes) -> None:
        """Send a frame of at most 125 bytes; one who does not read has no use for it."""
        transport = self.transport
        if transport is not None and not self.is_writing_paused and not transport.is_closing():
            transport.write(bytes((FIN | opcode, len(payload))) + payload)

    def _finish(self, reason: str) -> None:
        """Nothing more is heard; what was written before goes out."""
        self.discard_input()
        if self.transport is not None:
            self.transport.close()
            if self._abort_timer is None:
                # Whoever does not read would hold the connection for as long as he likes.
                self._abort_timer = asyncio.get_running_loop().call_later(LINGER_S, self.abort)
        # Each of the two knows the other.
        ended, self.on_end = self.on_end, _ignore_end
        self.on_overhead_frame = _ignore_frame
        ended(reason)


def _close_code(payload: bytes) -> int:
    """The code to answer a goodbye with. Errors: Broken. Source: RFC 6455 section 5.5.1."""
    if not payload:
        return NORMAL_CLOSURE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (
        code in _REGISTERED_CLOSE_CODES or code in _APPLICATION_CLOSE_CODES
    ):
        raise ProtocolViolation(PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_PAYLOAD) from None
    return code


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _ignore_frame() -> None:
    """A connection whose frames are nobody's yet, or no more."""


def _ignore_end(_reason: str) -> None:
    """A connection that nobody has opened, or whose end was told."""
