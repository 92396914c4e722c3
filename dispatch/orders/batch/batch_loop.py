"""Decides all open orders together, again and again, while a policy or a backlog asks for it.

Step 4 of an order's way: engine -> [here] looks, decides beside the loop -> orders.asking.
"""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence

import structlog
from msgspec.structs import replace

from concurrency.wakeup import Bell
from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.errors import Deposed, Refused, StoreUnavailable
from dispatch.model import Decision, DispatchState, OfferPolicy, Order, Outcome
from dispatch.orders.batch.batch_decision import Question, Verdict, decide
from dispatch.orders.batch.mode import Backlog, Modes
from dispatch.orders.batch.open_orders import Outlook
from dispatch.orders.batch.problem_builder import Town
from dispatch.orders.offers.lookups import Finds
from dispatch.orders.offers.offering import Asking, trip_km
from dispatch.orders.offers.policy_store import SERVICES
from dispatch.orders.service import Flow
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import NobodyLeft, OffersMade, dispatch_of
from dispatch.orders.transitions.waves import Candidate, Pick
from dispatch.tracking.stores.rider_facts import Seen
from ledger.core.pricing import Service
from ledger.dynamodb.table import TableUnavailable
from matching.eta import SPEED_MPS
from matching.speeds import CITY, hour_of

# Where no service may be decided together it is asked this often whether that is still so.
IDLE_S = 5.0
# A store that is away is asked again after this long.
AWAY_S = 0.5
# Between two decisions there is at least this share of the time between them, whatever happens.
GAP_SHARE = 0.1
# An order that waits for its batch has a look of its own this often, should it be forgotten.
BACKSTOP_MS = 10_000
# Riders who were silent this many times longer than a fix is fresh are not named as excluded.
NAMED_SILENCE = 3
# Offers written side by side.
ASKS_AT_ONCE = 16

log = structlog.get_logger(__name__)


class Batches:
    """The orders of one zone, decided together by its one live engine."""

    def __init__(
        self, flow: Flow, finds: Finds, asking: Asking, outlook: Outlook, clock: Clock
    ) -> None:
        self._flow = flow
        self._finds = finds
        self._asking = asking
        self._outlook = outlook
        self._clock = clock
        self._modes = Modes()
        self._bell = Bell()
        self._turns = asyncio.Semaphore(ASKS_AT_ONCE)

    def takes(self, order: Order, policy: OfferPolicy) -> bool:
        """Whether the order is decided together with others; an operator's wish is not."""
        if self._modes.hear(order.order_type, policy):
            self._bell.ring()
        return self._modes.is_batch(order.order_type) and not waves.wishes(dispatch_of(order))

    def note(self, order: Order) -> None:
        """An order was looked at: one that searches anew is decided at once."""
        if self._outlook.note(order) and dispatch_of(order).state is DispatchState.SEARCHING:
            self._bell.ring()

    async def run(self) -> None:
        """Decide, for as long as the engine rules."""
        while True:
            try:
                wait_s = await self.turn()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("batches_wait", cause=str(error))
                wait_s = AWAY_S
            except Deposed as deposed:
                # Whoever started this ends it in a moment.
                log.warning("batches_deposed", cause=str(deposed))
                wait_s = AWAY_S
            await asyncio.sleep(wait_s * GAP_SHARE)
            await self._bell.rest(wait_s * (1 - GAP_SHARE))

    async def turn(self) -> float:
        """Decide once, where that is asked for; returns for how long there is nothing to do.

        Units: seconds.
        Errors: Deposed, StoreUnavailable, TableUnavailable.
        """
        policies: dict[Service, OfferPolicy] = {}
        policies |= {each: await self._finds.policies.offers(each) for each in SERVICES}
        for service, policy in policies.items():
            self._modes.hear(service, policy)
        wait_s = IDLE_S
        if self._modes.wants_look():
            wait_s = min(p.batch_every_ms for p in policies.values() if p.mode != "offers") / 1000
            orders, riders = await self._look()
            before = self._modes.batched
            self._modes.weigh(_backlog(orders, riders, self._clock.now_ms(), self._finds.fresh_ms))
            await self._hand_back(orders, before - self._modes.batched)
            if self._modes.batched:
                await self._decide(orders, riders, policies)
        for service in SERVICES:
            metrics.BATCHING.labels(service).set(self._modes.is_batch(service))
        return wait_s

    async def _look(self) -> tuple[Collection[Order], Sequence[Seen]]:
        """Everything that moves."""
        orders, crowd = await asyncio.gather(
            self._outlook.read(), self._finds.positions.everybody()
        )
        since_ms = self._clock.now_ms() - NAMED_SILENCE * self._finds.fresh_ms
        return orders, await asyncio.to_thread(crowd.seen_since, since_ms)

    async def _hand_back(self, orders: Collection[Order], services: Collection[Service]) -> None:
        """The orders of services that are no longer decided together are looked at now."""
        due = {
            order.order_id: self._clock.now_ms()
            for order in orders
            if order.order_type in services and waves.wants_rider(order)
        }
        await self._finds.timers.arm(due)

    async def _decide(
        self,
        orders: Collection[Order],
        riders: Sequence[Seen],
        policies: Mapping[Service, OfferPolicy],
    ) -> None:
        finds = self._finds
        # What is written by this decision is checked again by each write.
        finds.fence.token()
        vendors = sorted({order.vendor_id for order in orders if order.vendor_id})
        answers, preps, paused = await asyncio.gather(
            finds.tallies.answers(),
            finds.tallies.preps(vendors),
            finds.pauses.current(self._clock.now_ms()),
        )
        now_ms = self._clock.now_ms()
        held = self._asking.holdings.current(now_ms)
        town = Town(
            now_ms=now_ms,
            orders=orders,
            riders=riders,
            policies=policies,
            batched=self._modes.batched,
            paused=paused,
            held=held,
            answers=answers,
            preps=preps,
            speeds_mps=self._speeds_mps(now_ms),
            demand=self._outlook.demand(),
            fresh_ms=finds.fresh_ms,
            pace=finds.pace,
        )
        with metrics.BATCH_SECONDS.time():
            verdict = await asyncio.to_thread(decide, town, ids.mint("bat"))
        log.debug("batch", asks=len(verdict.asks), nobody=len(verdict.nobody))
        await self._carry_out(verdict, held, policies)

    def _speeds_mps(self, now_ms: int) -> dict[str | None, float]:
        """How fast one gets on in the city now, by vehicle; None is the usual one."""
        hour, speeds = hour_of(now_ms), self._finds.speeds
        return {each: speeds.speed_mps((CITY, hour, each)) for each in (*SPEED_MPS, None)}

    async def _carry_out(
        self, verdict: Verdict, held: Mapping[str, str], policies: Mapping[Service, OfferPolicy]
    ) -> None:
        now = self._asking.holdings.current(self._clock.now_ms())
        # Whom an order that is not decided here has asked meanwhile is asked no more.
        asks = [each for each in verdict.asks if now.get(each.rider_id) == held.get(each.rider_id)]
        jobs: list[Awaitable[object]] = [
            self._ask(each, policies[each.order.order_type]) for each in asks
        ]
        jobs += [
            self._flow.withdraw_delivery(order.order_id, Outcome.MOVED) for order in verdict.moves
        ]
        jobs += [
            self._flow.exhaust_search(order.order_id, self._left(decision))
            for order, decision in verdict.nobody
            if dispatch_of(order).state is DispatchState.SEARCHING
        ]
        await asyncio.gather(*(self._safely(job) for job in jobs))

    async def _safely(self, job: Awaitable[object]) -> None:
        try:
            async with self._turns:
                await job
        except Deposed:
            log.info("batch_left")
        except Refused as refused:
            # Something moved on while we thought; the next decision knows it.
            log.debug("batch_outrun", code=refused.code)
        except (StoreUnavailable, TableUnavailable) as error:
            log.warning("batch_failed", cause=str(error))

    async def _ask(self, question: Question, policy: OfferPolicy) -> None:
        """Offer an order to the rider who is to have it."""
        order, now_ms, decision = question.order, self._clock.now_ms(), question.decision
        dispatch = dispatch_of(order)
        chosen = Candidate(rider_id=question.rider_id, distance_km=question.distance_km)
        pick = Pick((chosen,), dispatch.wave + 1, question.distance_km)
        offers = waves.offers_for(pick, now_ms, policy, ids.offer_id)
        after = waves.with_offers(dispatch, offers, None)
        first, *others = decision.candidates
        first = replace(first, offer_id=offers[question.rider_id].offer_id)
        made = OffersMade(
            trip_km=trip_km(order),
            due_at_ms=waves.next_look_ms(after, now_ms, policy),
            decision=replace(decision, candidates=(first, *others)),
        )
        await self._asking.ask(order, offers, made)

    def _left(self, decision: Decision) -> NobodyLeft:
        return NobodyLeft(look_again_ms=self._clock.now_ms() + BACKSTOP_MS, decision=decision)


def _backlog(
    orders: Collection[Order], riders: Sequence[Seen], now_ms: int, fresh_ms: int
) -> Backlog:
    """How many orders wait for how many riders who could take one now."""
    free = sum(each.is_free and now_ms - each.seen_at_ms <= fresh_ms for each in riders)
    return Backlog(sum(waves.wants_rider(order) for order in orders), free)
