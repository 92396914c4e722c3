"""The relay: what waits keeps its order and is told once, however often a store goes away."""

import asyncio

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import OperationsBoard
from dispatch.events.outbox import (
    Outbox,
    OutboxEntry,
    OutboxEvent,
    new_entry_id,
    write_entry,
)
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.storage.timers import Timers
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from tests.waiting import Until


class OutboxHarness:
    """An outbox on real stores."""

    def __init__(self, table, redis, scripts):
        self.clock, self.table = ManualClock(), table
        self.inboxes = Inboxes(redis, scripts)
        board, timers = OperationsBoard(redis, scripts), Timers(redis, scripts, "douala")
        self.outbox = Outbox(table, self.inboxes, timers, board, self.clock)

    async def commit(self, number):
        """A step of one order is written."""
        saying = OutboxEvent("user:usr_1", "news", f'{{"n":{number}}}')
        entry = OutboxEntry(
            entry_id=new_entry_id(), order_id="ord_1", at_ms=self.clock.now_ms(), events=(saying,)
        )
        await self.table.transact([write_entry(entry)])
        return entry

    async def delivered(self):
        head = await self.inboxes.head("user:usr_1")
        found = await self.inboxes.events_after("user:usr_1", head.epoch, 0) if head.epoch else []
        return [entry.body for entry in found]


@pytest.fixture
async def harness(table: DynamoTable, redis: RedisClients, scripts: Scripts):
    return OutboxHarness(table, redis, scripts)


def fail_first(append, times):
    failures = iter(range(times))

    async def try_append(letters, now_ms):
        if next(failures, None) is not None:
            raise StoreUnavailable("redis", "away")
        await append(letters, now_ms)

    return try_append


async def test_retried_entries_keep_their_order(
    harness: OutboxHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """An event that could not be relayed goes before those that were said after it."""
    monkeypatch.setattr(harness.inboxes, "append", fail_first(harness.inboxes.append, times=2))
    async with until.running(harness.outbox.run):
        for number in range(3):
            harness.outbox.enqueue(await harness.commit(number))

        async def all_are_told():
            return len(await harness.delivered()) == 3

        await until.eventually(all_are_told)

    assert await harness.delivered() == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


async def test_sweep_skips_entries_waiting_at_this_node(
    harness: OutboxHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """It relays what lost nodes have left, and nothing twice."""
    append, begun, door = harness.inboxes.append, asyncio.Event(), asyncio.Event()

    async def slow_append(letters, now_ms):
        begun.set()
        await door.wait()
        await append(letters, now_ms)

    waiting, left = await harness.commit(1), await harness.commit(2)
    async with until.running(harness.outbox.run):
        with monkeypatch.context() as patch:
            patch.setattr(harness.inboxes, "append", slow_append)
            harness.outbox.enqueue(waiting)
            await begun.wait()
        harness.clock.advance(1_001)
        swept = [await harness.outbox.sweep_shard(shard) for shard in range(8)]
        assert await harness.delivered() == [left.events[0].body.encode()]
        door.set()

        async def all_are_told():
            return len(await harness.delivered()) == 2

        await until.eventually(all_are_told)

    assert sum(swept) == 1


async def test_relayed_entries_are_deleted_in_one_transaction(
    harness: OutboxHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Deleting waits a moment, out of the way of the next step, and takes all that was told."""
    transact, deleted = harness.table.transact, []

    async def note(writes, *rest):
        await transact(writes, *rest)
        deleted.append(len(writes))

    entries = [await harness.commit(number) for number in range(3)]
    monkeypatch.setattr(harness.table, "transact", note)
    async with until.running(harness.outbox.run):
        for entry in entries:
            harness.outbox.enqueue(entry)
        await until.true(lambda: sum(deleted) == 3)
        # Whoever sweeps meanwhile leaves to this node what it has told.
        assert await harness.delivered() == [b'{"n":0}', b'{"n":1}', b'{"n":2}']

    assert deleted == [3]
    left = [await harness.table.query(Query(pk=entry.key.pk)) for entry in entries]
    assert [page.items for page in left] == [[], [], []]


async def test_close_waits_for_the_last_deletion(harness: OutboxHarness, until: Until):
    """Closing waits for the last deletion, so that no sweep tells it again."""
    entry = await harness.commit(1)
    async with until.running(harness.outbox.run):
        harness.outbox.enqueue(entry)

        async def is_told():
            return bool(await harness.delivered())

        await until.eventually(is_told)
        await harness.outbox.close(5.0)

    assert (await harness.table.query(Query(pk=entry.key.pk))).items == []
