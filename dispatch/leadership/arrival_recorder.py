"""Arrival recorder: writes arrivals that tracking has detected to their orders."""

import asyncio

import structlog

from concurrency.work_queue import WorkQueue
from dispatch import metrics
from dispatch.errors import Refused, StoreUnavailable
from dispatch.ids import OrderId, RiderId
from dispatch.orders.service import OrderService
from dispatch.tracking.tracking_policy import Arrival

# Arrivals that wait for their write; above it the newest is dropped and counted: the rider's app
# can still report it.
QUEUE_MAX = 10_000
WORKERS = 4
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class ArrivalRecorder:
    """Queue of arrivals; an unavailable store only delays them."""

    def __init__(self, order_service: OrderService) -> None:
        self._order_service = order_service
        self._queue = WorkQueue[Arrival](QUEUE_MAX, WORKERS)

    def enqueue(self, arrival: Arrival) -> None:
        """Queue an arrival; never blocks."""
        if not self._queue.offer(arrival):
            metrics.ARRIVALS.labels("overflow").inc()

    async def run(self) -> None:
        """Background loop: write queued arrivals, and retry those that could not be written."""
        await self._queue.run(self._record_or_requeue)

    async def _record_or_requeue(self, arrival: Arrival) -> None:
        if not await self.record(arrival):
            await asyncio.sleep(RETRY_S)
            self.enqueue(arrival)

    async def record(self, arrival: Arrival) -> bool:
        """Write one arrival; False where it must be tried again."""
        try:
            await self._order_service.record_arrival(
                OrderId(arrival.order_id), RiderId(arrival.rider_id), arrival.stop
            )
        except StoreUnavailable as error:
            log.warning("arrival_deferred", order_id=arrival.order_id, cause=str(error))
            return False
        except Refused:
            # The order has progressed, or has another rider, by now.
            metrics.ARRIVALS.labels("late").inc()
            return True
        metrics.ARRIVALS.labels(arrival.stop).inc()
        return True
