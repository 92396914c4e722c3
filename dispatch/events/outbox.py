"""Transactional outbox and its relay to timers, inboxes, alerts and the operations board.

An order's transition writes an entry in its own transaction; after the commit the same node relays
the entry, and a sweep relays entries of nodes that died. Relaying is idempotent by event id.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import msgspec
import structlog
import uuid_utils

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.alerts import ALERTS_TTL_MS, Alerts
from dispatch.events.inbox import Inboxes, InboxMessage
from dispatch.events.operations_board import BoardLine, OperationsBoard
from dispatch.storage.sharded_list import shard_of
from dispatch.storage.timers import Timers
from dispatch.wire.events import Alert
from ledger.dynamodb.table import (
    Delete,
    Item,
    Key,
    Put,
    Query,
    Table,
    TableUnavailable,
)

# Source: 8 partitions take 8,000 entries/s on DynamoDB; a sweep queries each once.
SHARDS = 8
# Entries relayed together; their deletions make one transaction (at most 100 writes).
BATCH_MAX = 64
# Committed entries that wait for this node's relay; further ones are left to the sweep, which finds
# them in the table.
WAITING_MAX = 20_000
# The committing node relays an entry within milliseconds; older ones belong to a node that died or
# to an outage of Redis. Source: measured, the queries of a sweep cost an idle server more CPU than
# anything else.
SWEEP_AFTER_MS = 1_000
SWEEP_EVERY_S = 2.0
# Source: docs/promises.md, the first event comes at most 2 s after Redis is back.
RETRY_S = 0.25
# Relayed entries are deleted together, this long after the first of them, since separate
# transactions would delay the order's next transition, which often follows at once.
# Source: bench/offer_latency.py. It is a small part of SWEEP_AFTER_MS, in case the table is slow.
DELETE_AFTER_S = 0.05
CLOSE_POLL_S = 0.01

log = structlog.get_logger(__name__)


class OutboxEvent(msgspec.Struct, frozen=True):
    """One event for one identity; `body` is its JSON object.

    One that is not durable is for the nodes that hold the identity's sockets.
    """

    to: str
    name: str
    body: str
    is_durable: bool = True


class OutboxEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What follows from one transition of an order. Units: Unix milliseconds.

    `line` is the order's line on the board, `due_at_ms` when the order is due for the engine,
    `trail_due_ms` when the trail of an ended order is due for archiving. `alerts` are for the
    operators.
    """

    entry_id: str
    order_id: str
    at_ms: int
    events: tuple[OutboxEvent, ...] = ()
    line: BoardLine | None = None
    due_at_ms: int | None = None
    counters: dict[str, int] = {}
    trail_due_ms: int | None = None
    alerts: tuple[Alert, ...] = ()

    @property
    def key(self) -> Key:
        """The entry's key; entries of one order are in one shard, in their order."""
        return Key(f"OUTBOX#{shard_of(self.order_id, SHARDS)}", f"ENTRY#{self.entry_id}")


def new_entry_id() -> str:
    """An id that sorts by creation time. Source: UUID version 7, RFC 9562."""
    return uuid_utils.uuid7().hex


def write_entry(entry: OutboxEntry) -> Put:
    """The write of an entry, for the transaction of its transition.

    DynamoDB: Put, conditional.
    """
    item: Item = {
        "PK": entry.key.pk,
        "SK": entry.key.sk,
        "atMs": entry.at_ms,
        "entry": msgspec.json.encode(entry).decode(),
    }
    return Put(item=item, condition="attribute_not_exists(PK)")


class RelayTargets(NamedTuple):
    """What entries are relayed to."""

    inboxes: Inboxes
    timers: Timers
    board: OperationsBoard
    alerts: Alerts


class Outbox:
    """Relays outbox entries: this node's at once, those of dead nodes by sweeping the table."""

    def __init__(self, table: Table, targets: RelayTargets, clock: Clock) -> None:
        self._table = table
        self._inboxes = targets.inboxes
        self._timers = targets.timers
        self._board = targets.board
        self._alerts = targets.alerts
        self._clock = clock
        self._waiting: deque[OutboxEntry] = deque()
        self._has_waiting = asyncio.Event()
        # Relayed entries that are not deleted yet.
        self._relayed: deque[OutboxEntry] = deque()
        self._has_relayed = asyncio.Event()
        self._is_store_unavailable = False
        self._is_running = False

    def enqueue(self, entry: OutboxEntry) -> None:
        """Queue a committed entry for the relay; never waits."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append(entry)
            self._has_waiting.set()
        metrics.OUTBOX_WAITING.set(len(self._waiting))

    async def run(self) -> None:
        """Relay queued entries, for as long as the server runs."""
        self._is_running = True
        if self._waiting or self._relayed:
            # Left by a run that crashed.
            self._has_waiting.set()
            self._has_relayed.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._delete_relayed())
                while True:
                    await self._has_waiting.wait()
                    self._has_waiting.clear()
                    while self._waiting:
                        await self._relay_waiting()
        finally:
            self._is_running = False

    async def close(self, deadline_s: float) -> None:
        """Wait until queued entries are relayed and deleted, at most until the deadline.

        What is left then is relayed by a sweep.

        Units: seconds.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                # Polled, since it happens once, at the end, and takes one round trip.
                while (self._waiting or self._relayed) and self._is_running:  # noqa: ASYNC110
                    await asyncio.sleep(CLOSE_POLL_S)

    async def _relay_waiting(self) -> None:
        """Relay the oldest queued entries; while a store is unavailable they stay queued."""
        batch = list(islice(self._waiting, BATCH_MAX))
        is_kept = False
        try:
            await self._publish(batch)
            self._is_store_unavailable = False
            self._relayed.extend(batch)
            self._has_relayed.set()
        except (StoreUnavailable, TableUnavailable) as error:
            # Not left to the sweep: a newer event of the same order would overtake them.
            is_kept = True
            self._log_unavailable(error)
            await asyncio.sleep(RETRY_S)
        finally:
            # After an unexpected error they are left to the sweep, so that they block no others.
            for _ in () if is_kept else batch:
                self._waiting.popleft()
            metrics.OUTBOX_WAITING.set(len(self._waiting))

    def _log_unavailable(self, error: Exception) -> None:
        if not self._is_store_unavailable:
            self._is_store_unavailable = True
            log.warning("outbox_blocked", entries=len(self._waiting), cause=str(error))

    async def sweep(self) -> None:
        """Relay overdue entries of every shard in turn, for as long as the server runs."""
        while True:
            for shard in range(SHARDS):
                # Spread over the period, so that no burst of queries delays other work.
                await asyncio.sleep(SWEEP_EVERY_S / SHARDS)
                try:
                    while await self.sweep_shard(shard) == BATCH_MAX:
                        pass
                except (StoreUnavailable, TableUnavailable) as error:
                    log.warning("outbox_sweep_deferred", cause=str(error))
                    await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep_shard(self, shard: int) -> int:
        """Relay the overdue entries of one shard, oldest first; how many there were.

        Entries that this node is about to relay or delete are left out.
        DynamoDB: one Query.
        Errors: StoreUnavailable, TableUnavailable.
        """
        page = await self._table.query(
            Query(pk=f"OUTBOX#{shard}", prefix="ENTRY#", limit=BATCH_MAX)
        )
        before_ms = self._clock.now_ms() - SWEEP_AFTER_MS
        queued = (*self._waiting, *self._relayed) if self._is_running else ()
        queued_sks = {entry.key.sk for entry in queued}
        overdue = [
            msgspec.json.decode(item["entry"], type=OutboxEntry)
            for item in page.items
            if item["atMs"] <= before_ms and item["SK"] not in queued_sks
        ]
        if overdue:
            await self.relay(overdue)
        return len(overdue)

    async def relay(self, entries: Sequence[OutboxEntry]) -> None:
        """Publish entries, then delete them; a repeat publishes no event twice.

        Errors: StoreUnavailable, TableUnavailable; entries that were not deleted are relayed again.
        """
        await self._publish(entries)
        await self._delete(entries)

    async def _publish(self, entries: Sequence[OutboxEntry]) -> None:
        now_ms = self._clock.now_ms()
        trails = {each.order_id: each.trail_due_ms for each in entries if each.trail_due_ms}
        # Concurrently; both complete even where one fails, so that neither is left running.
        failures = await asyncio.gather(
            self._timers.arm(_due_times(entries), trails=trails),
            self._inboxes.append(_messages(entries), now_ms),
            return_exceptions=True,
        )
        for failure in filter(None, failures):
            raise failure
        for entry in entries:
            await self._raise_alerts(entry)
        await self._board.post([each.line for each in entries if each.line], _sum_counters(entries))
        for entry in entries:
            metrics.OUTBOX_LAG_SECONDS.observe(max(0, now_ms - entry.at_ms) / 1000)

    async def _raise_alerts(self, entry: OutboxEntry) -> None:
        for number, alert in enumerate(entry.alerts):
            # By the entry, so that a repeated relay raises none again, and the next entry does.
            await self._alerts.raise_alert(alert, ALERTS_TTL_MS, f"{entry.entry_id}.{number}")

    async def _delete(self, entries: Sequence[OutboxEntry]) -> None:
        await self._table.transact([Delete(key=entry.key) for entry in entries])

    async def _delete_relayed(self) -> None:
        """Delete entries that this node has relayed; while the table is unavailable they wait."""
        while True:
            await self._has_relayed.wait()
            await asyncio.sleep(DELETE_AFTER_S)
            self._has_relayed.clear()
            while self._relayed:
                await self._delete_batch()

    async def _delete_batch(self) -> None:
        batch = list(islice(self._relayed, BATCH_MAX))
        try:
            await self._delete(batch)
        except TableUnavailable as error:
            self._log_unavailable(error)
            await asyncio.sleep(RETRY_S)
            return
        for _ in batch:
            self._relayed.popleft()


def _messages(entries: Sequence[OutboxEntry]) -> list[InboxMessage]:
    return [
        InboxMessage(event.to, f"{entry.entry_id}.{i}", event.name, event.body, event.is_durable)
        for entry in entries
        for i, event in enumerate(entry.events)
    ]


def _due_times(entries: Sequence[OutboxEntry]) -> Mapping[str, int]:
    return {entry.order_id: entry.due_at_ms for entry in entries if entry.due_at_ms}


def _sum_counters(entries: Sequence[OutboxEntry]) -> dict[str, int]:
    total: dict[str, int] = {}
    for entry in entries:
        for name, by in entry.counters.items():
            total[name] = total.get(name, 0) + by
    return total
