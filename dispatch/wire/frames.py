"""Socket.IO packets as bytes: every place that builds, recognises or edits encoded packets.

A packet is one Engine.IO message (type 4): `4`, the Socket.IO packet type, the namespace with a
comma, an acknowledgement id where there is one, then JSON. Hot paths compare and cut these bytes
instead of decoding them; the layouts they rely on are all defined here.

Shapes: `42/user,["order_ready",{…}]`, `43/rider,7[{…}]`, `41/rider,`.
Source: Socket.IO protocol version 5, packet encoding; Engine.IO protocol version 4, message type 4;
docs/contract.md.
"""

from functools import lru_cache
from typing import Final

import msgspec

from dispatch.wire.events import EtaUpdate, Event, Freshness, RiderLocationUpdate

_encode = msgspec.json.Encoder().encode
# Pairs of a namespace and an event; there are some forty.
_PREFIXES_CACHED = 256

# Start and end of a position packet of an order; `state` is its last field and `receivedAt` the one
# before it, because RiderLocationUpdate declares them in that order.
POSITION_PREFIX: Final = f'42/user,["{RiderLocationUpdate.event}",'.encode()
_FRESHNESS_SUFFIXES: dict[Freshness, bytes] = {
    state: f'"state":"{state}"}}]'.encode() for state in ("live", "stale", "lost")
}
_FRESHER: dict[Freshness, tuple[Freshness, ...]] = {
    "live": (),
    "stale": ("live",),
    "lost": ("live", "stale"),
}
_RECEIVED_AT_FIELD = b'"receivedAt":'
_TS_FIELD = b'"ts":'

# Events that carry the complete current value, so that a newer one replaces an older one that has
# not been sent. Their first field is the order's id.
COALESCIBLE: Final = frozenset({RiderLocationUpdate.event.encode(), EtaUpdate.event.encode()})
# Where an event's name may begin, and how long the names of coalescible events may be.
# Units: bytes.
_NAME_START_MAX = 32
_NAME_BYTES_MAX = 32

# A command's name in a packet of the official client without an acknowledgement id lies between
# these places, and ends so. Units: characters.
_COMMAND_NAME_FROM, _COMMAND_NAME_TO = 8, 80
_COMMAND_NAME_END = '",'


def encode_body(event: Event) -> bytes:
    """Encode an event's JSON object."""
    return _encode(event)


def encode_packet(namespace: str, name: str, body: bytes, ack_id: int | None = None) -> bytes:
    """Encode an EVENT packet; with `ack_id` the client acknowledges it.

    Shapes: `namespace` as in "/user"; `body` is one JSON value.
    """
    number = "" if ack_id is None else str(ack_id)
    return b'%b["%b",%b]' % (f"42{namespace},{number}".encode(), name.encode(), body)


def encode_event(namespace: str, event: Event) -> bytes:
    """Encode an EVENT packet of `event`."""
    return _packet_prefix(namespace, event.event) + _encode(event) + b"]"


@lru_cache(_PREFIXES_CACHED)
def _packet_prefix(namespace: str, name: str) -> bytes:
    return f'42{namespace},["{name}",'.encode()


def encode_position(update: RiderLocationUpdate) -> bytes:
    """Encode the position of an order's rider for the order's watchers."""
    return b"%b%b]" % (POSITION_PREFIX, _encode(update))


def encode_ack(namespace: str, ack_id: int, body: bytes) -> bytes:
    """Encode an ACK packet, the answer to a command. Shapes: `body` is one JSON value."""
    return b"%b%b]" % (f"43{namespace},{ack_id}[".encode(), body)


def encode_connect(namespace: str, body: bytes) -> bytes:
    """Encode a CONNECT packet, which admits a client to a namespace."""
    return _header("40", namespace) + body


def encode_connect_error(namespace: str, body: bytes) -> bytes:
    """Encode a CONNECT_ERROR packet, which refuses a client a namespace."""
    return _header("44", namespace) + body


def encode_disconnect(namespace: str) -> bytes:
    """Encode a DISCONNECT packet, after which the official client does not reconnect."""
    return _header("41", namespace)


def _header(types: str, namespace: str) -> bytes:
    # The main namespace is left out. Source: Socket.IO protocol version 5, packet encoding.
    return (types if namespace == "/" else f"{types}{namespace},").encode()


def command_prefix(namespace: str, name: str) -> str:
    """Return the start of a command's packet, up to and without the name's closing quote."""
    return f'42{namespace},["{name}'


def command_name_end(packet: str) -> int:
    """Return the length of the `command_prefix` a packet begins with, -1 where there is none.

    The payload begins two characters later, behind `",`.
    """
    return packet.find(_COMMAND_NAME_END, _COMMAND_NAME_FROM, _COMMAND_NAME_TO)


def event_name(packet: bytes) -> bytes:
    """Return the name of an EVENT packet's event."""
    start = packet.index(b'["') + 2
    return packet[start : packet.index(b'"', start)]


def coalescing_key(packet: bytes) -> bytes | None:
    """Return what a packet is about where a newer one replaces it, None for other packets.

    Shapes: `42/user,["rider_location_update",{"orderId":"ord_1",…` gives the part before the `,…`:
    namespace, event and order.
    """
    start = packet.find(b'["', 0, _NAME_START_MAX)
    end = packet.find(b'"', start + 2, start + 2 + _NAME_BYTES_MAX)
    if start < 0 or packet[start + 2 : end] not in COALESCIBLE:
        return None
    return packet[: packet.find(b",", end + 2)]


def received_at_ms(position_packet: bytes) -> int:
    """Return when the server received the fix of a position packet. Units: Unix milliseconds."""
    return _read_number(position_packet, _RECEIVED_AT_FIELD)


def made_at_ms(position_packet: bytes) -> int:
    """Return when the fix of a position packet was made. Units: Unix milliseconds."""
    return _read_number(position_packet, _TS_FIELD)


def _read_number(packet: bytes, field: bytes) -> int:
    start = packet.rindex(field) + len(field)
    return int(packet[start : packet.index(b",", start)])


def downgrade_freshness(position_packet: bytes, freshness: Freshness) -> bytes:
    """Return a position packet with `state` at most as good as `freshness`; never better."""
    for fresher in _FRESHER[freshness]:
        suffix = _FRESHNESS_SUFFIXES[fresher]
        if position_packet.endswith(suffix):
            return position_packet.removesuffix(suffix) + _FRESHNESS_SUFFIXES[freshness]
    return position_packet
