"""Whole lists are read page by page."""

import pytest

from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.pages import PAGE_ITEMS, iterate_pages, read_all
from ledger.dynamodb.table import TRANSACTION_WRITES_MAX, Put, Query

pytestmark = pytest.mark.engines

COUNT = PAGE_ITEMS + 100


async def fill(table: DynamoTable) -> None:
    for start in range(0, COUNT, TRANSACTION_WRITES_MAX):
        numbers = range(start, start + TRANSACTION_WRITES_MAX)
        await table.transact([Put(item={"PK": "P", "SK": f"{n:05d}", "n": n}) for n in numbers])


async def test_every_item_of_a_list_is_read_in_order(table: DynamoTable):
    """A list longer than one page is read whole, in pages of 1,000."""
    await fill(table)
    pages = [page async for page in iterate_pages(table, Query(pk="P"))]
    assert [len(page) for page in pages] == [PAGE_ITEMS, 100]
    assert [item["n"] for page in pages for item in page] == list(range(COUNT))
    assert await read_all(table, Query(pk="P")) == [item for page in pages for item in page]


async def test_an_empty_list_has_no_page(table: DynamoTable):
    """Nothing is yielded for a partition without items."""
    assert [page async for page in iterate_pages(table, Query(pk="P"))] == []
    assert await read_all(table, Query(pk="P")) == []
