"""Acks: the envelope in which every command is answered."""

from collections.abc import Sequence
from typing import Any

from dispatch.errors import Refused

Ack = dict[str, Any]


def accepted(data: object, warnings: Sequence[str] = ()) -> Ack:
    """The ack of a command that was carried out, with its result.

    `warnings` are for the developer of the client, under --dev.
    """
    ack: Ack = {"ok": True, "data": data}
    if warnings:
        ack["warnings"] = list(warnings)
    return ack


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
