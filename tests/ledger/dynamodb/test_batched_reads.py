"""Reads of single items: one is sent alone, several as a batch, too many are refused."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ledger.dynamodb.batched_reads import READ_LIMITS, batch_reads
from ledger.dynamodb.table import Item, Key, TableUnavailable
from tests import virtual_time

KEYS = [Key(f"k{number}", "s") for number in range(5)]


class RecordingReader:
    """Answers reads with an item for each key, and records the calls."""

    def __init__(self) -> None:
        self.calls: list[Sequence[Key]] = []
        self.reads = batch_reads(self.get_one, self.get_batch)

    async def get_one(self, key: Key) -> Item | None:
        self.calls.append([key])
        return {"PK": key.pk}

    async def get_batch(self, keys: Sequence[Key]) -> list[Item | None]:
        assert len(keys) > 1
        self.calls.append(keys)
        return [{"PK": key.pk} for key in keys]


def test_a_single_read_is_a_get_item():
    """A read without company is a plain read, which costs less than a batch of one."""

    async def main() -> None:
        reader = RecordingReader()
        assert await reader.reads.request(KEYS[0]) == {"PK": "k0"}
        assert reader.calls == [[KEYS[0]]]

    virtual_time.run(main())


def test_concurrent_reads_share_one_batch():
    """Reads of one turn of the event loop share one call."""

    async def main() -> None:
        reader = RecordingReader()
        items = await asyncio.gather(*map(reader.reads.request, KEYS))
        assert items == [{"PK": key.pk} for key in KEYS]
        assert reader.calls == [KEYS]

    virtual_time.run(main())


def test_a_full_queue_is_table_unavailable():
    """One read more than may wait is refused; the others are answered."""

    async def main() -> None:
        reader = RecordingReader()
        asked = [reader.reads.request(KEYS[0]) for _ in range(READ_LIMITS.waiting_max + 1)]
        found: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        assert [each for each in found if isinstance(each, Exception)] == [found[-1]]
        assert isinstance(found[-1], TableUnavailable)

    virtual_time.run(main())
