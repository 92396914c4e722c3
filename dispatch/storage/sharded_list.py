"""Lists kept in several partitions: choosing a partition, and reading pages across all of them."""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.paging import (
    PageRequest,
    next_shard_cursor,
    parse_shard_cursor,
    wrong_cursor,
)
from ledger.dynamodb.table import Item, Query


def shard_of(key: str, shard_count: int) -> int:
    """The shard of a key, the same on every node; from 0 to `shard_count` - 1.

    Source: CRC-32, ISO 3309; only the even spread matters here.
    """
    return crc32(key.encode()) % shard_count


class ListShard(msgspec.Struct, frozen=True):
    """A partition of the table (`index` None) or of an index; `forward` is its sort order."""

    pk: str
    index: str | None = None
    forward: bool = True


async def query_shards(
    table: RetryableTable, shards: Sequence[ListShard], page: PageRequest
) -> tuple[list[Item], str | None]:
    """One page of a sharded list, shard after shard; the items and the next page's cursor.

    Errors: Refused MALFORMED for a cursor of another list; StoreUnavailable.

    DynamoDB: Query, one after the other until the page is full.
    """
    shard, inner = parse_shard_cursor(page.cursor, len(shards))
    items: list[Item] = []
    while shard < len(shards) and len(items) < page.limit:
        query = Query(
            pk=shards[shard].pk,
            index=shards[shard].index,
            limit=page.limit - len(items),
            cursor=inner,
            forward=shards[shard].forward,
        )
        try:
            found = await table.query(query)
        except ValueError as error:
            raise wrong_cursor() from error
        items += found.items
        inner = found.cursor
        if inner is None:
            shard += 1
    return items, next_shard_cursor(shard, inner, len(shards))
