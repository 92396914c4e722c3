"""Notes with an order that its rider was seen at its pickup or its door."""

import asyncio

import structlog

from dispatch import metrics
from dispatch.errors import Refused, StoreUnavailable
from dispatch.orders.service import Flow
from dispatch.tracking.tracking_policy import Arrival

# Arrivals that wait for their write; above it the newest is dropped and counted: his tap tells it.
WAITING_MAX = 10_000
AT_ONCE = 4
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Arrivals:
    """Writes arrivals down; a store that is away only delays them."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._waiting: asyncio.Queue[Arrival] = asyncio.Queue(WAITING_MAX)

    def hand_over(self, arrival: Arrival) -> None:
        """Note an arrival soon; never waits."""
        if self._waiting.full():
            metrics.ARRIVALS.labels("overflow").inc()
            return
        self._waiting.put_nowait(arrival)

    async def run(self) -> None:
        """Note what is handed over, for as long as the server runs."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            arrival = await self._waiting.get()
            if not await self.note(arrival):
                await asyncio.sleep(RETRY_S)
                self.hand_over(arrival)

    async def note(self, arrival: Arrival) -> bool:
        """Note one arrival; False where it must be tried again."""
        try:
            await self._flow.note_arrival(*arrival)
        except StoreUnavailable as error:
            log.warning("arrival_deferred", order_id=arrival.order_id, cause=str(error))
            return False
        except Refused:
            # The order went on, or to another rider, before it could be written.
            metrics.ARRIVALS.labels("late").inc()
            return True
        metrics.ARRIVALS.labels(arrival.at).inc()
        return True
