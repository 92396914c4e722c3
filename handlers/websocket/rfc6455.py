"""Constants of the WebSocket protocol, named as in RFC 6455."""

from typing import Final

# The first byte of a frame: the FIN bit, three reserved bits, the opcode.
# Source: RFC 6455 section 5.2.
FIN: Final = 0x80
OPCODE_MASK: Final = 0x0F
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

# The second byte: the mask bit and seven bits of length, which hold either the payload's length or
# one of two codes that say how many bytes of length follow. Source: RFC 6455 section 5.2.
MASK_BIT: Final = 0x80
LENGTH_MASK: Final = 0x7F
LENGTH_7_MAX: Final = 125
LENGTH_16: Final = 126
LENGTH_64: Final = 127
LENGTH_16_MAX: Final = 0xFFFF
LENGTH_64_MAX: Final = (1 << 63) - 1

# Longest payload of a control frame. Units: bytes. Source: RFC 6455 section 5.5.
CONTROL_BYTES_MAX: Final = 125

# Status codes of a close frame. Source: RFC 6455 section 7.4.1.
NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
INVALID_PAYLOAD: Final = 1007
POLICY_VIOLATION: Final = 1008
MESSAGE_TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011

# Status codes that an endpoint may send: the registered ones without those reserved for local use
# (1005, 1006, 1015), and those left to libraries and applications.
# Source: RFC 6455 section 7.4 and the IANA registry of WebSocket close codes.
REGISTERED_CLOSE_CODES: Final = frozenset(
    {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
)
APPLICATION_CLOSE_CODES: Final = range(3000, 5000)
