"""WebSocket frames as a client sends them. Source: RFC 6455 section 5.2."""

from handlers.websocket.rfc6455 import (
    FIN,
    LENGTH_7_MAX,
    LENGTH_16,
    LENGTH_16_MAX,
    LENGTH_64,
    MASK_BIT,
    TEXT,
)

MASKING_KEY = b"\x37\xfa\x21\x3d"


def frame_header(
    first_byte: int, length: int, *, masked: bool = True, length_size: int | None = None
) -> bytes:
    """Encode a frame's header, masking key included.

    `length_size` forces an extended length of 2 or 8 bytes, or none with 0. Units: bytes.
    """
    shortest = 0 if length <= LENGTH_7_MAX else 2 if length <= LENGTH_16_MAX else 8
    size = shortest if length_size is None else length_size
    code = {0: length, 2: LENGTH_16, 8: LENGTH_64}[size]
    key = MASKING_KEY if masked else b""
    second_byte = (MASK_BIT if masked else 0) | code
    return bytes((first_byte, second_byte)) + length.to_bytes(8, "big")[8 - size :] + key


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Encode a masked frame."""
    masked = bytes(byte ^ MASKING_KEY[at % 4] for at, byte in enumerate(payload))
    return frame_header((FIN if fin else 0) | opcode, len(payload)) + masked
