"""Turns the outcome of a use case into a value that tests can compare."""

from collections.abc import Awaitable
from typing import Literal

from dispatch.errors import Refusal, Refused


async def refusal_of(use_case: Awaitable[object]) -> Refusal | Literal["ok"]:
    """The refusal of a use case, or "ok"."""
    try:
        await use_case
    except Refused as refused:
        return refused.code
    return "ok"
