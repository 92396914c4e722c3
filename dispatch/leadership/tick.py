"""Tick: the engine's pass over the orders that are due; searches riders and monitors pickups."""

import asyncio
from typing import NamedTuple

import structlog

from concurrency.wakeup import WakeUp
from dispatch.clock import Clock
from dispatch.errors import LeadershipLost, Refused, StoreUnavailable
from dispatch.ids import OrderId
from dispatch.orders.batch.batch_loop import FALLBACK_CHECK_MS, BatchLoop
from dispatch.orders.batch.open_orders import OpenOrders
from dispatch.orders.offers.delivery_monitor import DeliveryMonitor
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offer_holds import OfferHolds
from dispatch.orders.offers.offering import OfferMaker
from dispatch.orders.offers.pickup_monitor import PickupMonitor
from dispatch.orders.offers.search import RiderSearch
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors

# Orders processed concurrently; each waits for a few round trips.
ORDERS_AT_ONCE = 16
# Without a due timer the engine ticks at least this often, in case it was not woken.
IDLE_S = 1.0
# Pause after a store was unavailable.
RETRY_S = 0.5
# An order whose processing failed is due again after this long.
ORDER_RETRY_MS = 500
# How long a new leader makes no offers, and reads the open ones again after. A former one may have
# a transaction under way, learns of a lease lost with its Redis at the next renewal (1 s), and what
# it wrote last may not be in the index yet.
SETTLE_MS = 1_000

log = structlog.get_logger(__name__)


class EnginePauses(NamedTuple):
    """How long the engine waits after a store was away, and before its first offers."""

    # Units: seconds, milliseconds.
    retry_s: float = RETRY_S
    settle_ms: int = SETTLE_MS


_PAUSES = EnginePauses()


class DispatchEngine:
    """The engine of a zone: processes due orders, and decides batches. One runs at a time."""

    def __init__(
        self,
        order_service: OrderService,
        orders: OrderStore,
        lookups: EngineLookups,
        clock: Clock,
        pauses: EnginePauses = _PAUSES,
    ) -> None:
        self._orders = orders
        self._lookups = lookups
        self._clock = clock
        self._pauses = pauses
        self._open_orders = OpenOrders(orders, lookups.board)
        self._holds = OfferHolds(clock)
        offer_maker = OfferMaker(order_service, lookups, self._holds)
        self._search = RiderSearch(order_service, lookups, offer_maker, clock)
        self.batch_loop = BatchLoop(order_service, lookups, offer_maker, self._open_orders, clock)
        self._pickup_monitor = PickupMonitor(order_service, lookups, clock)
        self._delivery_monitor = DeliveryMonitor(order_service, lookups, clock)
        self._wake_up = WakeUp()

    def wake(self, _message: bytes = b"") -> None:
        """Tick now; the callback of the engine's channel."""
        self._wake_up.set()

    async def run(self) -> None:
        """Background loops while this node is the leader: ticks, and batch decisions."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_ticks())
            group.create_task(self.batch_loop.run())

    async def _run_ticks(self) -> None:
        """Rebuild the timers, and again when all offers can be read; then tick."""
        self._holds.begin(self._pauses.settle_ms)
        settled_ms = self._clock.now_ms() + self._pauses.settle_ms
        is_rebuilt = False
        while True:
            try:
                if not is_rebuilt:
                    await self.rebuild_timers()
                    is_rebuilt = True
                if self._holds.incomplete_ms and self._clock.now_ms() >= settled_ms:
                    await self.rebuild_timers()
                    self._holds.complete()
                wait_s = await self.tick()
            except StoreUnavailable as error:
                log.warning("tick_deferred", cause=str(error))
                wait_s = self._pauses.retry_s
            except LeadershipLost as lost:
                # LeaderLease cancels this task in a moment.
                log.warning("leadership_lost", cause=str(lost))
                wait_s = self._pauses.retry_s
            await self._wake_up.wait(wait_s)

    async def rebuild_timers(self) -> int:
        """Arm the timer of every open order that needs the engine; returns how many they are.

        The orders hold their due times; Redis may have lost the timers.

        Errors: StoreUnavailable.
        """
        now_ms = self._clock.now_ms()
        due: dict[str, int] = {}
        with translate_dynamodb_errors():
            orders = await self._orders.list_open()
        self._open_orders.clear()
        for order in orders:
            self._open_orders.update(order)
            if waves.needs_engine(order):
                due[order.order_id] = dispatch_of(order).due_at_ms or now_ms
                self._search.add_open_offers(order)
        await self._lookups.timers.arm(due)
        return len(due)

    async def tick(self) -> float:
        """Process the orders that are due, at most `ORDERS_AT_ONCE`; the pause until the next tick.

        Units: seconds.
        Errors: StoreUnavailable, LeadershipLost.
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
            with translate_dynamodb_errors():
                await self.process_order(order_id)
        except LeadershipLost:
            log.info("order_skipped_without_lease", order_id=order_id)
        except Refused as refused:
            # Another transition came first, and has set the order's timer.
            log.debug("order_changed_meanwhile", order_id=order_id, code=refused.code)
            await self._retry_later(order_id)
        except StoreUnavailable as error:
            log.warning("order_processing_failed", order_id=order_id, cause=str(error))
            await self._retry_later(order_id)

    async def _retry_later(self, order_id: OrderId) -> None:
        await self._lookups.put_timer(order_id, self._clock.now_ms() + ORDER_RETRY_MS)

    async def process_order(self, order_id: OrderId) -> None:
        """Do what an order needs now: offer it, monitor its way, or drop its timer.

        Errors: Refused where the order has changed meanwhile; StoreUnavailable, TableUnavailable,
        LeadershipLost.
        """
        order = await self._orders.get(order_id)
        if order is None or not waves.needs_engine(order):
            self._search.forget(order_id)
            self._open_orders.forget(order_id, order)
            await self._lookups.timers.drop(order_id, self._lookups.fence.token())
            return
        policy = await self._lookups.policies.get(order.order_type)
        if waves.is_after_pickup(order):
            self._search.forget(order_id)
            self._open_orders.forget(order_id, order)
            await self._delivery_monitor.check(order, policy)
            return
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
