"""Checks of request bodies: whether they read back as written, and whether they are refused."""

import msgspec

from dispatch.wire.http.base import Request


def reads_back(body: type[Request], raw: str) -> bool:
    """Whether encoding a decoded body and decoding it again gives the same."""
    decoded = msgspec.json.decode(raw, type=body)
    return msgspec.json.decode(msgspec.json.encode(decoded), type=body) == decoded


def is_refused(body: type[Request], raw: str) -> bool:
    """Whether the body's type refuses it."""
    try:
        msgspec.json.decode(raw, type=body)
    except msgspec.ValidationError:
        return True
    return False
