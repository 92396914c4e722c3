"""A list that is kept in several places, read page by page from one place after the other."""

from collections.abc import Sequence

import msgspec

from dispatch.errors import Refusal, Refused
from dispatch.storage.dynamodb_errors import RetryableTable
from ledger.dynamodb.table import Item, Query


class ListShard(msgspec.Struct, frozen=True):
    """A partition of the table (`index` None) or of an index."""

    pk: str
    index: str | None = None
    forward: bool = True


async def query_shards(
    table: RetryableTable, shards: Sequence[ListShard], page: tuple[int, str | None]
) -> tuple[list[Item], str | None]:
    """One page of the list; `page` is (limit, cursor).

    Errors: Refused MALFORMED for a cursor that is not ours; StoreUnavailable.

    DynamoDB: Query, one after the other until the page is full.
    """
    limit, cursor = page
    at, inner = _parse_cursor(cursor, len(shards))
    items: list[Item] = []
    while at < len(shards) and len(items) < limit:
        query = Query(
            pk=shards[at].pk,
            index=shards[at].index,
            limit=limit - len(items),
            cursor=inner,
            forward=shards[at].forward,
        )
        try:
            part = await table.query(query)
        except ValueError as error:
            raise Refused(Refusal.MALFORMED, "this cursor is not from this list") from error
        items += part.items
        inner = part.cursor
        at += inner is None
    return items, f"{at}.{inner or ''}" if at < len(shards) else None


def _parse_cursor(cursor: str | None, shard_count: int) -> tuple[int, str | None]:
    if cursor is None:
        return 0, None
    at, dot, inner = cursor.partition(".")
    # `int` alone would take digits of every alphabet.
    if not dot or not (at.isascii() and at.isdigit()) or int(at) >= shard_count:
        raise Refused(Refusal.MALFORMED, "this cursor is not from this list")
    return int(at), inner or None
