"""How much cash each rider of this node may still collect, kept as the ledger has it."""

import asyncio

import structlog
from msgspec.structs import replace

from concurrency.wakeup import WakeUp
from dispatch.errors import StoreUnavailable
from dispatch.riders.store import Riders
from dispatch.tracking.rider_state import CASH_HEADROOM_MAX_XAF, RiderRegistry

# Cash that a rider hands in is seen after this long, whoever booked it.
REFRESH_EVERY_S = 60.0
# A store that is away is asked again after this long.
RETRY_S = 0.5

log = structlog.get_logger(__name__)


class CashHeadroom:
    """Reads a rider's room for cash anew after his hands filled or emptied.

    Those who wait are riders with a seat here, each once.
    """

    def __init__(self, riders: Riders, rider_registry: RiderRegistry) -> None:
        self._riders = riders
        self._rider_registry = rider_registry
        self._waiting: set[str] = set()
        self._wake_up = WakeUp()

    def refresh_soon(self, rider_id: str) -> None:
        """His room may have changed; never waits."""
        if self._rider_registry.get(rider_id) is not None:
            self._waiting.add(rider_id)
            self._wake_up.set()

    async def run(self) -> None:
        """Keep every seat's room right, for as long as the server runs."""
        while True:
            await self._wait()
            try:
                await self.refresh()
            except StoreUnavailable as error:
                log.warning("purses_wait", cause=error.cause)
                self._wake_up.set()
                await asyncio.sleep(RETRY_S)

    async def _wait(self) -> None:
        if not await self._wake_up.wait(REFRESH_EVERY_S):
            full = (
                s
                for s in self._rider_registry
                if s.attributes.cash_headroom_xaf < CASH_HEADROOM_MAX_XAF
            )
            self._waiting.update(seat.rider_id for seat in full)

    async def refresh(self) -> None:
        """Read the room of those who wait.

        Errors: StoreUnavailable; whoever was not read still waits.
        """
        for rider_id in sorted(self._waiting):
            room_xaf = await self._riders.cash_headroom(rider_id)
            self._waiting.discard(rider_id)
            seat = self._rider_registry.get(rider_id)
            if seat is not None and seat.attributes.cash_headroom_xaf != room_xaf:
                self._rider_registry.set_attributes(
                    rider_id, replace(seat.attributes, cash_headroom_xaf=room_xaf)
                )
