"""Calls off orders that nobody pays or answers, so that nothing is held for them for ever."""

import asyncio
from collections.abc import Callable

import structlog

from dispatch.clock import Clock
from dispatch.errors import Refused, StoreUnavailable
from dispatch.ids import OrderId
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.timeouts import SHORTEST_TIMEOUT_MS, has_timed_out
from ledger.dynamodb.table import TableUnavailable

# Terms are quarters of an hour; a look reads what is PENDING and older than the shortest.
SWEEP_EVERY_S = 15.0

log = structlog.get_logger(__name__)


class OrderTimeouts:
    """Looks for them again and again; an order that moves meanwhile stays."""

    def __init__(self, order_service: OrderService, orders: OrderStore, clock: Clock) -> None:
        self._order_service = order_service
        self._orders = orders
        self._clock = clock

    async def run(self, is_leader: Callable[[], bool]) -> None:
        """Look, for as long as the server runs; `is_held` says whether that is our turn."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            if not is_leader():
                continue
            try:
                await self.sweep_once()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("lapses_deferred", cause=str(error))

    async def sweep_once(self) -> int:
        """Call off every order whose term is over; returns how many there seemed to be.

        Errors: StoreUnavailable, TableUnavailable; the next look finds the rest.
        """
        now_ms = self._clock.now_ms()
        waiting = await self._orders.pending_before(now_ms - SHORTEST_TIMEOUT_MS)
        lapsed = [order.order_id for order in waiting if has_timed_out(order, now_ms)]
        for order_id in lapsed:
            await self._time_out(order_id)
        return len(lapsed)

    async def _time_out(self, order_id: OrderId) -> None:
        try:
            await self._order_service.time_out_order(order_id)
        except Refused as refused:
            # It went on since the index was read.
            log.info("lapse_refused", order_id=order_id, cause=str(refused))
