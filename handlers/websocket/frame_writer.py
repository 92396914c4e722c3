"""Encodes the WebSocket text frames that the server sends."""

from handlers.websocket.rfc6455 import (
    FIN,
    LENGTH_7_MAX,
    LENGTH_16,
    LENGTH_16_MAX,
    LENGTH_64,
    TEXT,
)

_FIRST_BYTE = FIN | TEXT
# Header of a frame with a 16-bit length, the usual size of an event; the length is added to it.
_HEADER_16 = _FIRST_BYTE << 24 | LENGTH_16 << 16

Frame = bytes


def text_frame(payload: bytes) -> Frame:
    """Encode an unmasked, unfragmented text frame.

    Shapes: 0x81, the length in 1, 3 or 9 bytes, then the payload.
    Source: RFC 6455 section 5.1: a server does not mask; section 5.2.
    """
    size = len(payload)
    if size <= LENGTH_7_MAX:
        return bytes((_FIRST_BYTE, size)) + payload
    if size <= LENGTH_16_MAX:
        return (_HEADER_16 | size).to_bytes(4, "big") + payload
    return bytes((_FIRST_BYTE, LENGTH_64)) + size.to_bytes(8, "big") + payload


def payload_of(frame: Frame) -> bytes:
    """Return the payload that `text_frame` was given."""
    length = frame[1]
    if length <= LENGTH_7_MAX:
        return frame[2:]
    return frame[4:] if length == LENGTH_16 else frame[10:]


class _LastFrame:
    """The packet that was encoded last, and its frame."""

    __slots__ = ("frame", "packet")

    def __init__(self) -> None:
        self.packet = b""
        self.frame: Frame = b""


# Cache of one entry: a position is sent to all its watchers one after the other.
_last_frame = _LastFrame()


def cached_text_frame(packet: bytes) -> Frame:
    """Encode a packet once for receivers that get the same object one after the other."""
    if packet is not _last_frame.packet:
        _last_frame.frame = text_frame(packet)
        _last_frame.packet = packet
    return _last_frame.frame
