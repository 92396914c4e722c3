"""A whole list, page by page."""

from collections.abc import AsyncIterator

import msgspec

from ledger.dynamodb.table import Item, Query, Table

# Items read at a time.
PAGE_ITEMS = 1_000


async def iterate_pages(table: Table, query: Query) -> AsyncIterator[list[Item]]:
    """Every page of a list that holds something.

    Errors: TableUnavailable.

    DynamoDB: Query, one a page.
    """
    cursor = query.cursor
    while True:
        page = await table.query(msgspec.structs.replace(query, cursor=cursor))
        if page.items:
            yield page.items
        cursor = page.cursor
        if cursor is None:
            return
