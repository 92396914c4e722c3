"""Trail archiver: moves the trails of ended orders from Redis to DynamoDB, simplified."""

import asyncio
from collections.abc import Callable

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.orders.store import OrderStore
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.storage.timers import Timers
from dispatch.tracking.polyline import build_trail
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.trails import Trails

SWEEP_EVERY_S = 1.0
# Trails archived in one sweep; each is a read of Redis, a read and a write of DynamoDB.
TRAILS_PER_SWEEP = 32

log = structlog.get_logger(__name__)


class TrailArchiver:
    """Archives due trails; after a crash in between the next sweep of any node repeats it."""

    def __init__(
        self, orders: OrderStore, positions: Positions, timers: Timers, trails: Trails
    ) -> None:
        self._orders = orders
        self._positions = positions
        self._timers = timers
        self._trails = trails

    async def run(self, clock: Clock, is_leader: Callable[[], bool]) -> None:
        """Background loop: archive due trails every second on the leader's node."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            if not is_leader():
                continue
            try:
                while await self.sweep(clock.now_ms()) == TRAILS_PER_SWEEP:
                    pass
            except StoreUnavailable as error:
                log.warning("trail_archive_deferred", cause=str(error))

    async def sweep(self, now_ms: int) -> int:
        """Archive at most `TRAILS_PER_SWEEP` due trails; how many were due.

        Units: Unix milliseconds.
        Errors: StoreUnavailable; a trail that is not archived stays due.
        """
        due = await self._timers.trails_due(now_ms, TRAILS_PER_SWEEP)
        with translate_dynamodb_errors():
            for order_id in due:
                await self._archive(order_id)
        return len(due)

    async def _archive(self, order_id: str) -> None:
        order = await self._orders.get(order_id)
        rider_id = order.rider_id if order else None
        fixes = await self._positions.read_trail(order_id, rider_id) if rider_id else []
        if rider_id is not None and fixes:
            await self._trails.put(order_id, build_trail(rider_id, fixes))
        # In this order: after a crash the same trail is written again.
        await self._timers.drop_trail(order_id)
        await self._positions.expire_trail(order_id)
        metrics.TRAILS.labels("archived" if fixes else "empty").inc()
