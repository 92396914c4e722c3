"""Socket.IO packets as text frames: encoding and parsing.

Source: Engine.IO protocol 4 and Socket.IO protocol 5; one namespace, no attachments.
"""

from dataclasses import dataclass
from typing import Any

import orjson

PING, PONG, CLOSE, NOOP = "2", "3", "1", "6"


class InvalidPacket(Exception):
    """A frame that is not a packet of a Socket.IO server."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """Engine.IO's open packet. Units: seconds."""

    ping_interval_s: float
    ping_timeout_s: float


@dataclass(frozen=True, slots=True)
class Connected:
    """The namespace accepted the connection."""


@dataclass(frozen=True, slots=True)
class ConnectRefused:
    """The namespace refused the connection."""

    code: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The server closed the namespace or the session."""


@dataclass(frozen=True, slots=True)
class EventPacket:
    """An event; with `ack_id` the server expects an acknowledgement."""

    name: str
    payload: dict[str, Any]
    ack_id: int | None


@dataclass(frozen=True, slots=True)
class AckPacket:
    """The acknowledgement of a command."""

    ack_id: int
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A ping, to be answered with PONG."""


Packet = (
    Handshake
    | Connected
    | ConnectRefused
    | Disconnected
    | EventPacket
    | AckPacket
    | Heartbeat
    | None
)


def connect_packet(namespace: str, auth: dict[str, Any]) -> str:
    """Encode a request to connect to a namespace."""
    return f"40{namespace},{orjson.dumps(auth).decode()}"


def event_packet(namespace: str, name: str, payload: object, ack_id: int | None = None) -> str:
    """Encode an event; with `ack_id` the server must acknowledge it."""
    number = "" if ack_id is None else str(ack_id)
    return f"42{namespace},{number}{orjson.dumps([name, payload]).decode()}"


def ack_packet(namespace: str, ack_id: int, payload: object) -> str:
    """Encode the acknowledgement of an event."""
    return f"43{namespace},{ack_id}{orjson.dumps([payload]).decode()}"


def parse_packet(frame: str) -> Packet:
    """Parse a frame; None for a packet without content. Units: milliseconds in, seconds out.

    Errors: InvalidPacket.
    """
    kind = frame[:1]
    if kind == "4":
        return _parse_message(frame[1:])
    if kind == PING:
        return Heartbeat()
    if kind == "0":
        fields = _parse_json(frame[1:])
        if not isinstance(fields, dict):
            raise InvalidPacket(frame[:80])
        return Handshake(fields["pingInterval"] / 1000, fields["pingTimeout"] / 1000)
    if kind == CLOSE:
        return Disconnected()
    if kind in {PONG, NOOP}:
        return None
    raise InvalidPacket(frame[:80])


def _parse_message(text: str) -> Packet:
    kind, body = text[:1], text[1:]
    if body.startswith("/"):
        _, _, body = body.partition(",")
    if kind == "0":
        return Connected()
    if kind == "1":
        return Disconnected()
    if kind == "4":
        fields = _parse_json(body)
        message = fields["message"] if isinstance(fields, dict) else fields
        return ConnectRefused(str(message))
    digits = len(body) - len(body.lstrip("0123456789"))
    ack_id = int(body[:digits]) if digits else None
    arguments = _parse_json(body[digits:])
    if not isinstance(arguments, list):
        raise InvalidPacket(text[:80])
    if kind == "2" and arguments:
        payload = arguments[1] if len(arguments) > 1 else {}
        return EventPacket(str(arguments[0]), payload if isinstance(payload, dict) else {}, ack_id)
    if kind == "3" and ack_id is not None:
        first = arguments[0] if arguments else None
        return AckPacket(ack_id, first if isinstance(first, dict) else {})
    raise InvalidPacket(text[:80])


def _parse_json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidPacket(text[:80]) from error
