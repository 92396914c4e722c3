"""Reading a whole list, page by page."""

from collections.abc import AsyncIterator

import msgspec

from ledger.dynamodb.table import Item, Query, Table

# Items per page of a whole list. Source: chosen; DynamoDB ends a page at 1 MB anyway.
PAGE_ITEMS = 1_000


async def iterate_pages(table: Table, query: Query) -> AsyncIterator[list[Item]]:
    """Every non-empty page of a list, from `query.cursor` on.

    Errors: TableUnavailable.

    DynamoDB: Query, one call per page.
    """
    cursor = query.cursor
    while True:
        page = await table.query(msgspec.structs.replace(query, cursor=cursor))
        if page.items:
            yield page.items
        cursor = page.cursor
        if cursor is None:
            return
