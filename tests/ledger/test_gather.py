"""Reads that share a call: none is lost, none waits for nothing, a failure reaches its callers."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ledger import gather
from ledger.gather import BATCH_MAX, CALLS_AT_ONCE, Gather
from ledger.table import Item, Key, TableUnavailable


class Store:
    """A table that answers when it is let."""

    def __init__(self) -> None:
        self.calls: list[list[Key]] = []
        self.is_open = asyncio.Event()
        self.failure: Exception | None = None
        self.reads = Gather(self.one, self.many)

    async def one(self, key: Key) -> Item | None:
        [item] = await self.many([key])
        return item

    async def many(self, keys: Sequence[Key]) -> list[Item | None]:
        self.calls.append(list(keys))
        await self.is_open.wait()
        if self.failure is not None:
            raise self.failure
        return [{"PK": key.pk} for key in keys]

    def ask(self, count: int, first: int = 0) -> list[asyncio.Future[Any]]:
        keys = [Key(f"k{number}", "s") for number in range(first, first + count)]
        return [asyncio.ensure_future(self.reads.get(key)) for key in keys]


async def test_a_few_reads_go_at_once_and_by_themselves():
    """An idle server makes nobody wait for others."""
    store = Store()
    asked = store.ask(CALLS_AT_ONCE)
    await asyncio.sleep(0)
    assert [len(keys) for keys in store.calls] == [1] * CALLS_AT_ONCE
    store.is_open.set()
    found = await asyncio.gather(*asked)
    assert [item["PK"] for item in found] == [f"k{n}" for n in range(CALLS_AT_ONCE)]


async def test_many_reads_share_calls():
    """Those that come while others run go together, each gets its own item."""
    store = Store()
    asked = store.ask(CALLS_AT_ONCE + 2 * BATCH_MAX)
    await asyncio.sleep(0)
    store.is_open.set()
    found = await asyncio.gather(*asked)
    assert [item["PK"] for item in found] == [f"k{n}" for n in range(len(asked))]
    assert sorted(map(len, store.calls)) == [1] * CALLS_AT_ONCE + [BATCH_MAX] * 2


async def test_the_same_key_is_read_once_for_all_who_wait():
    """Two who wait for one item ask for it once."""
    store = Store()
    first = store.ask(CALLS_AT_ONCE)
    await asyncio.sleep(0)
    second = [*store.ask(1, first=50), *store.ask(1, first=50)]
    await asyncio.sleep(0)
    store.is_open.set()
    await asyncio.gather(*first, *second)
    assert [Key("k50", "s")] in store.calls
    assert sum(map(len, store.calls)) == CALLS_AT_ONCE + 1


async def test_a_failure_reaches_those_who_asked_and_nobody_else():
    """Whoever asks after it is served again."""
    store = Store()
    store.failure = TableUnavailable("away")
    asked = store.ask(CALLS_AT_ONCE + 5)
    await asyncio.sleep(0)
    store.is_open.set()
    found: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found] == [TableUnavailable] * len(asked)
    store.failure = None
    assert await store.reads.get(Key("k9", "s")) == {"PK": "k9"}


async def test_a_caller_who_has_gone_spoils_nothing():
    """His place in the batch is filled for the others."""
    store = Store()
    asked = store.ask(CALLS_AT_ONCE + 3)
    await asyncio.sleep(0)
    asked[-1].cancel()
    store.is_open.set()
    found: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[-1], asyncio.CancelledError)
    assert [item["PK"] for item in found[:-1]] == [f"k{n}" for n in range(len(asked) - 1)]


async def test_too_many_waiting_reads_are_refused(monkeypatch):
    """Memory has a bound; whoever comes on top is told at once."""
    monkeypatch.setattr(gather, "WAITING_MAX", 3)
    store = Store()
    asked = store.ask(CALLS_AT_ONCE + 4)
    await asyncio.sleep(0)
    store.is_open.set()
    found: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(each, TableUnavailable) for each in found] == [False] * (
        CALLS_AT_ONCE + 3
    ) + [True]
