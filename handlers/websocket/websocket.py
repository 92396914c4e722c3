"""WebSocket protocol on a TCP connection: pongs, the closing handshake, write backpressure."""

import asyncio
from collections.abc import Callable
from typing import cast

from handlers.websocket.frame_reader import FrameReader, ProtocolViolation, ignore_text
from handlers.websocket.read_batch import ReadBatch
from handlers.websocket.rfc6455 import (
    APPLICATION_CLOSE_CODES,
    CLOSE,
    FIN,
    INVALID_PAYLOAD,
    MESSAGE_TOO_BIG,
    NORMAL_CLOSURE,
    PING,
    PONG,
    PROTOCOL_ERROR,
    REGISTERED_CLOSE_CODES,
    UNSUPPORTED_DATA,
)

# How long a client that is being disconnected may take to read what was written before.
# Source: chosen; a reading client needs one round trip.
LINGER_S = 2.0
# Why a connection ends, for logs and metrics; every other code is "malformed".
_VIOLATION_REASONS = {UNSUPPORTED_DATA: "binary", MESSAGE_TOO_BIG: "oversized"}
# The same in the words of the close frame.
_VIOLATION_TEXTS = {
    PROTOCOL_ERROR: "a frame breaks RFC 6455",
    UNSUPPORTED_DATA: "binary frames are not supported; send JSON as text",
    INVALID_PAYLOAD: "a text is not UTF-8",
    MESSAGE_TOO_BIG: "a message is too long",
}


class WebSocket(FrameReader, asyncio.Protocol):
    """One WebSocket, from the end of its opening handshake until its TCP connection is lost.

    Texts are handled in the tick that read them, without a task or a queue, so that the only thing
    to be bounded is the one incomplete message. `on_end` is called once with the reason when no
    more texts will come.

    Units: `message_bytes_max` in bytes of payload; `linger_s` in seconds.
    """

    __slots__ = (
        "_abort_timer",
        "_closed_waiter",
        "_drain_waiter",
        "_linger_s",
        "_read_batch",
        "is_writing_paused",
        "on_end",
        "on_overhead_frame",
        "transport",
    )  # fmt: skip

    def __init__(
        self, message_bytes_max: int, read_batch: ReadBatch, linger_s: float = LINGER_S
    ) -> None:
        super().__init__(message_bytes_max)
        self._read_batch = read_batch
        self._linger_s = linger_s
        self.on_end: Callable[[str], object] = _ignore_end
        # Called for each frame that apps send rarely: pings, pongs and fragments.
        self.on_overhead_frame: Callable[[], object] = _ignore_frame
        self.transport: asyncio.Transport | None = None
        self.is_writing_paused = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._closed_waiter: asyncio.Future[None] | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the TCP connection."""
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Queue input for the read batch of this tick."""
        self._read_batch.add_read(self, data)

    def pause_writing(self) -> None:
        """Note that the transport holds more than its high-water mark."""
        self.is_writing_paused = True

    def resume_writing(self) -> None:
        """Wake the writer: the client reads again."""
        self.is_writing_paused = False
        _wake(self._drain_waiter)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the WebSocket and wake all waiters."""
        _ = exc
        self.transport = None
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        _wake(self._drain_waiter)
        _wake(self._closed_waiter)
        self._finish("transport_closed")

    # Called by the read batch.

    def consume(self, data: bytes) -> None:
        """Read frames; a protocol violation is answered with its close code and ends the socket."""
        is_complete = False
        try:
            self.feed(data)
            is_complete = True
        except ProtocolViolation as violation:
            self._send_close(violation.code, _VIOLATION_TEXTS.get(violation.code, ""))
            self._finish(_VIOLATION_REASONS.get(violation.code, "malformed"))
            return
        finally:
            if not is_complete and not self.is_discarding:
                # A handler raised: the reader's position in the stream is lost.
                self.abort()
        if self.has_unread_frames:
            self._yield_to_other_clients()

    def _yield_to_other_clients(self) -> None:
        """Handle the remaining frames of a long read in the next tick."""
        transport = self.transport
        if transport is None or transport.is_closing() or self.is_discarding:
            return
        # Input that is already buffered stays; also a close frame in it waits for the next tick.
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.resume_reading()
        self.consume(b"")

    # Called by the session.

    async def drain(self) -> None:
        """Wait until the client reads. Errors: ConnectionError once the connection is lost."""
        if self.transport is not None and self.is_writing_paused:
            self._drain_waiter = asyncio.get_running_loop().create_future()
            await self._drain_waiter
        if self.transport is None:
            raise ConnectionResetError

    def close(self, timeout_s: float, code: int = NORMAL_CLOSURE, text: str = "") -> None:
        """Send a close frame and wait for the client's; abort after `timeout_s` seconds.

        Shapes: `text` of at most 123 bytes.

        Source: RFC 6455 section 7.1.1: the server closes the TCP connection after both frames.
        """
        if self.transport is None or self.transport.is_closing():
            return
        self.on_text = ignore_text
        self._send_close(code, text)
        self._abort_timer = asyncio.get_running_loop().call_later(timeout_s, self.abort)

    def abort(self) -> None:
        """Drop the TCP connection together with what the client has not read."""
        if self.transport is not None:
            self.transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the TCP connection is lost."""
        if self.transport is not None:
            self._closed_waiter = self._closed_waiter or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._closed_waiter)

    # Called by the frame reader.

    def on_control(self, opcode: int, payload: bytes) -> None:
        """Answer a ping or a close frame. Errors: ProtocolViolation."""
        self.on_overhead_frame()
        if opcode == PING:
            self.write_short_frame(PONG, payload)
        elif opcode == CLOSE:
            self._send_close(_close_code(payload))
            self._finish("transport_closed")

    def on_fragment(self) -> None:
        """Count a fragment: a client may send any number of empty ones."""
        self.on_overhead_frame()

    def _send_close(self, code: int, text: str = "") -> None:
        # With the timer set, ours was sent by `close` and the client's is the answer to it.
        if self._abort_timer is None:
            self.write_short_frame(CLOSE, code.to_bytes(2, "big") + text.encode())

    def write_short_frame(self, opcode: int, payload: bytes) -> None:
        """Send a frame with at most 125 bytes of payload; skipped while the client does not read.

        Skipping bounds the pongs that wait for a client that pings and never reads.
        """
        transport = self.transport
        if transport is not None and not self.is_writing_paused and not transport.is_closing():
            transport.write(bytes((FIN | opcode, len(payload))) + payload)

    def _finish(self, reason: str) -> None:
        """Stop reading, let written data go out, and report the end once."""
        self.discard_input()
        if self.transport is not None:
            self.transport.close()
            if self._abort_timer is None:
                # A client that does not read would hold the connection for as long as it likes.
                self._abort_timer = asyncio.get_running_loop().call_later(
                    self._linger_s, self.abort
                )
        # The session and the socket refer to each other; without the cycle both are freed at once.
        on_end, self.on_end = self.on_end, _ignore_end
        self.on_overhead_frame = _ignore_frame
        on_end(reason)


def _close_code(payload: bytes) -> int:
    """Return the code to answer a close frame with.

    Errors: ProtocolViolation. Source: RFC 6455 section 5.5.1.
    """
    if not payload:
        return NORMAL_CLOSURE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in REGISTERED_CLOSE_CODES or code in APPLICATION_CLOSE_CODES):
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
    """Ignore an overhead frame: no session is attached."""


def _ignore_end(_reason: str) -> None:
    """Ignore the end: no session is attached, or it was reported."""
