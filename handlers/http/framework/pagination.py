"""Pagination and query parameters: `limit` and `cursor` in, `items` and `nextCursor` out."""

from collections.abc import Iterable
from typing import Generic, TypedDict, TypeVar

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.ids import OrderId, RiderId, is_id
from dispatch.storage.paging import PageRequest, wrong_cursor

LIMIT_DEFAULT = 50
# Source: `docs/contract.md`, lists of at most a hundred; such a page is well below 1 MB, the limit
# of a DynamoDB query.
LIMIT_MAX = 100
# Longer than any cursor. Source: `ledger/dynamodb/cursors.py`, four keys in base64.
CURSOR_CHARS_MAX = 9_100

ItemT = TypeVar("ItemT")


class ListPage(TypedDict, Generic[ItemT]):
    """One page of a list; `nextCursor` is None on the last one."""

    items: list[ItemT]
    nextCursor: str | None


def page_of(request: web.Request) -> PageRequest:
    """The page that a request asks for.

    Errors: Refused MALFORMED for a limit outside of 1 to 100, or a cursor that is too long.
    """
    text = request.query.get("limit", str(LIMIT_DEFAULT))
    # `int` alone would accept "1_0" and digits of every alphabet.
    is_number = text.isascii() and text.isdigit() and len(text) <= 3
    if not is_number or not 1 <= int(text) <= LIMIT_MAX:
        raise Refused(Refusal.MALFORMED, f"limit: a whole number from 1 to {LIMIT_MAX}")
    cursor = request.query.get("cursor") or None
    if cursor is not None and len(cursor) > CURSOR_CHARS_MAX:
        raise wrong_cursor()
    return PageRequest(int(text), cursor)


def listing(items: Iterable[ItemT], cursor: str | None) -> ListPage[ItemT]:
    """A page in the form that all lists of the contract have."""
    return {"items": list(items), "nextCursor": cursor}


def number_of(request: web.Request, name: str, low: float, high: float, default: str = "") -> float:
    """A number from the query, within `low` and `high`.

    Errors: Refused MALFORMED if it is missing, no number, or out of bounds.
    """
    try:
        value = float(request.query.get(name, default))
    except ValueError:
        value = float("nan")
    # NaN is outside of all bounds.
    if not low <= value <= high:
        raise Refused(Refusal.MALFORMED, f"{name}: a number from {low:g} to {high:g}")
    return value


def timestamp_of(request: web.Request, name: str, default: int | None = None) -> int:
    """A timestamp from the query. Units: Unix milliseconds.

    Errors: Refused MALFORMED if it is missing or no timestamp.
    """
    text = request.query.get(name, "" if default is None else str(default))
    # Source: 13 digits reach the year 2286.
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        raise Refused(Refusal.MALFORMED, f"{name}: Unix milliseconds")
    return int(text)


def choice_of(request: web.Request, name: str, choices: Iterable[str], default: str) -> str:
    """One of `choices` from the query.

    Errors: Refused MALFORMED for any other value.
    """
    value = request.query.get(name, default)
    allowed = list(choices)
    if value not in allowed:
        raise Refused(Refusal.MALFORMED, f"{name}: one of {', '.join(allowed)}")
    return value


def id_of(request: web.Request, name: str) -> str:
    """An id from the path.

    Errors: Refused NOT_FOUND for a text that is no id.
    """
    text = request.match_info[name]
    if not is_id(text):
        raise Refused(Refusal.NOT_FOUND, f"there is nothing under {text[:80]!r}")
    return text


def order_id_of(request: web.Request) -> OrderId:
    """The order id in the path. Errors: Refused NOT_FOUND."""
    return OrderId(id_of(request, "orderId"))


def rider_id_of(request: web.Request) -> RiderId:
    """The rider id in the path. Errors: Refused NOT_FOUND."""
    return RiderId(id_of(request, "riderId"))
