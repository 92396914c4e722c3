"""Cash headroom: how much cash each rider of this node may still collect, read from the ledger."""

import asyncio

import structlog
from msgspec.structs import replace

from concurrency.wakeup import WakeUp
from dispatch.errors import StoreUnavailable
from dispatch.riders.store import Riders
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.rider_state import CASH_HEADROOM_MAX_XAF

# Cash handed in is noticed within this time, whichever node booked it.
REFRESH_EVERY_S = 60.0
# Pause after the store was unavailable.
RETRY_S = 0.5

log = structlog.get_logger(__name__)


class CashHeadroom:
    """Background refresh of the cash headroom of riders whose cash or orders have changed.

    Only riders of this node are queued, each once.
    """

    def __init__(self, riders: Riders, rider_registry: RiderRegistry) -> None:
        self._riders = riders
        self._rider_registry = rider_registry
        self._waiting: set[str] = set()
        self._wake_up = WakeUp()

    def refresh_soon(self, rider_id: str) -> None:
        """Queue a rider whose headroom may have changed; never blocks."""
        if self._rider_registry.get(rider_id) is not None:
            self._waiting.add(rider_id)
            self._wake_up.set()

    async def run(self) -> None:
        """Background loop: refresh queued riders, and every minute those below the limit."""
        while True:
            await self._wait()
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log.warning("cash_headroom_deferred", cause=error.cause)
                self._wake_up.set()
                await asyncio.sleep(RETRY_S)

    async def _wait(self) -> None:
        if not await self._wake_up.wait(REFRESH_EVERY_S):
            self._waiting.update(
                rider.rider_id
                for rider in self._rider_registry
                if rider.attributes.cash_headroom_xaf < CASH_HEADROOM_MAX_XAF
            )

    async def refresh(self) -> None:
        """Read the headroom of all queued riders.

        Errors: StoreUnavailable; riders that were not read stay queued.
        """
        for rider_id in sorted(self._waiting):
            headroom_xaf = await self._riders.cash_headroom(rider_id)
            self._waiting.discard(rider_id)
            rider = self._rider_registry.get(rider_id)
            if rider is not None and rider.attributes.cash_headroom_xaf != headroom_xaf:
                self._rider_registry.set_attributes(
                    rider_id, replace(rider.attributes, cash_headroom_xaf=headroom_xaf)
                )
