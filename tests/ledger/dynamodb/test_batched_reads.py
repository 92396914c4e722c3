"""Reads of single items: one goes by itself, several go in a batch, too many are refused."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ledger.dynamodb.batched_reads import TERMS, reads
from ledger.dynamodb.table import Item, Key, TableUnavailable
from tests import virtual_time

KEYS = [Key(f"k{number}", "s") for number in range(5)]


class Shelf:
    """A table with an item under each key."""

    def __init__(self) -> None:
        self.calls: list[Sequence[Key]] = []
        self.reads = reads(self.one, self.many)

    async def one(self, key: Key) -> Item | None:
        self.calls.append([key])
        return {"PK": key.pk}

    async def many(self, keys: Sequence[Key]) -> list[Item | None]:
        assert len(keys) > 1
        self.calls.append(keys)
        return [{"PK": key.pk} for key in keys]


def test_one_read_is_a_call_of_its_own():
    """A batch of one costs more than a plain read."""

    async def main() -> None:
        shelf = Shelf()
        assert await shelf.reads.ask(KEYS[0]) == {"PK": "k0"}
        assert shelf.calls == [[KEYS[0]]]

    virtual_time.run(main())


def test_reads_of_one_moment_are_one_call():
    """A rider's duty, profile and cash are read in one go."""

    async def main() -> None:
        shelf = Shelf()
        items = await asyncio.gather(*map(shelf.reads.ask, KEYS))
        assert items == [{"PK": key.pk} for key in KEYS]
        assert shelf.calls == [KEYS]

    virtual_time.run(main())


def test_who_cannot_wait_any_more_hears_that_the_table_does_not_answer():
    """Memory has a bound."""

    async def main() -> None:
        shelf = Shelf()
        asked = [shelf.reads.ask(KEYS[0]) for _ in range(TERMS.waiting_max + 1)]
        found: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        assert [each for each in found if isinstance(each, Exception)] == [found[-1]]
        assert isinstance(found[-1], TableUnavailable)

    virtual_time.run(main())
