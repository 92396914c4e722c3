"""Where the next page of a query begins: opaque, url-safe, and of no use in another partition."""

import base64
import binascii

import orjson

from ledger.dynamodb.table import Item, Query

# Longer than any key DynamoDB can hold. Source: its limits, 2048 + 1024 bytes, base64 of four keys.
CURSOR_CHARS_MAX = 9000


def key_names(index: str | None) -> tuple[str, ...]:
    """The attributes that place an item in the table or an index; partition before sort key."""
    return (f"{index}PK", f"{index}SK", "PK", "SK") if index else ("PK", "SK")


def write_cursor(query: Query, last: Item) -> str:
    """A cursor that goes on after `last`."""
    place = [last[name] for name in key_names(query.index)]
    text = orjson.dumps([query.index, query.pk, *place])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def read_cursor(query: Query) -> dict[str, str] | None:
    """The keys after which the query goes on; None at the beginning.

    Errors: ValueError for a cursor that was not made for this partition.
    """
    if query.cursor is None:
        return None
    index, pk, *place = _decode(query.cursor)
    names = key_names(query.index)
    if (index, pk) != (query.index, query.pk) or len(place) != len(names):
        raise ValueError("the cursor belongs to another list")
    if place[0] != query.pk or not str(place[1]).startswith(query.prefix):
        raise ValueError("the cursor belongs to another list")
    keys = dict(zip(names, map(str, place), strict=True))
    if list(keys.values()) != place or not all(place):
        raise ValueError("not a cursor")
    return keys


def _decode(cursor: str) -> list[object]:
    if len(cursor) > CURSOR_CHARS_MAX:
        raise ValueError("not a cursor")
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError) as error:
        raise ValueError("not a cursor") from error
    if not isinstance(parts, list) or len(parts) < 2:
        raise ValueError("not a cursor")
    return parts
