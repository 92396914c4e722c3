"""Acks: the envelope in which every command is answered."""

from typing import Any

from dispatch.errors import Refused

Ack = dict[str, Any]


def accepted(data: object) -> Ack:
    """The ack of a command that was carried out, with its result."""
    return {"ok": True, "data": data}


def refused(refusal: Refused) -> Ack:
    """The ack of a refused command; nothing was changed."""
    error: dict[str, Any] = {
        "code": refusal.code.value,
        "message": refusal.message,
        "retryable": refusal.code.is_retryable,
    }
    if refusal.details:
        error["details"] = refusal.details
    return {"ok": False, "error": error}
