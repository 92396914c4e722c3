"""The relay: what waits keeps its order and is told once, however often a store goes away."""

import asyncio

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import Board
from dispatch.events.outbox import (
    Entry,
    Outbox,
    Saying,
    new_entry_id,
    write_entry,
)
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.storage.timers import Timers
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from tests.waiting import Until


class House:
    """An outbox on real stores."""

    def __init__(self, table, redis, scripts):
        self.clock, self.table = ManualClock(), table
        self.inboxes = Inboxes(redis, scripts)
        board, timers = Board(redis, scripts), Timers(redis, scripts, "douala")
        self.outbox = Outbox(table, self.inboxes, timers, board, self.clock)

    async def commit(self, number):
        """A step of one order is written."""
        saying = Saying("user:usr_1", "news", f'{{"n":{number}}}')
        entry = Entry(
            entry_id=new_entry_id(), order_id="ord_1", at_ms=self.clock.now_ms(), says=(saying,)
        )
        await self.table.transact([write_entry(entry)])
        return entry

    async def told(self):
        head = await self.inboxes.head("user:usr_1")
        found = await self.inboxes.since("user:usr_1", head.epoch, 0) if head.epoch else []
        return [entry.body for entry in found]


@pytest.fixture
async def house(table: DynamoTable, redis: RedisClients, scripts: Scripts):
    return House(table, redis, scripts)


def away_at_first(append, times):
    failures = iter(range(times))

    async def try_append(letters, now_ms):
        if next(failures, None) is not None:
            raise StoreUnavailable("redis", "away")
        await append(letters, now_ms)

    return try_append


async def test_what_waits_for_redis_keeps_its_order(
    house: House, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """An event that could not be relayed goes before those that were said after it."""
    monkeypatch.setattr(house.inboxes, "append", away_at_first(house.inboxes.append, times=2))
    async with until.running(house.outbox.run):
        for number in range(3):
            house.outbox.hand_over(await house.commit(number))

        async def all_are_told():
            return len(await house.told()) == 3

        await until.eventually(all_are_told)

    assert await house.told() == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


async def test_the_sweep_leaves_alone_what_waits_here(
    house: House, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """It relays what lost nodes have left, and nothing twice."""
    append, begun, door = house.inboxes.append, asyncio.Event(), asyncio.Event()

    async def slow_append(letters, now_ms):
        begun.set()
        await door.wait()
        await append(letters, now_ms)

    waiting, left = await house.commit(1), await house.commit(2)
    async with until.running(house.outbox.run):
        with monkeypatch.context() as patch:
            patch.setattr(house.inboxes, "append", slow_append)
            house.outbox.hand_over(waiting)
            await begun.wait()
        house.clock.advance(1_001)
        swept = [await house.outbox.sweep_shard(shard) for shard in range(8)]
        assert await house.told() == [left.says[0].body.encode()]
        door.set()

        async def all_are_told():
            return len(await house.told()) == 2

        await until.eventually(all_are_told)

    assert sum(swept) == 1


async def test_what_was_told_leaves_the_table_together(
    house: House, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Deleting waits a moment, out of the way of the next step, and takes all that was told."""
    transact, deleted = house.table.transact, []

    async def note(writes, *rest):
        await transact(writes, *rest)
        deleted.append(len(writes))

    entries = [await house.commit(number) for number in range(3)]
    monkeypatch.setattr(house.table, "transact", note)
    async with until.running(house.outbox.run):
        for entry in entries:
            house.outbox.hand_over(entry)
        await until.true(lambda: sum(deleted) == 3)
        # Whoever sweeps meanwhile leaves to this node what it has told.
        assert await house.told() == [b'{"n":0}', b'{"n":1}', b'{"n":2}']

    assert deleted == [3]
    left = [await house.table.query(Query(pk=entry.key.pk)) for entry in entries]
    assert [page.items for page in left] == [[], [], []]


async def test_a_server_that_ends_deletes_what_it_has_told(house: House, until: Until):
    """Closing waits for the last deletion, so that no sweep tells it again."""
    entry = await house.commit(1)
    async with until.running(house.outbox.run):
        house.outbox.hand_over(entry)

        async def is_told():
            return bool(await house.told())

        await until.eventually(is_told)
        await house.outbox.close(5.0)

    assert (await house.table.query(Query(pk=entry.key.pk))).items == []
