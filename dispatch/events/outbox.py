"""The one way out: what a step says is written with it, then relayed to inboxes, timers and board.

Step 4 of an order's way: store.orders writes -> [here] relays -> store.inbox -> sockets.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from zlib import crc32

import msgspec
import structlog
import uuid_utils

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes, InboxMessage
from dispatch.events.operations_board import BoardLine, OperationsBoard
from dispatch.storage.timers import Timers
from ledger.dynamodb.table import (
    Delete,
    Item,
    Key,
    Put,
    Query,
    Table,
    TableUnavailable,
)

# Source: 8 partitions take 8,000 entries/s on DynamoDB; a sweep asks each once.
SHARDS = 8
# Entries relayed in one go; their deletions make one transaction (at most 100 writes).
BATCH_MAX = 64
# Committed entries that wait for the relay; above it they are left to the sweep, which finds them
# in the table.
WAITING_MAX = 20_000
# The relay of the committing node needs milliseconds; older entries belong to a node that died or
# to a time without Redis. A question to each shard costs more than all else an idle server does.
SWEEP_AFTER_MS = 1_000
SWEEP_EVERY_S = 2.0
# Source: promise, events arrive at most 2 s after Redis is back.
RETRY_S = 0.25
# Relayed entries are deleted together, this long after the first of them: a transaction of its own
# for each would stand in the way of the order's next step, which often comes at once.
# Source: bench/offer_latency.py; half of the sweep's patience is left to a slow table.
DELETE_AFTER_S = 0.05
CLOSE_POLL_S = 0.01

log = structlog.get_logger(__name__)


class OutboxEvent(msgspec.Struct, frozen=True):
    """One event for one identity, ready to be sent; `body` is its JSON object.

    One that is not `kept` is meant for the nodes that hold the identity's sockets.
    """

    to: str
    name: str
    body: str
    is_durable: bool = True


class OutboxEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is to be done once an order's step is written. Units: Unix milliseconds.

    `line` is the order's line on the board, `due_at_ms` when the engine must look at it,
    `trail_due_ms` when the trail of one that has ended is whole.
    """

    entry_id: str
    order_id: str
    at_ms: int
    events: tuple[OutboxEvent, ...] = ()
    line: BoardLine | None = None
    due_at_ms: int | None = None
    counters: dict[str, int] = {}
    trail_due_ms: int | None = None

    @property
    def key(self) -> Key:
        """Where the entry waits; entries of one order share a shard and keep their order."""
        return Key(f"OUTBOX#{crc32(self.order_id.encode()) % SHARDS}", f"ENTRY#{self.entry_id}")


def new_entry_id() -> str:
    """An id that sorts by the time it was made. Source: UUID version 7, RFC 9562."""
    return uuid_utils.uuid7().hex


def write_entry(entry: OutboxEntry) -> Put:
    """The write that puts an entry beside the step it belongs to."""
    item: Item = {
        "PK": entry.key.pk,
        "SK": entry.key.sk,
        "atMs": entry.at_ms,
        "entry": msgspec.json.encode(entry).decode(),
    }
    return Put(item=item, condition="attribute_not_exists(PK)")


class Outbox:
    """Relays entries: those of this node at once, those of lost nodes by sweeping the table."""

    def __init__(
        self, table: Table, inboxes: Inboxes, timers: Timers, board: OperationsBoard, clock: Clock
    ) -> None:
        self._table = table
        self._inboxes = inboxes
        self._timers = timers
        self._board = board
        self._clock = clock
        self._waiting: deque[OutboxEntry] = deque()
        self._has_waiting = asyncio.Event()
        # Relayed, and not deleted yet.
        self._relayed: deque[OutboxEntry] = deque()
        self._has_relayed = asyncio.Event()
        self._is_store_unavailable = False
        self._is_running = False

    def enqueue(self, entry: OutboxEntry) -> None:
        """Relay an entry that has just been committed; never waits."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append(entry)
            self._has_waiting.set()
        metrics.OUTBOX_WAITING.set(len(self._waiting))

    async def run(self) -> None:
        """Relay what is handed over, for as long as the server runs."""
        self._is_running = True
        if self._waiting or self._relayed:
            # Left by a run that a bug of ours has ended.
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
        """Wait until what was handed over is relayed and deleted; the rest is the sweep's."""
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                # At the end only, and for one round trip.
                while (self._waiting or self._relayed) and self._is_running:  # noqa: ASYNC110
                    await asyncio.sleep(CLOSE_POLL_S)

    async def _relay_waiting(self) -> None:
        """Relay the oldest of what waits; while a store is away they wait on, in their order."""
        batch = list(islice(self._waiting, BATCH_MAX))
        is_kept = False
        try:
            await self._publish(batch)
            self._is_store_unavailable = False
            self._relayed.extend(batch)
            self._has_relayed.set()
        except (StoreUnavailable, TableUnavailable) as error:
            # Were they left to the sweep, a newer event of their order would overtake them.
            is_kept = True
            self._log_unavailable(error)
            await asyncio.sleep(RETRY_S)
        finally:
            # After a bug of ours they are left to the sweep, so that others are not held up.
            for _ in () if is_kept else batch:
                self._waiting.popleft()
            metrics.OUTBOX_WAITING.set(len(self._waiting))

    def _log_unavailable(self, error: Exception) -> None:
        if not self._is_store_unavailable:
            self._is_store_unavailable = True
            log.warning("outbox_waits", entries=len(self._waiting), cause=str(error))

    async def sweep(self) -> None:
        """Relay entries that nobody has relayed, for as long as the server runs."""
        while True:
            for shard in range(SHARDS):
                # One after the other in a row would keep those waiting who come between them.
                await asyncio.sleep(SWEEP_EVERY_S / SHARDS)
                try:
                    while await self.sweep_shard(shard) == BATCH_MAX:
                        pass
                except (StoreUnavailable, TableUnavailable) as error:
                    log.warning("outbox_sweep_deferred", cause=str(error))
                    await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep_shard(self, shard: int) -> int:
        """Relay the overdue entries of one shard, oldest first; returns how many there were.

        Those that this node is about to relay or to delete anyway are left to it.
        """
        page = await self._table.query(
            Query(pk=f"OUTBOX#{shard}", prefix="ENTRY#", limit=BATCH_MAX)
        )
        before_ms = self._clock.now_ms() - SWEEP_AFTER_MS
        known = (*self._waiting, *self._relayed) if self._is_running else ()
        ours = {entry.key.sk for entry in known}
        overdue = [
            msgspec.json.decode(item["entry"], type=OutboxEntry)
            for item in page.items
            if item["atMs"] <= before_ms and item["SK"] not in ours
        ]
        if overdue:
            await self.relay(overdue)
        return len(overdue)

    async def relay(self, entries: Sequence[OutboxEntry]) -> None:
        """Tell what the entries say, then forget them; doing it twice tells nothing twice.

        Errors: StoreUnavailable, TableUnavailable; what was not forgotten is relayed again.
        """
        await self._publish(entries)
        await self._delete(entries)

    async def _publish(self, entries: Sequence[OutboxEntry]) -> None:
        now_ms = self._clock.now_ms()
        trails = {each.order_id: each.trail_due_ms for each in entries if each.trail_due_ms}
        # Side by side, and neither is left under way by a failure of the other.
        failures = await asyncio.gather(
            self._timers.arm(_due_times(entries), trails=trails),
            self._inboxes.append(_messages(entries), now_ms),
            return_exceptions=True,
        )
        for failure in filter(None, failures):
            raise failure
        await self._board.post([e.line for e in entries if e.line], _sum_counters(entries))
        for entry in entries:
            metrics.OUTBOX_LAG_SECONDS.observe(max(0, now_ms - entry.at_ms) / 1000)

    async def _delete(self, entries: Sequence[OutboxEntry]) -> None:
        await self._table.transact([Delete(key=entry.key) for entry in entries])

    async def _delete_relayed(self) -> None:
        """Delete what this node has relayed; while the table is away it waits."""
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
        InboxMessage(
            saying.to, f"{entry.entry_id}.{i}", saying.name, saying.body, saying.is_durable
        )
        for entry in entries
        for i, saying in enumerate(entry.events)
    ]


def _due_times(entries: Sequence[OutboxEntry]) -> Mapping[str, int]:
    return {entry.order_id: entry.due_at_ms for entry in entries if entry.due_at_ms}


def _sum_counters(entries: Sequence[OutboxEntry]) -> dict[str, int]:
    total: dict[str, int] = {}
    for entry in entries:
        for name, by in entry.counters.items():
            total[name] = total.get(name, 0) + by
    return total
