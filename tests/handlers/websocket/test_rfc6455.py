"""The protocol's constants agree with each other and with an independent implementation."""

from aiohttp.http_websocket import WSCloseCode, WSMsgType

from handlers.websocket import rfc6455


def test_opcodes_and_close_codes_are_those_of_the_library():
    """The constants of aiohttp have the same values."""
    for name in ("CONTINUATION", "TEXT", "BINARY", "CLOSE", "PING", "PONG"):
        assert getattr(rfc6455, name) == WSMsgType[name].value
    assert rfc6455.NORMAL_CLOSURE == WSCloseCode.OK
    assert rfc6455.PROTOCOL_ERROR == WSCloseCode.PROTOCOL_ERROR
    assert rfc6455.UNSUPPORTED_DATA == WSCloseCode.UNSUPPORTED_DATA
    assert rfc6455.INVALID_PAYLOAD == WSCloseCode.INVALID_TEXT
    assert rfc6455.MESSAGE_TOO_BIG == WSCloseCode.MESSAGE_TOO_BIG


def test_header_fields_do_not_overlap():
    """FIN and opcode share the first byte, mask bit and length the second."""
    assert rfc6455.FIN & rfc6455.OPCODE_MASK == 0
    assert rfc6455.MASK_BIT | rfc6455.LENGTH_MASK == 0xFF
    assert rfc6455.MASK_BIT & rfc6455.LENGTH_MASK == 0
    assert rfc6455.LENGTH_7_MAX < rfc6455.LENGTH_16 < rfc6455.LENGTH_64 == rfc6455.LENGTH_MASK


def test_codes_reserved_for_local_use_are_not_sendable():
    """1005, 1006 and 1015 are never in a close frame. Source: RFC 6455 section 7.4.1."""
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000):
        assert code not in rfc6455.REGISTERED_CLOSE_CODES
        assert code not in rfc6455.APPLICATION_CLOSE_CODES
