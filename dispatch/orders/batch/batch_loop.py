"""Batch loop: decides all open orders of a zone together, while a policy or backlog requires it."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence

import structlog

from concurrency.wakeup import WakeUp
from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.errors import STORE_RETRY_S, LeadershipLost, Refused, StoreUnavailable
from dispatch.ids import OrderId, RiderId
from dispatch.model import Decision, DispatchState, OfferOutcome, OfferPolicy, Order
from dispatch.orders.batch.batch_decision import BatchDecision, PlannedOffer, decide_batch
from dispatch.orders.batch.batch_input import BatchInput
from dispatch.orders.batch.mode import Backlog, ModeSwitch
from dispatch.orders.batch.open_orders import OpenOrders
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offering import OfferMaker, trip_km
from dispatch.orders.offers.policy_store import SERVICES
from dispatch.orders.service import OrderService
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import NoCandidateFacts, OfferFacts, dispatch_of
from dispatch.orders.transitions.waves import Candidate, Wave
from dispatch.tracking.stores.rider_facts import IndexedRider
from ledger.core.pricing import Service
from ledger.dynamodb.table import TableUnavailable
from matching.eta import SPEED_MPS
from matching.speeds import WHOLE_CITY, hour_of

# Where no service may be decided in batches, policies are read again this often.
IDLE_S = 5.0
# Between two decisions there is at least this share of the interval, however often it is woken.
MIN_GAP_SHARE = 0.1
# An order that waits for a batch is checked this often by the tick, in case the batch missed it.
FALLBACK_CHECK_MS = 10_000
# Riders whose position is older than this many times `fresh_ms` are not listed as excluded.
NAMED_FIX_AGE_FACTOR = 3
# Transitions of one decision that are written at the same time.
CONCURRENT_WRITES_MAX = 16

log = structlog.get_logger(__name__)


class BatchLoop:
    """Decides the orders of one zone together; run by its live engine."""

    def __init__(
        self,
        order_service: OrderService,
        lookups: EngineLookups,
        offer_maker: OfferMaker,
        open_orders: OpenOrders,
        clock: Clock,
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self._offer_maker = offer_maker
        self._open_orders = open_orders
        self._clock = clock
        self._mode_switch = ModeSwitch()
        self._wakeup = WakeUp()
        self._write_slots = asyncio.Semaphore(CONCURRENT_WRITES_MAX)

    def set_policy(self, service: Service, policy: OfferPolicy) -> None:
        """Set a service's policy; a change of its mode takes effect at once."""
        if self._mode_switch.set_policy(service, policy):
            self._wakeup.set()

    def is_batched(self, order: Order) -> bool:
        """Whether the order is decided in batches; one with a wanted rider is not."""
        is_wanted = waves.has_unasked_wanted_rider(dispatch_of(order))
        return self._mode_switch.is_batched(order.order_type) and not is_wanted

    def update(self, order: Order) -> None:
        """Take over an order that was read; one that has begun to search is decided at once."""
        if self._open_orders.update(order) and dispatch_of(order).state is DispatchState.SEARCHING:
            self._wakeup.set()

    async def run(self) -> None:
        """Decide, for as long as the engine is live."""
        while True:
            try:
                wait_s = await self.run_once()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("batch_loop_store_unavailable", cause=str(error))
                wait_s = STORE_RETRY_S
            except LeadershipLost as error:
                # The owner of this task is about to end it.
                log.warning("batch_loop_leadership_lost", cause=str(error))
                wait_s = STORE_RETRY_S
            await asyncio.sleep(wait_s * MIN_GAP_SHARE)
            await self._wakeup.wait(wait_s * (1 - MIN_GAP_SHARE))

    async def run_once(self) -> float:
        """Decide once, where the modes require it; returns the time until the next decision.

        Units: seconds.
        Errors: LeadershipLost, StoreUnavailable, TableUnavailable.
        """
        policies: dict[Service, OfferPolicy] = {}
        policies |= {each: await self._lookups.policies.get(each) for each in SERVICES}
        for service, policy in policies.items():
            self._mode_switch.set_policy(service, policy)
        wait_s = IDLE_S
        if self._mode_switch.may_need_batch():
            wait_s = min(p.batch_every_ms for p in policies.values() if p.mode != "offers") / 1000
            await self._update_modes_and_decide(policies)
        for service in SERVICES:
            metrics.BATCHING.labels(service).set(self._mode_switch.is_batched(service))
        return wait_s

    async def _update_modes_and_decide(self, policies: Mapping[Service, OfferPolicy]) -> None:
        orders, riders = await self._read_orders_and_riders()
        before = self._mode_switch.batched_services
        self._mode_switch.update_backlog(
            _count_backlog(orders, riders, self._clock.now_ms(), self._lookups.fresh_ms)
        )
        await self._return_to_offers(orders, before - self._mode_switch.batched_services)
        if self._mode_switch.batched_services and not self._offer_maker.holds.incomplete_ms:
            await self._decide(orders, riders, policies)

    async def _read_orders_and_riders(self) -> tuple[Collection[Order], Sequence[IndexedRider]]:
        orders, scan = await asyncio.gather(
            self._open_orders.read(), self._lookups.rider_index.scan_all()
        )
        since_ms = self._clock.now_ms() - NAMED_FIX_AGE_FACTOR * self._lookups.fresh_ms
        return orders, await asyncio.to_thread(scan.riders_since, since_ms)

    async def _return_to_offers(
        self, orders: Collection[Order], services: Collection[Service]
    ) -> None:
        """Let the tick check the orders of services that have left the batch mode."""
        due: dict[str, int] = {
            order.order_id: self._clock.now_ms()
            for order in orders
            if order.order_type in services and waves.is_searching(order)
        }
        await self._lookups.timers.arm(due)

    async def _decide(
        self,
        orders: Collection[Order],
        riders: Sequence[IndexedRider],
        policies: Mapping[Service, OfferPolicy],
    ) -> None:
        lookups = self._lookups
        # Only saves work: each write of the decision checks the lease again.
        lookups.fence.token()
        vendor_ids = sorted({order.vendor_id for order in orders if order.vendor_id})
        answers, prep_times, paused = await asyncio.gather(
            lookups.learned_stats.answers(),
            lookups.learned_stats.prep_times(vendor_ids),
            lookups.pauses.current(self._clock.now_ms()),
        )
        now_ms = self._clock.now_ms()
        holds = self._offer_maker.holds.current(now_ms)
        batch_input = BatchInput(
            now_ms=now_ms,
            orders=orders,
            riders=riders,
            policies=policies,
            batched_services=self._mode_switch.batched_services,
            paused=paused,
            offer_holds=holds,
            answers=answers,
            prep_times=prep_times,
            speeds_mps=self._speeds_mps(now_ms),
            demand=self._open_orders.demand(),
            fresh_ms=lookups.fresh_ms,
            time_scale=lookups.time_scale,
        )
        with metrics.BATCH_SECONDS.time():
            decision = await asyncio.to_thread(decide_batch, batch_input, ids.new_id("bat"))
        log.debug(
            "batch_decided",
            offers=len(decision.offers),
            unassignable=len(decision.unassignable),
        )
        await self._apply_decision(decision, holds, policies)

    def _speeds_mps(self, now_ms: int) -> dict[str | None, float]:
        """The learned speeds in the city now, by vehicle; None is the usual one."""
        hour, speeds = hour_of(now_ms), self._lookups.speeds
        return {each: speeds.speed_mps((WHOLE_CITY, hour, each)) for each in (*SPEED_MPS, None)}

    async def _apply_decision(
        self,
        decision: BatchDecision,
        holds_before: Mapping[RiderId, OrderId],
        policies: Mapping[Service, OfferPolicy],
    ) -> None:
        holds_now = self._offer_maker.holds.current(self._clock.now_ms())
        # A rider whom another order has asked during the decision is not asked by it.
        offers = [
            each
            for each in decision.offers
            if holds_now.get(each.rider_id) == holds_before.get(each.rider_id)
        ]
        writes: list[Awaitable[object]] = [
            self._make_offer(each, policies[each.order.order_type]) for each in offers
        ]
        writes += [
            self._order_service.withdraw_delivery(order.order_id, OfferOutcome.MOVED)
            for order in decision.reassignments
        ]
        writes += [
            self._order_service.exhaust_search(
                each.order.order_id, self._no_candidate_facts(each.decision)
            )
            for each in decision.unassignable
            if dispatch_of(each.order).state is DispatchState.SEARCHING
        ]
        await asyncio.gather(*(self._write_logged(write) for write in writes))

    async def _write_logged(self, write: Awaitable[object]) -> None:
        try:
            async with self._write_slots:
                await write
        except LeadershipLost:
            log.info("batch_leadership_lost")
        except Refused as refused:
            # The order or rider changed during the decision; the next one has the new state.
            log.debug("batch_order_changed", code=refused.code)
        except (StoreUnavailable, TableUnavailable) as error:
            log.warning("batch_write_failed", cause=str(error))

    async def _make_offer(self, planned: PlannedOffer, policy: OfferPolicy) -> None:
        """Offer an order to the rider that the decision has chosen."""
        order, now_ms = planned.order, self._clock.now_ms()
        dispatch = dispatch_of(order)
        candidate = Candidate(rider_id=planned.rider_id, distance_km=planned.distance_km)
        wave = Wave((candidate,), dispatch.wave + 1, planned.distance_km)
        offers = waves.offers_for(wave, now_ms, policy, ids.new_offer_id)
        after = waves.with_offers(dispatch, offers, None)
        facts = OfferFacts(
            offers=offers,
            trip_km=trip_km(order),
            due_at_ms=waves.next_check_at_ms(after, now_ms, policy),
            decision=waves.with_offer_ids(planned.decision, offers),
        )
        await self._offer_maker.make_offers(order, facts)

    def _no_candidate_facts(self, decision: Decision) -> NoCandidateFacts:
        return NoCandidateFacts(
            retry_at_ms=self._clock.now_ms() + FALLBACK_CHECK_MS, decision=decision
        )


def _count_backlog(
    orders: Collection[Order], riders: Sequence[IndexedRider], now_ms: int, fresh_ms: int
) -> Backlog:
    """Orders that still search, and riders who could take one now. Units: Unix milliseconds."""
    free = sum(each.is_free and now_ms - each.seen_at_ms <= fresh_ms for each in riders)
    return Backlog(sum(waves.is_searching(order) for order in orders), free)
