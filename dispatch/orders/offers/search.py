"""Rider search for one order: ends offers, asks the next riders, explains why none was asked."""

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.ids import OrderId, RiderId
from dispatch.model import Decision, Dispatch, DispatchState, OfferPolicy, Order
from dispatch.orders.offers.candidates import CandidateContext, rank_candidates
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offer_pauses import PauseRule
from dispatch.orders.offers.offering import OfferMaker, trip_km
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import NoCandidateFacts, OfferFacts, dispatch_of
from dispatch.orders.transitions.offers import EndedOffers
from dispatch.orders.transitions.waves import EXPLAINED_MAX, Candidate, Wave
from dispatch.orders.units import MINUTE_MS
from dispatch.orders.use_cases.offers import OfferUseCases
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.rider_facts import IndexedRider
from dispatch.wire.events import Alert

# A decision without a candidate lists riders up to this many times the widest radius away.
EXPLAINED_RADIUS_FACTOR = 2
# Searches in a row without a candidate are stored as one decision, so many at a time.
MISSES_PER_DECISION = 6

log = structlog.get_logger(__name__)


class _Misses(NamedTuple):
    """Searches in a row that found no candidate: how many, and since when (Unix ms)."""

    in_a_row: int
    since_ms: int


class _Check(NamedTuple):
    """One check of an order: the order as it stands, its policy, and the time (Unix ms)."""

    order: Order
    policy: OfferPolicy
    now_ms: int

    @property
    def dispatch(self) -> Dispatch:
        return dispatch_of(self.order)


class RiderSearch:
    """Checks searching orders."""

    def __init__(
        self,
        order_service: OfferUseCases,
        lookups: EngineLookups,
        offer_maker: OfferMaker,
        clock: Clock,
    ) -> None:
        self._order_service = order_service
        self._lookups = lookups
        self._offer_maker = offer_maker
        self._holds = offer_maker.holds
        self._clock = clock
        self._misses: dict[OrderId, _Misses] = {}

    def add_open_offers(self, order: Order) -> None:
        """Hold the riders of an order's open offers."""
        self._holds.add_open_offers(order)

    def forget(self, order_id: OrderId) -> None:
        """Release the riders held for an order that no longer searches."""
        self._holds.release(order_id, ())
        self._misses.pop(order_id, None)

    def rider_assigned(self, order: Order) -> None:
        """Release the riders held for an order that has a rider, and hold that rider as busy."""
        self.forget(order.order_id)
        if order.rider_id is not None:
            self._holds.mark_busy(order.rider_id)

    async def advance(self, order: Order, policy: OfferPolicy) -> None:
        """End offers that are over; make offers, or schedule the next search.

        Errors: Refused where the order moved on meanwhile; LeadershipLost, StoreUnavailable,
        TableUnavailable.
        """
        order = await self._without_ended_offers(order, policy)
        await self._offer_next(_Check(order, policy, self._clock.now_ms()))

    async def maintain(self, order: Order, policy: OfferPolicy, next_check_at_ms: int) -> Order:
        """End offers that are over; batch decisions make new ones. The order after it.

        `next_check_at_ms` is the next check of an order without an offer. Units: Unix milliseconds.

        Errors: as `advance`.
        """
        order = await self._without_ended_offers(order, policy)
        check = _Check(order, policy, self._clock.now_ms())
        due_ms = (
            waves.next_check_at_ms(check.dispatch, check.now_ms, policy)
            if check.dispatch.offers
            else next_check_at_ms
        )
        await self._lookups.put_timer(order.order_id, due_ms)
        if check.dispatch.state is DispatchState.EXHAUSTED:
            await self._raise_alert_if_long(check)
        return order

    async def _without_ended_offers(self, order: Order, policy: OfferPolicy) -> Order:
        """The order after its expired and unread offers were ended."""
        self._holds.release(order.order_id, dispatch_of(order).offers)
        if dispatch_of(order).state is DispatchState.OFFERED:
            return await self._end_offers(order, policy)
        return order

    async def _end_offers(self, order: Order, policy: OfferPolicy) -> Order:
        now_ms, offers = self._clock.now_ms(), dispatch_of(order).offers
        expired = waves.expired_riders(offers, now_ms)
        receipt_due = waves.offers_with_receipt_due(offers, now_ms, policy)
        missing = await self._lookups.receipts.missing(receipt_due.values())
        unread = frozenset(rider for rider, offer_id in receipt_due.items() if offer_id in missing)
        for rider_id in expired:
            late_ms = now_ms - offers[rider_id].deadline_ms
            metrics.OFFER_LATENESS_SECONDS.observe(max(0, late_ms) / 1000)
        after = order
        if expired | unread:
            ended = EndedOffers(expired=expired, unread=unread)
            after = await self._order_service.end_offers(order.order_id, ended)
        self._holds.release(order.order_id, dispatch_of(after).offers)
        await self._count_unread(unread - expired, receipt_due.keys() - unread, policy)
        return after

    async def _count_unread(
        self,
        unread_rider_ids: Collection[RiderId],
        read_rider_ids: Collection[RiderId],
        policy: OfferPolicy,
    ) -> None:
        """Pause riders whose apps have shown no offer several times in a row."""
        if not unread_rider_ids and not read_rider_ids:
            return
        rule = PauseRule(policy.unread_max, policy.pause_ms)
        paused = await self._lookups.pauses.count_unread(
            unread_rider_ids, read_rider_ids, self._clock.now_ms(), rule
        )
        metrics.RIDERS_PAUSED.inc(len(paused))
        for rider_id in paused:
            log.info("rider_paused", rider_id=rider_id, pause_ms=rule.pause_ms)

    async def _offer_next(self, check: _Check) -> None:
        """Ask the riders who may be asked now; else schedule the next check."""
        if wait_ms := self._holds.incomplete_ms:
            await self._lookups.put_timer(check.order.order_id, check.now_ms + wait_ms)
            return
        wave = await self._ask_wave(check)
        if not wave.candidates and check.dispatch.offers:
            due_ms = waves.next_check_at_ms(check.dispatch, check.now_ms, check.policy)
            await self._lookups.put_timer(check.order.order_id, due_ms)
        elif not wave.candidates:
            await self._schedule_retry(check, wave)
        await self._raise_alert_if_long(check)

    async def _ask_wave(self, check: _Check) -> Wave:
        """Ask the riders of the next wave; the wave is empty where none may be asked now."""
        if not waves.may_pick_wave(check.dispatch, check.now_ms, check.policy):
            return Wave((), check.dispatch.wave, 0.0)
        with metrics.MATCH_SECONDS.time():
            ranked = await self._candidates(check)
            wave = waves.pick_wave(check.dispatch, ranked, check.now_ms, check.policy)
            if wave.candidates:
                await self._offer_wave(check, ranked, wave)
        return wave

    async def _candidates(self, check: _Check) -> list[Candidate]:
        """Free riders around the pickup, best first, with the exclusions of the others."""
        limit = check.policy.candidates_max + len(self._holds)
        circle = _search_circle(check.order, check.policy.radii_km[-1])
        found, paused = await asyncio.gather(
            self._lookups.rider_index.find_nearest_free(
                circle, limit, check.now_ms, self._lookups.fresh_ms
            ),
            self._lookups.pauses.current(check.now_ms),
        )
        # Nothing is awaited from here until the riders of the wave are held, so that no rider is
        # asked for two orders at once.
        return self._rank(check, found, paused)

    def _rank(
        self, check: _Check, riders: Sequence[IndexedRider], paused: dict[RiderId, int]
    ) -> list[Candidate]:
        holds = self._holds.current(check.now_ms)
        context = CandidateContext(check.now_ms, self._lookups.fresh_ms, holds, paused)
        return rank_candidates(check.order, riders, context)

    async def _offer_wave(self, check: _Check, ranked: Sequence[Candidate], wave: Wave) -> None:
        order, policy, now_ms = check
        offers = waves.offers_for(wave, now_ms, policy, ids.new_offer_id)
        after = waves.with_offers(check.dispatch, offers, wave.radius_km)
        decision = waves.explain_decision(check.dispatch, ranked, wave, now_ms, policy)
        facts = OfferFacts(
            offers=offers,
            trip_km=trip_km(order),
            due_at_ms=waves.next_check_at_ms(after, now_ms, policy),
            radius_km=wave.radius_km,
            decision=waves.with_offer_ids(decision, offers),
        )
        await self._offer_maker.make_offers(order, facts)
        self._misses.pop(order.order_id, None)

    async def _schedule_retry(self, check: _Check, wave: Wave) -> None:
        """Record once that no rider can be asked, and search again after a pause."""
        order, policy, now_ms = check
        before = self._misses.get(order.order_id, _Misses(0, now_ms))
        misses = _Misses(before.in_a_row + 1, before.since_ms)
        self._misses[order.order_id] = misses
        retry_at_ms = now_ms + waves.retry_after_ms(policy, misses.in_a_row)
        if check.dispatch.state is DispatchState.SEARCHING:
            decision = await self._explain_no_candidates(check, wave)
            facts = NoCandidateFacts(retry_at_ms=retry_at_ms, decision=decision)
            await self._order_service.exhaust_search(order.order_id, facts)
            await self._lookups.put_timer(order.order_id, retry_at_ms)
            return
        await self._lookups.put_timer(order.order_id, retry_at_ms)
        decisions = check.dispatch.decisions
        if misses.in_a_row % MISSES_PER_DECISION == 0 and decisions:
            decision = await self._explain_no_candidates(check, wave)
            decision = replace(
                decision, at_ms=misses.since_ms, looks=misses.in_a_row, until_ms=now_ms
            )
            await self._lookups.decisions.put(order.order_id, decisions - 1, decision)

    async def _explain_no_candidates(self, check: _Check, wave: Wave) -> Decision:
        """Why none of the riders around was asked, free or not."""
        radius_km = check.policy.radii_km[-1] * EXPLAINED_RADIUS_FACTOR
        found, paused = await asyncio.gather(
            self._lookups.rider_index.find_nearest(
                _search_circle(check.order, radius_km), EXPLAINED_MAX, check.now_ms
            ),
            self._lookups.pauses.current(check.now_ms),
        )
        ranked = self._rank(check, found, paused)
        return waves.explain_decision(check.dispatch, ranked, wave, check.now_ms, check.policy)

    async def _raise_alert_if_long(self, check: _Check) -> None:
        """Alert the operators where the search takes longer than the policy's limit."""
        searched_ms = check.now_ms - check.dispatch.started_at_ms
        if searched_ms < check.policy.alert_after_ms:
            return
        minutes, asked = searched_ms // MINUTE_MS, len(check.dispatch.asked)
        alert = Alert(
            kind="no_riders",
            message=f"no rider found for {minutes} min, {asked} asked so far",
            order_id=check.order.order_id,
            ts=check.now_ms,
        )
        await self._lookups.alerts.raise_alert(alert, check.policy.alert_every_ms)


def _search_circle(order: Order, radius_km: float) -> Circle:
    return Circle(lat=order.pickup.lat, lng=order.pickup.lng, radius_km=radius_km)
