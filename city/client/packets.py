"""Socket.IO packets as text: what is sent, and what a received frame says.

Source: Engine.IO protocol 4 and Socket.IO protocol 5; one namespace, no attachments.
"""

from dataclasses import dataclass
from typing import Any

import orjson

PING, PONG, CLOSE, NOOP = "2", "3", "1", "6"


class NotAPacket(Exception):
    """A frame that no Socket.IO server may send."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Engine.IO's handshake. Units: seconds."""

    ping_interval_s: float
    ping_timeout_s: float


@dataclass(frozen=True, slots=True)
class Connected:
    """The namespace has let us in."""


@dataclass(frozen=True, slots=True)
class ConnectRefused:
    """The namespace has not let us in."""

    code: str


@dataclass(frozen=True, slots=True)
class Left:
    """The server has closed the namespace or the session."""


@dataclass(frozen=True, slots=True)
class Said:
    """An event; with `ack_id` the server waits for our acknowledgement."""

    name: str
    payload: dict[str, Any]
    ack_id: int | None


@dataclass(frozen=True, slots=True)
class Answered:
    """The acknowledgement of one of our commands."""

    ack_id: int
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pinged:
    """The heartbeat; wants a pong."""


Packet = Opened | Connected | ConnectRefused | Left | Said | Answered | Pinged | None


def connect(namespace: str, auth: dict[str, Any]) -> str:
    """Ask to be let into a namespace."""
    return f"40{namespace},{orjson.dumps(auth).decode()}"


def event(namespace: str, name: str, payload: object, ack_id: int | None = None) -> str:
    """Say something; with `ack_id` the server must acknowledge."""
    number = "" if ack_id is None else str(ack_id)
    return f"42{namespace},{number}{orjson.dumps([name, payload]).decode()}"


def answer(namespace: str, ack_id: int, payload: object) -> str:
    """Acknowledge an event of the server."""
    return f"43{namespace},{ack_id}{orjson.dumps([payload]).decode()}"


def read(frame: str) -> Packet:
    """What a frame says; None for one that says nothing.

    Errors: NotAPacket.
    """
    kind = frame[:1]
    if kind == "4":
        return _read_message(frame[1:])
    if kind == PING:
        return Pinged()
    if kind == "0":
        facts = _json(frame[1:])
        if not isinstance(facts, dict):
            raise NotAPacket(frame[:80])
        return Opened(facts["pingInterval"] / 1000, facts["pingTimeout"] / 1000)
    if kind == CLOSE:
        return Left()
    if kind in {PONG, NOOP}:
        return None
    raise NotAPacket(frame[:80])


def _read_message(text: str) -> Packet:
    kind, body = text[:1], text[1:]
    if body.startswith("/"):
        _, _, body = body.partition(",")
    if kind == "0":
        return Connected()
    if kind == "1":
        return Left()
    if kind == "4":
        facts = _json(body)
        return ConnectRefused(str(facts["message"]) if isinstance(facts, dict) else str(facts))
    digits = len(body) - len(body.lstrip("0123456789"))
    ack_id = int(body[:digits]) if digits else None
    arguments = _json(body[digits:])
    if not isinstance(arguments, list):
        raise NotAPacket(text[:80])
    if kind == "2" and arguments:
        payload = arguments[1] if len(arguments) > 1 else {}
        return Said(str(arguments[0]), payload if isinstance(payload, dict) else {}, ack_id)
    if kind == "3" and ack_id is not None:
        first = arguments[0] if arguments else None
        return Answered(ack_id, first if isinstance(first, dict) else {})
    raise NotAPacket(text[:80])


def _json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotAPacket(text[:80]) from error
