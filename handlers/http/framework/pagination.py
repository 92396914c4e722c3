"""Lists come by pages: `limit` and `cursor` in, `items` and `nextCursor` out."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.ids import is_id
from dispatch.storage.paging import PageRequest

LIMIT_DEFAULT = 50
# Source: wire contract by its lists of at most a hundred; a page fits well into 1 MB of DynamoDB.
LIMIT_MAX = 100
# Longer than any cursor of ours. Source: ledger.dynamodb.cursors, four keys in base64.
CURSOR_CHARS_MAX = 9_100


def page_of(request: web.Request) -> PageRequest:
    """The page a request asks for.

    Errors: Refused MALFORMED for a limit outside of 1 to 100 or an endless cursor.
    """
    text = request.query.get("limit", str(LIMIT_DEFAULT))
    # `int` alone would take "1_0" and digits of every alphabet.
    is_number = text.isascii() and text.isdigit() and len(text) <= 3
    if not is_number or not 1 <= int(text) <= LIMIT_MAX:
        raise Refused(Refusal.MALFORMED, f"limit: a whole number from 1 to {LIMIT_MAX}")
    cursor = request.query.get("cursor") or None
    if cursor is not None and len(cursor) > CURSOR_CHARS_MAX:
        raise Refused(Refusal.MALFORMED, "this cursor is not from this list")
    return PageRequest(int(text), cursor)


def listing(items: Sequence[Any], cursor: str | None) -> dict[str, Any]:
    """A page as every list of the contract looks."""
    return {"items": list(items), "nextCursor": cursor}


def number_of(
    request: web.Request, name: str, bounds: tuple[float, float], default: str = ""
) -> float:
    """A number from the query.

    Errors: Refused MALFORMED where it is missing, no number, or out of bounds.
    """
    low, high = bounds
    try:
        value = float(request.query.get(name, default))
    except ValueError:
        value = float("nan")
    # NaN is outside of everything.
    if not low <= value <= high:
        raise Refused(Refusal.MALFORMED, f"{name}: a number from {low:g} to {high:g}")
    return value


def timestamp_of(request: web.Request, name: str, default: int | None = None) -> int:
    """A moment from the query. Units: Unix milliseconds.

    Errors: Refused MALFORMED where it is missing or no moment.
    """
    text = request.query.get(name, "" if default is None else str(default))
    # Source: 13 digits reach the year 2286.
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        raise Refused(Refusal.MALFORMED, f"{name}: Unix milliseconds")
    return int(text)


def id_of(request: web.Request, name: str) -> str:
    """An id from the path.

    Errors: Refused NOT_FOUND for one that nothing can have.
    """
    text = request.match_info[name]
    if not is_id(text):
        raise Refused(Refusal.NOT_FOUND, f"there is nothing under {text[:80]!r}")
    return text
