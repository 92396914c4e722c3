"""WebSocket frame reader: bytes in, texts and control frames out; strict, and without I/O."""

from collections.abc import Callable

# Private name of aiohttp, in C; docs/library-internals.md names the test that holds it.
from aiohttp._websocket.helpers import websocket_mask

from handlers.websocket.rfc6455 import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL_BYTES_MAX,
    FIN,
    INVALID_PAYLOAD,
    LENGTH_16,
    LENGTH_16_MAX,
    LENGTH_64_MAX,
    LENGTH_MASK,
    MASK_BIT,
    MESSAGE_TOO_BIG,
    OPCODE_MASK,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    UNSUPPORTED_DATA,
)

# First bytes a client may send: no reserved bit is set, since no extension was negotiated, and
# control frames are never fragmented. Source: RFC 6455 sections 5.2 and 5.5.
_FIRST_BYTES = frozenset(
    {*(FIN | opcode for opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))}
    | {CONTINUATION, TEXT, BINARY}
)
_UNFRAGMENTED_TEXT = FIN | TEXT

# Frames of one client that are handled before other clients get the event loop. Source: measured
# 2026-11-21; one read brings 256 KiB and so thousands of frames; a command that reads DynamoDB
# takes some five ticks of the loop, and beside a hundred flooding clients a tick of 128 frames
# each took half a second.
FRAMES_PER_TICK = 16


class ProtocolViolation(Exception):
    """The client broke the protocol or exceeded a limit; the connection cannot be read further.

    `code` is the status code for the close frame. Source: RFC 6455 section 7.4.1.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def ignore_text(_text: str) -> None:
    """Discard a text: the handler before a session begins and after it has ended."""


class FrameReader:
    """Incremental reader of one client's frames.

    `on_text` is called with each complete text message, in the order of arrival. Kept in memory:
    at most one incomplete frame and one incomplete message, each bounded by `message_bytes_max`,
    and the rest of the last read where the client sent more than `FRAMES_PER_TICK` frames.

    Units: `message_bytes_max` in bytes of payload.
    """

    __slots__ = (
        "_fragments",
        "_message_bytes_max",
        "_unread",
        "has_unread_frames",
        "is_discarding",
        "on_text",
    )

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._unread = b""
        self._fragments: bytearray | None = None
        self.on_text: Callable[[str], object] = ignore_text
        # All further input is discarded.
        self.is_discarding = False
        # Complete frames are left; `feed(b"")` reads on.
        self.has_unread_frames = False

    @property
    def unread_bytes(self) -> int:
        """Input kept for the next `feed`. Units: bytes."""
        return len(self._unread)

    @property
    def fragment_bytes(self) -> int:
        """Payload kept of an incomplete message. Units: bytes."""
        return len(self._fragments or b"")

    def on_control(self, opcode: int, payload: bytes) -> None:
        """Handle a PING, PONG or CLOSE frame. Errors: ProtocolViolation."""
        raise NotImplementedError

    def on_fragment(self) -> None:
        """Handle the arrival of a fragment of a message, which may be empty."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Read input up to its last complete frame, and at most `FRAMES_PER_TICK` frames.

        Shapes: any piece of the byte stream; frames need not begin or end with it.
        Errors: ProtocolViolation; frames before the violation have been handled.
        """
        if self._unread:
            data = self._unread + data
            self._unread = b""
        at, size, left = 0, len(data), FRAMES_PER_TICK
        while at + 2 <= size and left and not self.is_discarding:
            left -= 1
            first, second = data[at], data[at + 1]
            is_plain = (
                first == _UNFRAGMENTED_TEXT and second >= MASK_BIT and self._fragments is None
            )
            if not is_plain:
                self._check_header(first, second)
            length, start = second & LENGTH_MASK, at + 6
            if length >= LENGTH_16:
                start += 2 if length == LENGTH_16 else 8
                if start > size:
                    break
                length = _extended_length(data[at + 2 : start - 4])
            if length > self._message_bytes_max:
                raise ProtocolViolation(MESSAGE_TOO_BIG)
            end = start + length
            if end > size:
                break
            payload = bytearray(data[start:end])
            websocket_mask(data[start - 4 : start], payload)
            at = end
            if is_plain:
                self.on_text(_decode_text(payload))
            else:
                self._handle_frame(first, payload)
        self.has_unread_frames = not left and at < size
        if at < size and not self.is_discarding:
            self._unread = data[at:]

    def discard_input(self) -> None:
        """Discard what is kept and all further input."""
        self.is_discarding = True
        self.on_text = ignore_text
        self._unread = b""
        self._fragments = None

    def _check_header(self, first: int, second: int) -> None:
        """Refuse a frame by its first two bytes. Source: RFC 6455 sections 5.1 to 5.5."""
        opcode, length = first & OPCODE_MASK, second & LENGTH_MASK
        if first not in _FIRST_BYTES or second < MASK_BIT:
            raise ProtocolViolation(PROTOCOL_ERROR)
        if opcode >= CLOSE:
            if length > CONTROL_BYTES_MAX:
                raise ProtocolViolation(PROTOCOL_ERROR)
        elif opcode == BINARY:
            raise ProtocolViolation(UNSUPPORTED_DATA)
        elif (opcode == CONTINUATION) is (self._fragments is None):
            # A continuation without a first fragment, or a new message inside a fragmented one.
            raise ProtocolViolation(PROTOCOL_ERROR)

    def _handle_frame(self, first: int, payload: bytearray) -> None:
        opcode = first & OPCODE_MASK
        if opcode >= CLOSE:
            self.on_control(opcode, bytes(payload))
            return
        self.on_fragment()
        if self._fragments is None:
            self._fragments = bytearray()
        self._fragments += payload
        if len(self._fragments) > self._message_bytes_max:
            raise ProtocolViolation(MESSAGE_TOO_BIG)
        if first & FIN:
            message, self._fragments = self._fragments, None
            self.on_text(_decode_text(message))


def _extended_length(length_bytes: bytes) -> int:
    """Decode a length of 16 or 64 bits, which must be the shortest encoding of its value.

    Source: RFC 6455 section 5.2.
    """
    length = int.from_bytes(length_bytes, "big")
    if len(length_bytes) == 2:
        is_valid = length >= LENGTH_16
    else:
        is_valid = LENGTH_16_MAX < length <= LENGTH_64_MAX
    if not is_valid:
        raise ProtocolViolation(PROTOCOL_ERROR)
    return length


def _decode_text(payload: bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_PAYLOAD) from None
