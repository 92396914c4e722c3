"""The one envelope that every command gets back."""

from typing import Any

from dispatch.errors import Refused

Ack = dict[str, Any]


def accepted(data: object) -> Ack:
    """The command was carried out."""
    return {"ok": True, "data": data}


def refused(refusal: Refused) -> Ack:
    """The command was turned down; nothing was changed."""
    error: dict[str, Any] = {
        "code": refusal.code.value,
        "message": refusal.message,
        "retryable": refusal.code.is_retryable,
    }
    if refusal.details:
        error["details"] = refusal.details
    return {"ok": False, "error": error}
