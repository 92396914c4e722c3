"""Checks of request bodies: whether they read back as written, and whether they are refused."""

import msgspec

from dispatch.wire.decoding import decode_json
from dispatch.wire.http.base import Request
from dispatch.wire.phones import PhoneNumbers, encode_phone

PHONES = PhoneNumbers("CM")


def decode(body: type[Request], raw: str | bytes) -> Request:
    """Decode a body as the endpoints do."""
    return decode_json(raw, body, PHONES.decode)


def reads_back(body: type[Request], raw: str) -> bool:
    """Whether encoding a decoded body and decoding it again gives the same."""
    decoded = decode(body, raw)
    return decode(body, msgspec.json.encode(decoded, enc_hook=encode_phone)) == decoded


def is_refused(body: type[Request], raw: str) -> bool:
    """Whether the body's type refuses it."""
    try:
        decode(body, raw)
    except msgspec.ValidationError:
        return True
    return False
