"""Sharded lists: keys spread over the shards, and pages that run across all of them."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards, shard_of
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Put

SHARDS = [ListShard("LIST#0"), ListShard("LIST#1"), ListShard("LIST#2", forward=False)]


async def fill(table: DynamoTable, *partitions: str) -> None:
    """Put items into the shards, one letter each, in order of the shards."""
    for shard, letters in zip(SHARDS, partitions, strict=True):
        for letter in letters:
            await table.transact([Put(item={"PK": shard.pk, "SK": letter, "letter": letter})])


async def read_pages(table: DynamoTable, limit: int) -> list[str]:
    """Read the whole list; the letters of each page."""
    pages: list[str] = []
    cursor = None
    while True:
        page = PageRequest(limit, cursor)
        items, cursor = await query_shards(RetryableTable(table), SHARDS, page)
        pages.append("".join(item["letter"] for item in items))
        if cursor is None:
            return pages


def test_shard_is_stable_and_spread():
    """A key's shard is its CRC-32; many ids reach every shard about equally often."""
    # 0xCBF43926 is the check value of CRC-32.
    assert [shard_of("123456789", count) for count in (1, 16, 256)] == [0, 0x6, 0x26]
    counts = [0] * 16
    for number in range(1_600):
        counts[shard_of(f"ord_{number:032x}", 16)] += 1
    assert all(50 <= count <= 150 for count in counts)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
async def test_pages_give_every_item_once(table: DynamoTable, limit: int):
    """Pages of any size give each item once, in the order of the shards and of each shard."""
    await fill(table, "abc", "", "dfe")
    assert "".join(await read_pages(table, limit)) == "abcfed"


async def test_page_is_filled_across_shards(table: DynamoTable):
    """A page takes items of the next shard until it has as many as asked for."""
    await fill(table, "ab", "c", "de")
    assert await read_pages(table, 4) == ["abce", "d"]


async def test_empty_list_is_one_empty_page(table: DynamoTable):
    """A list without items has one page, and no cursor."""
    assert await read_pages(table, 10) == [""]


@pytest.mark.parametrize("cursor", ["0.nonsense", "9.", "x"])
async def test_foreign_cursor_is_refused(table: DynamoTable, cursor: str):
    """A cursor that this list did not give is refused as malformed."""
    with pytest.raises(Refused) as refused:
        await query_shards(RetryableTable(table), SHARDS, PageRequest(2, cursor))
    assert refused.value.code is Refusal.MALFORMED
