"""Reading a whole list, page by page."""

from collections.abc import AsyncIterator

import msgspec

from ledger.dynamodb.table import Item, Query, Table

# Items per page of a whole list. Source: chosen; DynamoDB ends a page at 1 MB anyway.
PAGE_ITEMS = 1_000


async def iterate_pages(table: Table, query: Query) -> AsyncIterator[list[Item]]:
    """Every non-empty page of a list, from `query.cursor` on; `query.limit` is not used.

    Errors: TableUnavailable.

    DynamoDB: Query, one call per 1,000 items.
    """
    cursor = query.cursor
    while True:
        step = msgspec.structs.replace(query, cursor=cursor, limit=PAGE_ITEMS)
        page = await table.query(step)
        if page.items:
            yield page.items
        cursor = page.cursor
        if cursor is None:
            return


async def read_all(table: Table, query: Query) -> list[Item]:
    """All items of a list that fits into memory. Errors and DynamoDB: as `iterate_pages`."""
    return [item async for page in iterate_pages(table, query) for item in page]
