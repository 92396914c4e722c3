"""Keeps the trails of orders that have ended: out of Redis, simplified, beside their orders."""

import asyncio
from collections.abc import Callable

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.orders.store import Orders
from dispatch.storage.timers import Timers
from dispatch.tracking.polyline import trail_of
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.trails import Trails
from ledger.dynamodb.table import TableUnavailable

LOOK_EVERY_S = 1.0
# Trails kept in one look; each is a read of Redis, a read and a write of DynamoDB.
AT_ONCE = 32

log = structlog.get_logger(__name__)


class Keeper:
    """Keeps what is due; a node that dies on the way leaves it to the next look of another."""

    def __init__(
        self, orders: Orders, positions: Positions, timers: Timers, trails: Trails
    ) -> None:
        self._orders = orders
        self._positions = positions
        self._timers = timers
        self._trails = trails

    async def run(self, clock: Clock, is_live: Callable[[], bool]) -> None:
        """Keep trails on the live engine's node, for as long as the server runs."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not is_live():
                continue
            try:
                while await self.look(clock.now_ms()) == AT_ONCE:
                    pass
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("trails_deferred", cause=str(error))

    async def look(self, now_ms: int) -> int:
        """Keep the trails that are due, a bounded number; how many those were.

        Errors: StoreUnavailable, TableUnavailable; what is not kept stays due.
        """
        due = await self._timers.trails_due(now_ms, AT_ONCE)
        for order_id in due:
            await self._keep(order_id)
        return len(due)

    async def _keep(self, order_id: str) -> None:
        order = await self._orders.get(order_id)
        rider_id = order.rider_id if order else None
        fixes = await self._positions.trail(order_id, rider_id) if rider_id else []
        if rider_id is not None and fixes:
            await self._trails.put(order_id, trail_of(rider_id, fixes))
        # In this order: killed after the write, the same is written again.
        await self._timers.trail_kept(order_id)
        await self._positions.fade_trail(order_id)
        metrics.TRAILS.labels("kept" if fixes else "empty").inc()
