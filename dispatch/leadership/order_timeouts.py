"""Order timeouts: cancels orders that are not paid, or not answered by the vendor, in time."""

import asyncio
from collections.abc import Callable

import structlog

from dispatch.clock import Clock
from dispatch.errors import Refused, StoreUnavailable
from dispatch.ids import OrderId
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.timeouts import SHORTEST_TIMEOUT_MS, has_timed_out
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors

# Timeouts are multiples of 15 minutes. Source: orders.transitions.timeouts, docs/promises.md.
SWEEP_EVERY_S = 15.0

log = structlog.get_logger(__name__)


class OrderTimeouts:
    """Background sweep; an order that has progressed meanwhile is left alone."""

    def __init__(self, order_service: OrderService, orders: OrderStore, clock: Clock) -> None:
        self._order_service = order_service
        self._orders = orders
        self._clock = clock

    async def run(self, is_leader: Callable[[], bool]) -> None:
        """Background loop: sweep every 15 s on the leader's node."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            if not is_leader():
                continue
            try:
                await self.sweep_once()
            except StoreUnavailable as error:
                log.warning("order_timeouts_deferred", cause=str(error))

    async def sweep_once(self) -> int:
        """Time out every overdue order; returns how many the index had.

        Errors: StoreUnavailable; the next sweep finds the rest.
        """
        now_ms = self._clock.now_ms()
        with translate_dynamodb_errors():
            pending = await self._orders.pending_before(now_ms - SHORTEST_TIMEOUT_MS)
            overdue = [order.order_id for order in pending if has_timed_out(order, now_ms)]
            for order_id in overdue:
                await self._time_out(order_id)
        return len(overdue)

    async def _time_out(self, order_id: OrderId) -> None:
        try:
            await self._order_service.time_out_order(order_id)
        except Refused as refused:
            # The order has progressed since the index was read.
            log.info("order_timeout_refused", order_id=order_id, cause=str(refused))
