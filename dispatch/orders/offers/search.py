"""One look at an order that wants a rider: ends what has lapsed, asks whoever is next, says why.

Step 4 of an order's way: engine -> [here] candidates, wave, offers -> orders.flow writes them.
"""

import asyncio
from collections.abc import Collection, Sequence

import structlog
from msgspec.structs import replace

from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.model import Decision, DispatchState, OfferPolicy, Order
from dispatch.orders.offers.candidates import CandidateContext, rank_candidates
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offer_pauses import PauseRule
from dispatch.orders.offers.offering import OfferMaker, trip_km
from dispatch.orders.service import OrderService
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import NoCandidateFacts, OfferFacts, dispatch_of
from dispatch.orders.transitions.offers import EndedOffers
from dispatch.orders.transitions.waves import EXPLAINED_MAX, Candidate, Wave
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.rider_facts import IndexedRider
from dispatch.wire.events import Alert

# A decision of "nobody" names riders up to this many times farther away than may be asked.
EXPLAINED_RADIUS_FACTOR = 2
# Looks in a row that found nobody are written down together, so many at a time.
MISSES_PER_DECISION = 6

log = structlog.get_logger(__name__)


class RiderSearch:
    """Looks at searching orders."""

    def __init__(
        self,
        order_service: OrderService,
        lookups: EngineLookups,
        offer_maker: OfferMaker,
        clock: Clock,
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self._offer_maker = offer_maker
        self._holds = offer_maker.holds
        self._clock = clock
        # Searches in a row that found nobody, by order: how many, and since when.
        self._misses: dict[str, tuple[int, int]] = {}

    def add_open_offers(self, order: Order) -> None:
        """The riders of an order's open offers hold them."""
        self._holds.add_open_offers(order)

    def forget(self, order_id: str) -> None:
        """The order searches no more: its riders may be asked again."""
        self._holds.release(order_id, ())
        self._misses.pop(order_id, None)

    def rider_assigned(self, order: Order) -> None:
        """The order has a rider: the others may be asked again, he may not."""
        self.forget(order.order_id)
        if order.rider_id is not None:
            self._holds.mark_busy(order.rider_id)

    async def advance(self, order: Order, policy: OfferPolicy) -> None:
        """End offers, make offers, or rest.

        Errors: Refused where the order moved on meanwhile; StoreUnavailable, TableUnavailable.
        """
        await self._offer_next(await self._without_ended_offers(order, policy), policy)

    async def maintain(self, order: Order, policy: OfferPolicy, next_check_at_ms: int) -> Order:
        """End offers only: whom to ask is decided for all orders together; the order after it.

        Units: `again_ms` is when it is looked at again where it has no offer, Unix ms.
        Errors: as `look`.
        """
        order, now_ms = await self._without_ended_offers(order, policy), self._clock.now_ms()
        dispatch = dispatch_of(order)
        due_ms = (
            waves.next_check_at_ms(dispatch, now_ms, policy)
            if dispatch.offers
            else next_check_at_ms
        )
        await self._lookups.put_timer(order.order_id, due_ms)
        is_long = now_ms - dispatch.started_at_ms >= policy.alert_after_ms
        if is_long and dispatch.state is DispatchState.EXHAUSTED:
            await self._raise_alert(order, now_ms, policy)
        return order

    async def _without_ended_offers(self, order: Order, policy: OfferPolicy) -> Order:
        """The order after what has lapsed of it has ended."""
        self._holds.release(order.order_id, dispatch_of(order).offers)
        if dispatch_of(order).state is DispatchState.OFFERED:
            return await self._end_offers(order, policy)
        return order

    async def _end_offers(self, order: Order, policy: OfferPolicy) -> Order:
        """End what has lapsed; the order after it."""
        now_ms, offers = self._clock.now_ms(), dispatch_of(order).offers
        gone = waves.expired_riders(offers, now_ms)
        waiting = waves.offers_with_receipt_due(offers, now_ms, policy)
        missing = await self._lookups.receipts.missing(list(waiting.values()))
        unread = frozenset(rider for rider, offer in waiting.items() if offer in missing)
        for rider in gone:
            late_ms = now_ms - offers[rider].deadline_ms
            metrics.OFFER_LATENESS_SECONDS.observe(max(0, late_ms) / 1000)
        after = order
        if gone | unread:
            lapse = EndedOffers(expired=gone, unread=unread)
            after = await self._order_service.end_offers(order.order_id, lapse)
        self._holds.release(order.order_id, dispatch_of(after).offers)
        await self._count_unread(unread - gone, waiting.keys() - unread, policy)
        return after

    async def _count_unread(
        self,
        unread_rider_ids: Collection[str],
        read_rider_ids: Collection[str],
        policy: OfferPolicy,
    ) -> None:
        """Leave riders alone whose apps show nothing, again and again."""
        if not unread_rider_ids and not read_rider_ids:
            return
        rule = PauseRule(policy.unread_max, policy.pause_ms)
        paused = await self._lookups.pauses.count_unread(
            unread_rider_ids, read_rider_ids, self._clock.now_ms(), rule
        )
        metrics.RIDERS_PAUSED.inc(len(paused))
        for rider in paused:
            log.info("rider_paused", rider_id=rider, for_ms=rule.pause_ms)

    async def _offer_next(self, order: Order, policy: OfferPolicy) -> None:
        """Ask whoever may be asked now."""
        now_ms, dispatch = self._clock.now_ms(), dispatch_of(order)
        ranked: list[Candidate] = []
        pick = Wave((), dispatch.wave, 0.0)
        if waves.may_pick_wave(dispatch, now_ms, policy):
            with metrics.MATCH_SECONDS.time():
                ranked = await self._candidates(order, now_ms, policy)
                pick = waves.pick_wave(dispatch, ranked, now_ms, policy)
                if pick.candidates:
                    await self._offer_wave(order, ranked, pick, (now_ms, policy))
        if not pick.candidates and dispatch.offers:
            again_ms = waves.next_check_at_ms(dispatch, now_ms, policy)
            await self._lookups.put_timer(order.order_id, again_ms)
        elif not pick.candidates:
            await self._schedule_retry(order, pick, (now_ms, policy))
        if now_ms - dispatch.started_at_ms >= policy.alert_after_ms:
            await self._raise_alert(order, now_ms, policy)

    async def _candidates(self, order: Order, now_ms: int, policy: OfferPolicy) -> list[Candidate]:
        """Free riders around the pickup, best first, with what stands in the way of each."""
        limit = policy.candidates_max + len(self._holds)
        found, paused = await asyncio.gather(
            self._lookups.positions.find_nearest_free(
                _search_circle(order, policy.radii_km[-1]), limit, now_ms, self._lookups.fresh_ms
            ),
            self._lookups.pauses.current(now_ms),
        )
        # Nothing is awaited from here until the chosen ones hold their offers: nobody is asked
        # twice at once.
        return self._rank(order, found, now_ms, paused)

    def _rank(
        self, order: Order, riders: Sequence[IndexedRider], now_ms: int, paused: dict[str, int]
    ) -> list[Candidate]:
        holding = self._holds.current(now_ms)
        return rank_candidates(
            order, riders, CandidateContext(now_ms, self._lookups.fresh_ms, holding, paused)
        )

    async def _offer_wave(
        self,
        order: Order,
        ranked: Sequence[Candidate],
        wave: Wave,
        now_and_policy: tuple[int, OfferPolicy],
    ) -> None:
        (now_ms, policy), dispatch = now_and_policy, dispatch_of(order)
        offers = waves.offers_for(wave, now_ms, policy, ids.new_offer_id)
        after = waves.with_offers(dispatch, offers, wave.radius_km)
        made = OfferFacts(
            trip_km=trip_km(order),
            due_at_ms=waves.next_check_at_ms(after, now_ms, policy),
            radius_km=wave.radius_km,
            decision=waves.explain_decision(dispatch, ranked, wave, offers, now_and_policy),
        )
        await self._offer_maker.make_offers(order, offers, made)
        self._misses.pop(order.order_id, None)

    async def _schedule_retry(
        self, order: Order, wave: Wave, now_and_policy: tuple[int, OfferPolicy]
    ) -> None:
        """Nobody to ask: say so once, and look again after a while."""
        (now_ms, policy), dispatch = now_and_policy, dispatch_of(order)
        count, since_ms = self._misses.get(order.order_id, (0, now_ms))
        count += 1
        self._misses[order.order_id] = (count, since_ms)
        again_ms = now_ms + waves.retry_after_ms(policy, count)
        if dispatch.state is DispatchState.SEARCHING:
            decision = await self._explain_no_candidates(order, wave, now_and_policy)
            left = NoCandidateFacts(retry_at_ms=again_ms, decision=decision)
            await self._order_service.exhaust_search(order.order_id, left)
            await self._lookups.put_timer(order.order_id, again_ms)
            return
        await self._lookups.put_timer(order.order_id, again_ms)
        if count % MISSES_PER_DECISION == 0 and dispatch.decisions:
            decision = await self._explain_no_candidates(order, wave, now_and_policy)
            decision = replace(decision, at_ms=since_ms, looks=count, until_ms=now_ms)
            await self._lookups.decisions.put(order.order_id, dispatch.decisions - 1, decision)

    async def _explain_no_candidates(
        self, order: Order, wave: Wave, now_and_policy: tuple[int, OfferPolicy]
    ) -> Decision:
        """Why none of the riders around was asked, whatever they do."""
        now_ms, policy = now_and_policy
        circle = _search_circle(order, policy.radii_km[-1] * EXPLAINED_RADIUS_FACTOR)
        found, paused = await asyncio.gather(
            self._lookups.positions.find_nearest(circle, EXPLAINED_MAX, now_ms),
            self._lookups.pauses.current(now_ms),
        )
        around = self._rank(order, found, now_ms, paused)
        return waves.explain_decision(dispatch_of(order), around, wave, {}, now_and_policy)

    async def _raise_alert(self, order: Order, now_ms: int, policy: OfferPolicy) -> None:
        """The search takes long: an operator may know what to do."""
        dispatch = dispatch_of(order)
        minutes = (now_ms - dispatch.started_at_ms) // 60_000
        asked = len(dispatch.asked)
        alert = Alert(
            kind="no_riders",
            message=f"no rider found for {minutes} min, {asked} asked so far",
            order_id=order.order_id,
            ts=now_ms,
        )
        await self._lookups.alerts.raise_alert(alert, policy.alert_every_ms)


def _search_circle(order: Order, radius_km: float) -> Circle:
    return Circle(lat=order.pickup.lat, lng=order.pickup.lng, radius_km=radius_km)
