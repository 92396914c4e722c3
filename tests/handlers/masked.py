"""Frames as a client sends them. Source: RFC 6455 section 5.2."""

MASKING_KEY = b"\x37\xfa\x21\x3d"
FIN = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame_header(
    first_byte: int, length: int, *, masked: bool = True, length_size: int | None = None
) -> bytes:
    """The head of a frame; `size` says in how many bytes a longer length is written."""
    mask = 0x80 if masked else 0
    shortest = 0 if length <= 125 else 2 if length <= 0xFFFF else 8
    written = shortest if length_size is None else length_size
    word = {0: length, 2: 126, 8: 127}[written]
    key = MASKING_KEY if masked else b""
    return bytes((first_byte, mask | word)) + length.to_bytes(8, "big")[8 - written :] + key


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """A whole masked frame."""
    masked = bytes(byte ^ MASKING_KEY[at % 4] for at, byte in enumerate(payload))
    return frame_header((FIN if fin else 0) | opcode, len(payload)) + masked
