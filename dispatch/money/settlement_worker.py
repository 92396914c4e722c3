"""Splits the money of delivered orders: at once where it happened, by sweeping where it did not."""

import asyncio

import structlog

from dispatch.clock import Clock
from dispatch.errors import Refused, StoreUnavailable
from dispatch.orders.service import Flow
from ledger.core.accounts import SHARDS
from ledger.dynamodb.table import TableUnavailable
from ledger.posting.ledger import Ledger

# Deliveries that wait to be settled here; above it they are left to the sweep, which finds them in
# the table.
WAITING_MAX = 10_000
# Settlements side by side: as many as a process has platform account shards. At 18 ms each they are
# about 800 a second.
AT_ONCE = 16
# Source: ledger design, delivered -> paid within 60 s even after a kill.
SWEEP_EVERY_S = 10.0
SWEEP_AFTER_MS = 10_000

log = structlog.get_logger(__name__)


class Settler:
    """Settles what is handed over, and sweeps what nobody settled."""

    def __init__(self, flow: Flow, ledger: Ledger, clock: Clock) -> None:
        self._flow = flow
        self._ledger = ledger
        self._clock = clock
        self._waiting: asyncio.Queue[str] = asyncio.Queue(WAITING_MAX)

    def hand_over(self, order_id: str) -> None:
        """Settle an order that has just been delivered; never waits."""
        if not self._waiting.full():
            self._waiting.put_nowait(order_id)

    async def run(self) -> None:
        """Settle what is handed over, for as long as the server runs."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self.settle(await self._waiting.get())

    async def sweep(self) -> None:
        """Settle what was left over, for as long as the server runs."""
        while True:
            try:
                await self.sweep_once(SWEEP_EVERY_S)
            except TableUnavailable as error:
                log.warning("settlement_sweep_deferred", cause=str(error))
                await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep_once(self, over_s: float = 0.0) -> int:
        """Settle every delivered order that has waited too long; returns how many there were.

        Its questions are spread over so many seconds: in a row they would keep others waiting.
        """
        count = 0
        for shard in range(SHARDS):
            await asyncio.sleep(over_s / SHARDS)
            for order_id in await self._ledger.unsettled(
                shard, self._clock.now_ms(), SWEEP_AFTER_MS
            ):
                await self.settle(order_id)
                count += 1
        return count

    async def settle(self, order_id: str) -> None:
        """Settle one order; what cannot be settled now is left to the sweep, and said."""
        try:
            await self._flow.settle(order_id)
        except (Refused, StoreUnavailable, TableUnavailable) as error:
            log.warning("settlement_deferred", order_id=order_id, cause=str(error))
