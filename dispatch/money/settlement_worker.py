"""Splits the money of delivered orders: at once where it happened, by sweeping where it did not."""

import asyncio

import structlog

from dispatch.clock import Clock
from dispatch.errors import Refused, StoreUnavailable
from dispatch.ids import OrderId
from dispatch.orders.service import OrderService
from ledger.core.accounts import LIST_SHARDS
from ledger.dynamodb.table import TableUnavailable
from ledger.posting.ledger import Ledger

# Deliveries that wait to be settled here; above it they are left to the sweep, which finds them in
# the table.
QUEUE_MAX = 10_000
# Settlements side by side: as many as a process has platform account shards. At 18 ms each they are
# about 800 a second.
WORKERS = 16
# Source: ledger design, delivered -> paid within 60 s even after a kill.
SWEEP_EVERY_S = 10.0
SWEEP_AFTER_MS = 10_000

log = structlog.get_logger(__name__)


class SettlementWorker:
    """Settles what is handed over, and sweeps what nobody settled."""

    def __init__(self, order_service: OrderService, ledger: Ledger, clock: Clock) -> None:
        self._order_service = order_service
        self._ledger = ledger
        self._clock = clock
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_MAX)

    def enqueue(self, order_id: str) -> None:
        """Settle an order that has just been delivered; never waits."""
        if not self._queue.full():
            self._queue.put_nowait(order_id)

    async def run(self) -> None:
        """Settle what is handed over, for as long as the server runs."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._run_worker())

    async def _run_worker(self) -> None:
        while True:
            await self.settle(await self._queue.get())

    async def sweep(self) -> None:
        """Settle what was left over, for as long as the server runs."""
        while True:
            try:
                await self.sweep_once(SWEEP_EVERY_S)
            except TableUnavailable as error:
                log.warning("settlement_sweep_deferred", cause=str(error))
                await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep_once(self, spread_s: float = 0.0) -> int:
        """Settle every delivered order that has waited too long; returns how many there were.

        Its questions are spread over so many seconds: in a row they would keep others waiting.
        """
        count = 0
        for shard in range(LIST_SHARDS):
            await asyncio.sleep(spread_s / LIST_SHARDS)
            for order_id in await self._ledger.list_unsettled(
                shard, self._clock.now_ms(), SWEEP_AFTER_MS
            ):
                await self.settle(order_id)
                count += 1
        return count

    async def settle(self, order_id: str) -> None:
        """Settle one order; what cannot be settled now is left to the sweep, and said."""
        try:
            await self._order_service.settle(OrderId(order_id))
        except (Refused, StoreUnavailable, TableUnavailable) as error:
            log.warning("settlement_deferred", order_id=order_id, cause=str(error))
