"""Page cursors of queries: opaque, url-safe, and bound to one partition or index."""

import base64
import binascii
from typing import Any, cast

import orjson

from ledger.dynamodb.table import Item, Query

# Longer than any cursor. Source: DynamoDB's limits, 2048 + 1024 bytes; base64 of four keys.
CURSOR_CHARS_MAX = 9000


def key_names(index: str | None) -> tuple[str, ...]:
    """Key attributes of an item in the table or an index; partition before sort key."""
    return (f"{index}PK", f"{index}SK", "PK", "SK") if index else ("PK", "SK")


def write_cursor(query: Query, last: Item) -> str:
    """Cursor of the page that starts after the item `last`."""
    position = [last[name] for name in key_names(query.index)]
    text = orjson.dumps([query.index, query.pk, *position])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def read_cursor(query: Query) -> dict[str, str] | None:
    """The key after which the page starts; None for the first page.

    Errors: ValueError for a cursor that was not made for this partition or index.
    """
    if query.cursor is None:
        return None
    index, pk, *position = _decode(query.cursor)
    names = key_names(query.index)
    if (index, pk) != (query.index, query.pk) or len(position) != len(names):
        raise ValueError("the cursor belongs to another list")
    if position[0] != query.pk or not str(position[1]).startswith(query.prefix):
        raise ValueError("the cursor belongs to another list")
    keys = dict(zip(names, map(str, position), strict=True))
    if list(keys.values()) != position or not all(position):
        raise ValueError("not a cursor")
    return keys


def _decode(cursor: str) -> list[object]:
    if len(cursor) > CURSOR_CHARS_MAX:
        raise ValueError("not a cursor")
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts: Any = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError) as error:
        raise ValueError("not a cursor") from error
    position = cast("list[object]", parts if isinstance(parts, list) else [])
    if len(position) < 2:
        raise ValueError("not a cursor")
    return position
