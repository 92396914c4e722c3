"""Decides all open orders together, again and again, while a policy or a backlog asks for it.

Step 4 of an order's way: engine -> [here] looks, decides beside the loop -> orders.asking.
"""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence

import structlog
from msgspec.structs import replace

from concurrency.wakeup import WakeUp
from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.errors import LeadershipLost, Refused, StoreUnavailable
from dispatch.model import Decision, DispatchState, OfferOutcome, OfferPolicy, Order
from dispatch.orders.batch.batch_decision import BatchDecision, PlannedOffer, decide_batch
from dispatch.orders.batch.mode import Backlog, ModeSwitch
from dispatch.orders.batch.open_orders import OpenOrders
from dispatch.orders.batch.problem_builder import BatchInput
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

# Where no service may be decided together it is asked this often whether that is still so.
IDLE_S = 5.0
# A store that is away is asked again after this long.
STORE_RETRY_S = 0.5
# Between two decisions there is at least this share of the time between them, whatever happens.
MIN_GAP_SHARE = 0.1
# An order that waits for its batch has a look of its own this often, should it be forgotten.
FALLBACK_CHECK_MS = 10_000
# Riders who were silent this many times longer than a fix is fresh are not named as excluded.
NAMED_FIX_AGE_FACTOR = 3
# Offers written side by side.
CONCURRENT_WRITES_MAX = 16

log = structlog.get_logger(__name__)


class BatchLoop:
    """The orders of one zone, decided together by its one live engine."""

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

    def is_batched(self, order: Order, policy: OfferPolicy) -> bool:
        """Whether the order is decided together with others; an operator's wish is not."""
        if self._mode_switch.set_policy(order.order_type, policy):
            self._wakeup.set()
        return self._mode_switch.is_batched(
            order.order_type
        ) and not waves.has_unasked_wanted_rider(dispatch_of(order))

    def update(self, order: Order) -> None:
        """An order was looked at: one that searches anew is decided at once."""
        if self._open_orders.update(order) and dispatch_of(order).state is DispatchState.SEARCHING:
            self._wakeup.set()

    async def run(self) -> None:
        """Decide, for as long as the engine rules."""
        while True:
            try:
                wait_s = await self.run_once()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("batches_wait", cause=str(error))
                wait_s = STORE_RETRY_S
            except LeadershipLost as deposed:
                # Whoever started this ends it in a moment.
                log.warning("batches_deposed", cause=str(deposed))
                wait_s = STORE_RETRY_S
            await asyncio.sleep(wait_s * MIN_GAP_SHARE)
            await self._wakeup.wait(wait_s * (1 - MIN_GAP_SHARE))

    async def run_once(self) -> float:
        """Decide once, where that is asked for; returns for how long there is nothing to do.

        Units: seconds.
        Errors: Deposed, StoreUnavailable, TableUnavailable.
        """
        policies: dict[Service, OfferPolicy] = {}
        policies |= {each: await self._lookups.policies.get(each) for each in SERVICES}
        for service, policy in policies.items():
            self._mode_switch.set_policy(service, policy)
        wait_s = IDLE_S
        if self._mode_switch.may_need_batch():
            wait_s = min(p.batch_every_ms for p in policies.values() if p.mode != "offers") / 1000
            orders, riders = await self._read_orders_and_riders()
            before = self._mode_switch.batched_services
            self._mode_switch.update_backlog(
                _count_backlog(orders, riders, self._clock.now_ms(), self._lookups.fresh_ms)
            )
            await self._return_to_offers(orders, before - self._mode_switch.batched_services)
            if self._mode_switch.batched_services:
                await self._decide(orders, riders, policies)
        for service in SERVICES:
            metrics.BATCHING.labels(service).set(self._mode_switch.is_batched(service))
        return wait_s

    async def _read_orders_and_riders(self) -> tuple[Collection[Order], Sequence[IndexedRider]]:
        """Everything that moves."""
        orders, crowd = await asyncio.gather(
            self._open_orders.read(), self._lookups.positions.scan_all()
        )
        since_ms = self._clock.now_ms() - NAMED_FIX_AGE_FACTOR * self._lookups.fresh_ms
        return orders, await asyncio.to_thread(crowd.riders_since, since_ms)

    async def _return_to_offers(
        self, orders: Collection[Order], services: Collection[Service]
    ) -> None:
        """The orders of services that are no longer decided together are looked at now."""
        due = {
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
        finds = self._lookups
        # What is written by this decision is checked again by each write.
        finds.fence.token()
        vendors = sorted({order.vendor_id for order in orders if order.vendor_id})
        answers, preps, paused = await asyncio.gather(
            finds.learned_stats.answers(),
            finds.learned_stats.prep_times(vendors),
            finds.pauses.current(self._clock.now_ms()),
        )
        now_ms = self._clock.now_ms()
        held = self._offer_maker.holds.current(now_ms)
        town = BatchInput(
            now_ms=now_ms,
            orders=orders,
            riders=riders,
            policies=policies,
            batched_services=self._mode_switch.batched_services,
            paused=paused,
            offer_holds=held,
            answers=answers,
            prep_times=preps,
            speeds_mps=self._speeds_mps(now_ms),
            demand=self._open_orders.demand(),
            fresh_ms=finds.fresh_ms,
            time_scale=finds.time_scale,
        )
        with metrics.BATCH_SECONDS.time():
            verdict = await asyncio.to_thread(decide_batch, town, ids.new_id("bat"))
        log.debug("batch", asks=len(verdict.offers), nobody=len(verdict.unassignable))
        await self._apply_decision(verdict, held, policies)

    def _speeds_mps(self, now_ms: int) -> dict[str | None, float]:
        """How fast one gets on in the city now, by vehicle; None is the usual one."""
        hour, speeds = hour_of(now_ms), self._lookups.speeds
        return {each: speeds.speed_mps((WHOLE_CITY, hour, each)) for each in (*SPEED_MPS, None)}

    async def _apply_decision(
        self,
        batch_decision: BatchDecision,
        holds_before: Mapping[str, str],
        policies: Mapping[Service, OfferPolicy],
    ) -> None:
        now = self._offer_maker.holds.current(self._clock.now_ms())
        # Whom an order that is not decided here has asked meanwhile is asked no more.
        asks = [
            each
            for each in batch_decision.offers
            if now.get(each.rider_id) == holds_before.get(each.rider_id)
        ]
        jobs: list[Awaitable[object]] = [
            self._make_offer(each, policies[each.order.order_type]) for each in asks
        ]
        jobs += [
            self._order_service.withdraw_delivery(order.order_id, OfferOutcome.MOVED)
            for order in batch_decision.reassignments
        ]
        jobs += [
            self._order_service.exhaust_search(order.order_id, self._no_candidate_facts(decision))
            for order, decision in batch_decision.unassignable
            if dispatch_of(order).state is DispatchState.SEARCHING
        ]
        await asyncio.gather(*(self._write_logged(job) for job in jobs))

    async def _write_logged(self, write: Awaitable[object]) -> None:
        try:
            async with self._write_slots:
                await write
        except LeadershipLost:
            log.info("batch_left")
        except Refused as refused:
            # Something moved on while we thought; the next decision knows it.
            log.debug("batch_outrun", code=refused.code)
        except (StoreUnavailable, TableUnavailable) as error:
            log.warning("batch_failed", cause=str(error))

    async def _make_offer(self, planned: PlannedOffer, policy: OfferPolicy) -> None:
        """Offer an order to the rider who is to have it."""
        order, now_ms, decision = planned.order, self._clock.now_ms(), planned.decision
        dispatch = dispatch_of(order)
        chosen = Candidate(rider_id=planned.rider_id, distance_km=planned.distance_km)
        pick = Wave((chosen,), dispatch.wave + 1, planned.distance_km)
        offers = waves.offers_for(pick, now_ms, policy, ids.new_offer_id)
        after = waves.with_offers(dispatch, offers, None)
        first, *others = decision.candidates
        first = replace(first, offer_id=offers[planned.rider_id].offer_id)
        made = OfferFacts(
            trip_km=trip_km(order),
            due_at_ms=waves.next_check_at_ms(after, now_ms, policy),
            decision=replace(decision, candidates=(first, *others)),
        )
        await self._offer_maker.make_offers(order, offers, made)

    def _no_candidate_facts(self, decision: Decision) -> NoCandidateFacts:
        return NoCandidateFacts(
            retry_at_ms=self._clock.now_ms() + FALLBACK_CHECK_MS, decision=decision
        )


def _count_backlog(
    orders: Collection[Order], riders: Sequence[IndexedRider], now_ms: int, fresh_ms: int
) -> Backlog:
    """How many orders wait for how many riders who could take one now."""
    free = sum(each.is_free and now_ms - each.seen_at_ms <= fresh_ms for each in riders)
    return Backlog(sum(waves.is_searching(order) for order in orders), free)
