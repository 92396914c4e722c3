"""A list that is kept in several places, read page by page from one place after the other."""

from collections.abc import Sequence

import msgspec

from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.paging import (
    PageRequest,
    next_shard_cursor,
    parse_shard_cursor,
    wrong_cursor,
)
from ledger.dynamodb.table import Item, Query


class ListShard(msgspec.Struct, frozen=True):
    """A partition of the table (`index` None) or of an index."""

    pk: str
    index: str | None = None
    forward: bool = True


async def query_shards(
    table: RetryableTable, shards: Sequence[ListShard], page: PageRequest
) -> tuple[list[Item], str | None]:
    """One page of the list, and the cursor of the next one.

    Errors: Refused MALFORMED for a cursor that is not ours; StoreUnavailable.

    DynamoDB: Query, one after the other until the page is full.
    """
    limit = page.limit
    at, inner = parse_shard_cursor(page.cursor, len(shards))
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
            raise wrong_cursor() from error
        items += part.items
        inner = part.cursor
        at += inner is None
    return items, next_shard_cursor(at, inner, len(shards))
