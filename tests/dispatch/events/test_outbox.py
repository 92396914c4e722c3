"""Outbox relay: entries keep their order and are published once, through store outages."""

import asyncio

import msgspec
import pytest

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.alerts import Alerts
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import BoardLine, OperationsBoard
from dispatch.events.outbox import (
    SHARDS,
    Outbox,
    OutboxEntry,
    OutboxEvent,
    RelayTargets,
    new_entry_id,
    write_entry,
)
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.storage.sharded_list import shard_of
from dispatch.storage.timers import CLAIM_MS, Timers
from dispatch.wire.events import Alert, OrderMarker
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from tests.waiting import Until


class OutboxHarness:
    """An outbox on real stores, and the inbox of one customer."""

    def __init__(self, table, redis, scripts):
        self.clock, self.table = ManualClock(), table
        self.inboxes = Inboxes(redis, scripts)
        self.board = OperationsBoard(redis, scripts)
        self.timers = Timers(redis, scripts, "douala")
        self.alerts = Alerts(redis, scripts)
        targets = RelayTargets(self.inboxes, self.timers, self.board, self.alerts)
        self.outbox = Outbox(table, targets, self.clock)

    async def commit(self, number):
        """Write an entry with one event, as a transition of an order does."""
        event = OutboxEvent("user:usr_1", "order_ready", f'{{"n":{number}}}')
        entry = OutboxEntry(
            entry_id=new_entry_id(), order_id="ord_1", at_ms=self.clock.now_ms(), events=(event,)
        )
        await self.table.transact([write_entry(entry)])
        return entry

    async def delivered(self):
        """The bodies in the customer's inbox."""
        head = await self.inboxes.head("user:usr_1")
        entries = await self.inboxes.events_after("user:usr_1", head.epoch, 0) if head.epoch else []
        return [entry.body for entry in entries]

    async def stored(self):
        """The entries of the order that are still in the table."""
        partition = f"OUTBOX#{shard_of('ord_1', SHARDS)}"
        return (await self.table.query(Query(pk=partition))).items


@pytest.fixture
async def harness(table: DynamoTable, redis: RedisClients, scripts: Scripts):
    return OutboxHarness(table, redis, scripts)


def fail_first(append, times):
    """An append that raises StoreUnavailable the first times."""
    failures = iter(range(times))

    async def try_append(messages, now_ms):
        if next(failures, None) is not None:
            raise StoreUnavailable("redis", "away")
        await append(messages, now_ms)

    return try_append


async def test_retried_entries_keep_their_order(
    harness: OutboxHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Events that could not be relayed at first arrive before later ones."""
    monkeypatch.setattr(harness.inboxes, "append", fail_first(harness.inboxes.append, times=2))
    async with until.running(harness.outbox.run):
        for number in range(3):
            harness.outbox.enqueue(await harness.commit(number))

        async def all_arrived():
            return len(await harness.delivered()) == 3

        await until.eventually(all_arrived)

    assert await harness.delivered() == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


async def test_sweep_skips_entries_waiting_at_this_node(
    harness: OutboxHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """A sweep relays entries of other nodes, and leaves this node's queued ones to its relay."""
    append = harness.inboxes.append
    has_begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def blocked_append(messages, now_ms):
        has_begun.set()
        await may_go_on.wait()
        await append(messages, now_ms)

    queued, orphaned = await harness.commit(1), await harness.commit(2)
    async with until.running(harness.outbox.run):
        with monkeypatch.context() as patch:
            patch.setattr(harness.inboxes, "append", blocked_append)
            harness.outbox.enqueue(queued)
            await has_begun.wait()
        harness.clock.advance(1_001)
        swept = [await harness.outbox.sweep_shard(shard) for shard in range(SHARDS)]
        assert await harness.delivered() == [orphaned.events[0].body.encode()]
        may_go_on.set()

        async def all_arrived():
            return len(await harness.delivered()) == 2

        await until.eventually(all_arrived)

    assert sum(swept) == 1


async def test_relayed_entries_are_deleted_in_one_transaction(
    harness: OutboxHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Entries relayed at about the same time are deleted by one transaction."""
    transact, deleted = harness.table.transact, []

    async def record_size(writes, *rest):
        await transact(writes, *rest)
        deleted.append(len(writes))

    entries = [await harness.commit(number) for number in range(3)]
    monkeypatch.setattr(harness.table, "transact", record_size)
    async with until.running(harness.outbox.run):
        for entry in entries:
            harness.outbox.enqueue(entry)
        await until.true(lambda: sum(deleted) == 3)
        assert await harness.delivered() == [b'{"n":0}', b'{"n":1}', b'{"n":2}']

    assert deleted == [3]
    assert await harness.stored() == []


async def test_close_waits_for_the_last_deletion(harness: OutboxHarness, until: Until):
    """`close` returns once relayed entries are deleted, so that no sweep relays them again."""
    entry = await harness.commit(1)
    async with until.running(harness.outbox.run):
        harness.outbox.enqueue(entry)

        async def is_delivered():
            return bool(await harness.delivered())

        await until.eventually(is_delivered)
        await harness.outbox.close(5.0)

    assert await harness.stored() == []


async def test_relay_is_idempotent(harness: OutboxHarness):
    """An entry that is relayed twice has its event in the inbox once."""
    entry = await harness.commit(1)
    await harness.outbox.relay([entry])
    await harness.outbox.relay([entry])
    assert await harness.delivered() == [b'{"n":1}']


async def test_relay_updates_inbox_timer_and_board(harness: OutboxHarness):
    """Relaying an entry sets its timers, its line on the board, the counters and its event."""
    marker = OrderMarker(order_id="ord_1", status="READY", version=2)
    entry = OutboxEntry(
        entry_id=new_entry_id(),
        order_id="ord_1",
        at_ms=harness.clock.now_ms(),
        events=(OutboxEvent("user:usr_1", "order_ready", "{}"),),
        line=BoardLine(marker, ended=False),
        due_at_ms=1_000,
        trail_due_ms=2_000,
        counters={"ordersPlaced": 1},
    )
    await harness.outbox.relay([entry])
    assert await harness.delivered() == [b"{}"]
    assert await harness.board.read() == [marker]
    assert (await harness.board.totals(harness.clock.now_ms())).orders_placed == 1
    assert await harness.timers.claim(3_000, 10, 1) == (["ord_1"], 3_000 + CLAIM_MS)
    assert await harness.timers.trails_due(3_000, 10) == ["ord_1"]


async def test_sweep_waits_a_second(harness: OutboxHarness):
    """An entry is left to its own node for a second, then any node relays it."""
    await harness.commit(1)
    fresh = [await harness.outbox.sweep_shard(shard) for shard in range(SHARDS)]
    harness.clock.advance(1_001)
    overdue = [await harness.outbox.sweep_shard(shard) for shard in range(SHARDS)]
    assert (sum(fresh), sum(overdue)) == (0, 1)
    assert await harness.delivered() == [b'{"n":1}']
    assert await harness.stored() == []


async def test_entry_survives_storage(harness: OutboxHarness):
    """An entry read from the table equals the one that was written, with every field set."""
    entry = OutboxEntry(
        entry_id=new_entry_id(),
        order_id="ord_1",
        at_ms=harness.clock.now_ms(),
        events=(OutboxEvent("rider:rdr_1", "duty", "{}", is_durable=False),),
        line=BoardLine(OrderMarker(order_id="ord_1", gone=True), ended=True),
        due_at_ms=1,
        trail_due_ms=2,
        counters={"ordersDelivered": 1},
    )
    await harness.table.transact([write_entry(entry)])
    [item] = await harness.stored()
    assert msgspec.json.decode(item["entry"], type=OutboxEntry) == entry


async def test_alerts_of_an_entry_are_raised_once(harness: OutboxHarness):
    """A repeated relay raises none again; the same alert of a later entry is raised."""
    alert = Alert(kind="cash_differs", message="500 XAF are missing", order_id="ord_1", ts=5)

    def entry() -> OutboxEntry:
        return OutboxEntry(entry_id=new_entry_id(), order_id="ord_1", at_ms=5, alerts=(alert,))

    first = entry()
    await harness.outbox.relay([first])
    await harness.outbox.relay([first])
    assert await harness.alerts.recent() == [alert]

    await harness.outbox.relay([entry()])
    assert await harness.alerts.recent() == [alert, alert]
