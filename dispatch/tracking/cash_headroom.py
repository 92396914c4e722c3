"""How much cash each rider of this node may still collect, kept as the ledger has it."""

import asyncio

import structlog
from msgspec.structs import replace

from concurrency.wakeup import Bell
from dispatch.errors import StoreUnavailable
from dispatch.riders.store import Riders
from dispatch.tracking.rider_state import CASH_HEADROOM_XAF, Roster

# Cash that a rider hands in is seen after this long, whoever booked it.
AGAIN_S = 60.0
# A store that is away is asked again after this long.
AWAY_S = 0.5

log = structlog.get_logger(__name__)


class Purses:
    """Reads a rider's room for cash anew after his hands filled or emptied.

    Those who wait are riders with a seat here, each once.
    """

    def __init__(self, riders: Riders, roster: Roster) -> None:
        self._riders = riders
        self._roster = roster
        self._waiting: set[str] = set()
        self._bell = Bell()

    def touch(self, rider_id: str) -> None:
        """His room may have changed; never waits."""
        if self._roster.get(rider_id) is not None:
            self._waiting.add(rider_id)
            self._bell.ring()

    async def run(self) -> None:
        """Keep every seat's room right, for as long as the server runs."""
        while True:
            await self._rest()
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("purses_wait", cause=error.cause)
                self._bell.ring()
                await asyncio.sleep(AWAY_S)

    async def _rest(self) -> None:
        if not await self._bell.rest(AGAIN_S):
            full = (s for s in self._roster if s.about.cash_headroom_xaf < CASH_HEADROOM_XAF)
            self._waiting.update(seat.rider_id for seat in full)

    async def look(self) -> None:
        """Read the room of those who wait.

        Errors: StoreUnavailable; whoever was not read still waits.
        """
        for rider_id in sorted(self._waiting):
            room_xaf = await self._riders.cash_headroom(rider_id)
            self._waiting.discard(rider_id)
            seat = self._roster.get(rider_id)
            if seat is not None and seat.about.cash_headroom_xaf != room_xaf:
                self._roster.describe(rider_id, replace(seat.about, cash_headroom_xaf=room_xaf))
