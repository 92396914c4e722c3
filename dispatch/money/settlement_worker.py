"""Settlement worker: settles delivered orders, at once by its queue or later by its sweep."""

import asyncio

import structlog

from concurrency.work_queue import WorkQueue
from dispatch.clock import Clock
from dispatch.errors import Refused, StoreUnavailable
from dispatch.ids import OrderId
from dispatch.orders.service import OrderService
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from ledger.core.accounts import LIST_SHARDS
from ledger.posting.ledger import Ledger

# Delivered orders that wait to be settled by this node; above it they are left to the sweep, which
# finds them in the table.
QUEUE_MAX = 10_000
# Concurrent settlements: as many as a process has shards of each platform account. At 18 ms each
# they are about 800 a second.
WORKERS = 16
# Source: docs/promises.md, a delivered order is settled within 60 s even after a process died.
SWEEP_EVERY_S = 10.0
SWEEP_AFTER_MS = 10_000

log = structlog.get_logger(__name__)


class SettlementWorker:
    """Settles queued orders, and sweeps those that no queue has settled."""

    def __init__(self, order_service: OrderService, ledger: Ledger, clock: Clock) -> None:
        self._order_service = order_service
        self._ledger = ledger
        self._clock = clock
        self._queue = WorkQueue[str](QUEUE_MAX, WORKERS)

    def enqueue(self, order_id: str) -> None:
        """Queue an order that has just been delivered; never blocks. Overflow: the sweep."""
        self._queue.offer(order_id)

    async def run(self) -> None:
        """Background loop: settle the queue, `WORKERS` orders at a time."""
        await self._queue.run(self.settle)

    async def sweep(self) -> None:
        """Background loop: settle what the queues have missed, every `SWEEP_EVERY_S`."""
        while True:
            try:
                await self.sweep_once(SWEEP_EVERY_S)
            except StoreUnavailable as error:
                log.warning("settlement_sweep_deferred", cause=str(error))
                await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep_once(self, spread_s: float = 0.0) -> int:
        """Settle every order that was delivered `SWEEP_AFTER_MS` ago; returns how many there were.

        The queries are spread over `spread_s`: in a row they would delay other work.

        Units: seconds.
        Errors: StoreUnavailable.
        """
        count = 0
        for shard in range(LIST_SHARDS):
            await asyncio.sleep(spread_s / LIST_SHARDS)
            with translate_dynamodb_errors():
                order_ids = await self._ledger.list_unsettled(
                    shard, self._clock.now_ms(), SWEEP_AFTER_MS
                )
            for order_id in order_ids:
                await self.settle(order_id)
                count += 1
        return count

    async def settle(self, order_id: str) -> None:
        """Settle one order; errors are logged and left to the sweep."""
        try:
            with translate_dynamodb_errors():
                await self._order_service.settle(OrderId(order_id))
        except (Refused, StoreUnavailable) as error:
            log.warning("settlement_deferred", order_id=order_id, cause=str(error))
