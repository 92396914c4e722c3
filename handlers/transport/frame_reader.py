"""Reads a client's WebSocket frames, strictly; bytes in, texts and control frames out, no I/O."""

from collections.abc import Callable

# A private name of the pinned release, in C; test_frame_reader.py holds us to it.
from aiohttp._websocket.helpers import websocket_mask

# Source: RFC 6455 section 5.2, the first byte of a frame.
FIN, OPCODE = 0x80, 0x0F
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
# Not one of the reserved bits is set in these, for no extension was agreed upon.
_FIRST_BYTES = frozenset(
    {*(FIN | known for known in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))}
    | {CONTINUATION, TEXT, BINARY}
)
_WHOLE_TEXT = FIN | TEXT
# The second byte: whether a frame is masked, and its length or how many bytes say it.
MASKED, LENGTH, LENGTH_16, LENGTH_64 = 0x80, 0x7F, 126, 127
# Source: RFC 6455 section 5.5.
CONTROL_BYTES_MAX = 125

# Source: RFC 6455 section 7.4.1.
NORMAL, PROTOCOL_ERROR, UNSUPPORTED, NOT_TEXT, TOO_BIG = 1000, 1002, 1003, 1007, 1009


# Frames of one client that are handled before the others have their turn. Source: measured, a read
# brings 256 KiB and so thousands of them; a command that asks the table takes some five turns of
# the loop, and beside a hundred who flood a turn of 128 frames each took half a second.
FRAMES_AT_ONCE = 16


class Broken(Exception):
    """The client does not keep to the protocol, or to our limits; nothing more can be read.

    `code` is for the closing frame. Source: RFC 6455 section 7.4.1.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def deaf(_text: str) -> None:
    """Nobody listens, before a connection begins and after its end."""


class Reader:
    """What has been read of one connection.

    `hear` is told each whole text with its last byte, in the order of arrival. Only the beginning
    of one frame and of one message is kept, and neither exceeds the longest message; and of one who
    sends more than his share at once, the rest of a read.
    """

    __slots__ = ("_fragments", "_message_bytes_max", "_rest", "hear", "is_behind", "is_deaf")

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._rest = b""
        self._fragments: bytearray | None = None
        self.hear: Callable[[str], object] = deaf
        # Whatever comes now is thrown away.
        self.is_deaf = False
        # There are whole frames left, for `feed(b"")`.
        self.is_behind = False

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
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, size, left = 0, len(data), FRAMES_AT_ONCE
        while at + 2 <= size and left and not self.is_deaf:
            left -= 1
            first, second = data[at], data[at + 1]
            is_plain = first == _WHOLE_TEXT and second >= MASKED and self._fragments is None
            if not is_plain:
                self._check(first, second)
            length, start = second & LENGTH, at + 6
            if length >= LENGTH_16:
                start += 2 if length == LENGTH_16 else 8
                if start > size:
                    break
                length = _long(data[at + 2 : start - 4])
            if length > self._message_bytes_max:
                raise Broken(TOO_BIG)
            end = start + length
            if end > size:
                break
            payload = bytearray(data[start:end])
            websocket_mask(data[start - 4 : start], payload)
            at = end
            if is_plain:
                self.hear(_text(payload))
            else:
                self._take(first, payload)
        self.is_behind = not left and at < size
        if at < size and not self.is_deaf:
            self._rest = data[at:]

    def forget(self) -> None:
        """Hear nothing more, and hold nothing of it."""
        self.is_deaf = True
        self.hear = deaf
        self._rest = b""
        self._fragments = None

    def _check(self, first: int, second: int) -> None:
        """Refuse a frame by its first two bytes. Source: RFC 6455 sections 5.1 to 5.5."""
        opcode, length = first & OPCODE, second & LENGTH
        if first not in _FIRST_BYTES or second < MASKED:
            raise Broken(PROTOCOL_ERROR)
        if opcode >= CLOSE:
            if length > CONTROL_BYTES_MAX:
                raise Broken(PROTOCOL_ERROR)
        elif opcode == BINARY:
            raise Broken(UNSUPPORTED)
        elif (opcode == CONTINUATION) is (self._fragments is None):
            # A message that never began goes on, or another one begins inside it.
            raise Broken(PROTOCOL_ERROR)

    def _take(self, first: int, payload: bytearray) -> None:
        opcode = first & OPCODE
        if opcode >= CLOSE:
            self.on_control(opcode, bytes(payload))
            return
        self.on_fragment()
        if self._fragments is None:
            self._fragments = bytearray()
        self._fragments += payload
        if len(self._fragments) > self._message_bytes_max:
            raise Broken(TOO_BIG)
        if first & FIN:
            whole, self._fragments = self._fragments, None
            self.hear(_text(whole))


def _long(written: bytes) -> int:
    """A length of 16 or 64 bits. Source: RFC 6455 section 5.2, as short as can be."""
    length = int.from_bytes(written, "big")
    if length < LENGTH_16 if len(written) == 2 else not 0xFFFF < length < 1 << 63:
        raise Broken(PROTOCOL_ERROR)
    return length


def _text(payload: bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Broken(NOT_TEXT) from None
