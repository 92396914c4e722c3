"""Socket.IO events as the bytes of Engine.IO messages, encoded once for all who get them.

Source: Socket.IO protocol version 5, packet encoding; Engine.IO protocol version 4, message type 4.
"""

from functools import lru_cache

import msgspec

from dispatch.wire.events import Event

_encode = msgspec.json.Encoder().encode
# Pairs of a namespace and an event; there are some forty.
_PREFIXES_CACHED = 256


def encode_body(event: Event) -> bytes:
    """An event's JSON object."""
    return _encode(event)


def encode_packet(namespace: str, name: str, body: bytes, ack_id: int | None = None) -> bytes:
    """An EVENT packet of Socket.IO in an Engine.IO message.

    `namespace` as in "/user"; `body` is one JSON value; with `ack_id` the client acknowledges.
    Shapes: `42/user,["order_ready",{…}]`.
    """
    number = "" if ack_id is None else str(ack_id)
    return b'%b["%b",%b]' % (f"42{namespace},{number}".encode(), name.encode(), body)


def encode_event(namespace: str, event: Event) -> bytes:
    """An EVENT packet that says `event`."""
    return _packet_prefix(namespace, event.event) + _encode(event) + b"]"


@lru_cache(_PREFIXES_CACHED)
def _packet_prefix(namespace: str, name: str) -> bytes:
    return f'42{namespace},["{name}",'.encode()
