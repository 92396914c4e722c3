"""Close codes: what the close frame of an ended session says, by the reason of the end."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from handlers.websocket.rfc6455 import (
    GOING_AWAY,
    INTERNAL_ERROR,
    MESSAGE_TOO_BIG,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    UNSUPPORTED_DATA,
)


class CloseStatus(NamedTuple):
    """Status code and text of a close frame."""

    code: int
    text: str


# Source: RFC 6455 section 7.4.1.
_STATUSES: Mapping[str, CloseStatus] = MappingProxyType(
    {
        "client_closed": CloseStatus(NORMAL_CLOSURE, ""),
        "transport_closed": CloseStatus(NORMAL_CLOSURE, ""),
        "binary": CloseStatus(UNSUPPORTED_DATA, "binary payloads are not supported; send JSON"),
        "malformed": CloseStatus(PROTOCOL_ERROR, "a packet is not valid Socket.IO"),
        "not_connected": CloseStatus(PROTOCOL_ERROR, "a packet for a namespace that is not joined"),
        "oversized": CloseStatus(MESSAGE_TOO_BIG, "a message is longer than maxPayload"),
        "server_draining": CloseStatus(GOING_AWAY, "the server is stopping"),
        "socket_hook_failed": CloseStatus(INTERNAL_ERROR, "the session could not be set up"),
    }
)


def close_status(reason: str) -> CloseStatus:
    """The status for the reason of an end; a reason without an entry is a rule that was broken."""
    return _STATUSES.get(reason) or CloseStatus(POLICY_VIOLATION, reason.replace("_", " "))
