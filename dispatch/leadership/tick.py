"""The tick: looks at every open order when its time has come, and moves it on.

Step 4 of an order's way: timers -> [here] -> orders.search asks riders, orders.escort follows them.
"""

import asyncio

import structlog

from concurrency.wakeup import WakeUp
from dispatch.clock import Clock
from dispatch.errors import LeadershipLost, Refused, StoreUnavailable
from dispatch.ids import OrderId
from dispatch.orders.batch.batch_loop import FALLBACK_CHECK_MS, BatchLoop
from dispatch.orders.batch.open_orders import OpenOrders
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offer_holds import OfferHolds
from dispatch.orders.offers.offering import OfferMaker
from dispatch.orders.offers.pickup_monitor import PickupMonitor
from dispatch.orders.offers.search import RiderSearch
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from ledger.dynamodb.table import TableUnavailable

# Orders looked at side by side; each waits for a few round trips.
ORDERS_AT_ONCE = 16
# Without a timer the engine still looks round, in case it was not woken.
IDLE_S = 1.0
# A store that is away is asked again after this long.
RETRY_S = 0.5
# An order whose look failed is looked at again after this long.
ORDER_RETRY_MS = 500

log = structlog.get_logger(__name__)


class DispatchEngine:
    """The one live engine of a zone."""

    def __init__(
        self, order_service: OrderService, orders: OrderStore, lookups: EngineLookups, clock: Clock
    ) -> None:
        self._orders = orders
        self._lookups = lookups
        self._clock = clock
        self._open_orders = OpenOrders(orders, lookups.board)
        asking = OfferMaker(order_service, lookups, OfferHolds(clock))
        self._search = RiderSearch(order_service, lookups, asking, clock)
        self.batch_loop = BatchLoop(order_service, lookups, asking, self._open_orders, clock)
        self._pickup_monitor = PickupMonitor(order_service, lookups, clock)
        self._wake_up = WakeUp()

    def wake(self, _message: bytes = b"") -> None:
        """Look at the timers now; the callback of the engine's channel."""
        self._wake_up.set()

    async def run(self) -> None:
        """Look at orders and decide them together, for as long as the server runs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_ticks())
            group.create_task(self.batch_loop.run())

    async def _run_ticks(self) -> None:
        """Rebuild the timers, then tick."""
        is_rebuilt = False
        while True:
            try:
                if not is_rebuilt:
                    await self.rebuild_timers()
                    is_rebuilt = True
                wait_s = await self.tick()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("engine_waits", cause=str(error))
                wait_s = RETRY_S
            except LeadershipLost as deposed:
                # Whoever started this ends it in a moment.
                log.warning("engine_deposed", cause=str(deposed))
                wait_s = RETRY_S
            await self._wake_up.wait(wait_s)

    async def rebuild_timers(self) -> int:
        """Set the timer of every order that has something to see to; returns how many there are.

        Redis may have forgotten them; the orders have not.
        """
        now_ms = self._clock.now_ms()
        due: dict[str, int] = {}
        orders = await self._orders.list_open()
        self._open_orders.clear()
        for order in orders:
            self._open_orders.update(order)
            if waves.needs_dispatch(order):
                due[order.order_id] = dispatch_of(order).due_at_ms or now_ms
                self._search.add_open_offers(order)
        await self._lookups.timers.arm(due)
        return len(due)

    async def tick(self) -> float:
        """Look at every order that is due; returns for how long there is nothing to do.

        Units: seconds.
        """
        now_ms = self._clock.now_ms()
        token = self._lookups.fence.token()
        due, next_ms = await self._lookups.timers.claim(now_ms, ORDERS_AT_ONCE, token)
        if due:
            await asyncio.gather(*(self._process_safely(OrderId(order_id)) for order_id in due))
            return 0.0
        if next_ms is None:
            return IDLE_S
        return min(IDLE_S, max(0.0, (next_ms - now_ms) / 1000))

    async def _process_safely(self, order_id: OrderId) -> None:
        try:
            await self.process_order(order_id)
        except LeadershipLost:
            log.info("engine_look_left", order_id=order_id)
        except Refused as refused:
            # The order moved on under the engine's eyes; its own step has set its timer.
            log.debug("engine_outrun", order_id=order_id, code=refused.code)
            await self._retry_later(order_id)
        except (StoreUnavailable, TableUnavailable) as error:
            log.warning("engine_look_failed", order_id=order_id, cause=str(error))
            await self._retry_later(order_id)

    async def _retry_later(self, order_id: OrderId) -> None:
        await self._lookups.put_timer(order_id, self._clock.now_ms() + ORDER_RETRY_MS)

    async def process_order(self, order_id: OrderId) -> None:
        """Do what an order wants now: ask riders, follow its rider, or be left alone.

        Errors: Refused where the order moved on meanwhile; StoreUnavailable, TableUnavailable.
        """
        order = await self._orders.get(order_id)
        if order is None or not waves.needs_dispatch(order):
            self._search.forget(order_id)
            self._open_orders.forget(order_id, order)
            await self._lookups.timers.drop(order_id, self._lookups.fence.token())
            return
        policy = await self._lookups.policies.get(order.order_type)
        if waves.is_before_pickup(order):
            self._search.rider_assigned(order)
            self._open_orders.update(order)
            await self._pickup_monitor.check(order, policy)
            return
        self.batch_loop.set_policy(order.order_type, policy)
        if self.batch_loop.is_batched(order):
            again_ms = self._clock.now_ms() + FALLBACK_CHECK_MS
            self.batch_loop.update(await self._search.maintain(order, policy, again_ms))
        else:
            self._open_orders.update(order)
            await self._search.advance(order, policy)
