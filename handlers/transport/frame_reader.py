"""Reads a client's WebSocket frames, strictly; bytes in, texts and control frames out, no I/O."""

from collections.abc import Callable

# A private name of the pinned release, in C; test_frame_reader.py holds us to it.
from aiohttp._websocket.helpers import websocket_mask

# Source: RFC 6455 section 5.2, the first byte of a frame.
FIN, OPCODE_MASK = 0x80, 0x0F
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
# Not one of the reserved bits is set in these, for no extension was agreed upon.
_FIRST_BYTES = frozenset(
    {*(FIN | known for known in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))}
    | {CONTINUATION, TEXT, BINARY}
)
_UNFRAGMENTED_TEXT = FIN | TEXT
# The second byte: whether a frame is masked, and its length or how many bytes say it.
MASK_BIT, LENGTH_MASK, LENGTH_16, LENGTH_64 = 0x80, 0x7F, 126, 127
# Source: RFC 6455 section 5.5.
CONTROL_BYTES_MAX = 125

# Source: RFC 6455 section 7.4.1.
NORMAL_CLOSURE, PROTOCOL_ERROR, UNSUPPORTED_DATA, INVALID_PAYLOAD, MESSAGE_TOO_BIG = (
    1000,
    1002,
    1003,
    1007,
    1009,
)


# Frames of one client that are handled before the others have their turn. Source: measured, a read
# brings 256 KiB and so thousands of them; a command that asks the table takes some five turns of
# the loop, and beside a hundred who flood a turn of 128 frames each took half a second.
FRAMES_PER_TICK = 16


class ProtocolViolation(Exception):
    """The client does not keep to the protocol, or to our limits; nothing more can be read.

    `code` is for the closing frame. Source: RFC 6455 section 7.4.1.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def ignore_text(_text: str) -> None:
    """Nobody listens, before a connection begins and after its end."""


class FrameReader:
    """What has been read of one connection.

    `hear` is told each whole text with its last byte, in the order of arrival. Only the beginning
    of one frame and of one message is kept, and neither exceeds the longest message; and of one who
    sends more than his share at once, the rest of a read.
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
        # Whatever comes now is thrown away.
        self.is_discarding = False
        # There are whole frames left, for `feed(b"")`.
        self.has_unread_frames = False

    def on_control(self, opcode: int, payload: bytes) -> None:
        """A PING, PONG or CLOSE came. Errors: Broken."""
        raise NotImplementedError

    def on_fragment(self) -> None:
        """A part of a message came, which may be of no bytes."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Read as far as the bytes go, and no more frames than one may have at once.

        Errors: Broken.
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
        """Hear nothing more, and hold nothing of it."""
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
            # A message that never began goes on, or another one begins inside it.
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
            whole, self._fragments = self._fragments, None
            self.on_text(_decode_text(whole))


def _extended_length(length_bytes: bytes) -> int:
    """A length of 16 or 64 bits. Source: RFC 6455 section 5.2, as short as can be."""
    length = int.from_bytes(length_bytes, "big")
    if length < LENGTH_16 if len(length_bytes) == 2 else not 0xFFFF < length < 1 << 63:
        raise ProtocolViolation(PROTOCOL_ERROR)
    return length


def _decode_text(payload: bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_PAYLOAD) from None
