"""Socket.IO text frames, encoded once for all who get them.

Source: Socket.IO protocol version 5, packet encoding; Engine.IO protocol version 4, message type 4.
"""

import msgspec

from dispatch.wire.events import Event

_encoder = msgspec.json.Encoder()


def body(event: Event) -> bytes:
    """An event's JSON object."""
    return _encoder.encode(event)


def packet(namespace: str, name: str, body: bytes, ack_id: int | None = None) -> str:
    """An EVENT packet of Socket.IO, without the Engine.IO type in front.

    `namespace` as in "/user"; `body` is one JSON value; with `ack_id` the client acknowledges.
    """
    number = "" if ack_id is None else str(ack_id)
    return f'2{namespace},{number}["{name}",{body.decode()}]'


def event_packet(namespace: str, event: Event) -> str:
    """An EVENT packet that says `event`."""
    return packet(namespace, event.event, body(event))
