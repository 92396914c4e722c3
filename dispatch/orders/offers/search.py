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
from dispatch.orders.offers.candidates import Circumstances, weigh
from dispatch.orders.offers.lookups import Finds
from dispatch.orders.offers.offer_pauses import PauseRule
from dispatch.orders.offers.offering import Asking, trip_km
from dispatch.orders.service import Flow
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import NobodyLeft, OffersMade, dispatch_of
from dispatch.orders.transitions.offers import Lapse
from dispatch.orders.transitions.waves import EXPLAINED_MAX, Candidate, Pick
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.rider_facts import Seen
from dispatch.wire.events import Alert

# A decision of "nobody" names riders up to this many times farther away than may be asked.
EXPLAINED_REACH = 2
# Looks in a row that found nobody are written down together, so many at a time.
MISSES_AT_ONCE = 6

log = structlog.get_logger(__name__)


class Search:
    """Looks at searching orders."""

    def __init__(self, flow: Flow, finds: Finds, asking: Asking, clock: Clock) -> None:
        self._flow = flow
        self._finds = finds
        self._asking = asking
        self._holdings = asking.holdings
        self._clock = clock
        # Searches in a row that found nobody, by order: how many, and since when.
        self._misses: dict[str, tuple[int, int]] = {}

    def hold(self, order: Order) -> None:
        """The riders of an order's open offers hold them."""
        self._holdings.hold(order)

    def forget(self, order_id: str) -> None:
        """The order searches no more: its riders may be asked again."""
        self._holdings.let_go(order_id, ())
        self._misses.pop(order_id, None)

    def taken(self, order: Order) -> None:
        """The order has a rider: the others may be asked again, he may not."""
        self.forget(order.order_id)
        if order.rider_id is not None:
            self._holdings.spare(order.rider_id)

    async def look(self, order: Order, policy: OfferPolicy) -> None:
        """End offers, make offers, or rest.

        Errors: Refused where the order moved on meanwhile; StoreUnavailable, TableUnavailable.
        """
        await self._ask(await self._ended(order, policy), policy)

    async def attend(self, order: Order, policy: OfferPolicy, again_ms: int) -> Order:
        """End offers only: whom to ask is decided for all orders together; the order after it.

        Units: `again_ms` is when it is looked at again where it has no offer, Unix ms.
        Errors: as `look`.
        """
        order, now_ms = await self._ended(order, policy), self._clock.now_ms()
        dispatch = dispatch_of(order)
        due_ms = waves.next_look_ms(dispatch, now_ms, policy) if dispatch.offers else again_ms
        await self._finds.put_timer(order.order_id, due_ms)
        is_long = now_ms - dispatch.started_at_ms >= policy.alert_after_ms
        if is_long and dispatch.state is DispatchState.EXHAUSTED:
            await self._alert(order, now_ms, policy)
        return order

    async def _ended(self, order: Order, policy: OfferPolicy) -> Order:
        """The order after what has lapsed of it has ended."""
        self._holdings.let_go(order.order_id, dispatch_of(order).offers)
        if dispatch_of(order).state is DispatchState.OFFERED:
            return await self._end_offers(order, policy)
        return order

    async def _end_offers(self, order: Order, policy: OfferPolicy) -> Order:
        """End what has lapsed; the order after it."""
        now_ms, offers = self._clock.now_ms(), dispatch_of(order).offers
        gone = waves.expired(offers, now_ms)
        waiting = waves.receipt_due(offers, now_ms, policy)
        missing = await self._finds.receipts.missing(list(waiting.values()))
        unread = frozenset(rider for rider, offer in waiting.items() if offer in missing)
        for rider in gone:
            late_ms = now_ms - offers[rider].deadline_ms
            metrics.OFFER_LATENESS_SECONDS.observe(max(0, late_ms) / 1000)
        after = order
        if gone | unread:
            lapse = Lapse(expired=gone, unread=unread)
            after = await self._flow.lapse_offers(order.order_id, lapse)
        self._holdings.let_go(order.order_id, dispatch_of(after).offers)
        await self._count_unread(unread - gone, waiting.keys() - unread, policy)
        return after

    async def _count_unread(
        self, unread: Collection[str], read: Collection[str], policy: OfferPolicy
    ) -> None:
        """Leave riders alone whose apps show nothing, again and again."""
        if not unread and not read:
            return
        rule = PauseRule(policy.unread_max, policy.pause_ms)
        paused = await self._finds.pauses.note(unread, read, self._clock.now_ms(), rule)
        metrics.RIDERS_PAUSED.inc(len(paused))
        for rider in paused:
            log.info("rider_paused", rider_id=rider, for_ms=rule.pause_ms)

    async def _ask(self, order: Order, policy: OfferPolicy) -> None:
        """Ask whoever may be asked now."""
        now_ms, dispatch = self._clock.now_ms(), dispatch_of(order)
        ranked: list[Candidate] = []
        pick = Pick((), dispatch.wave, 0.0)
        if waves.may_pick(dispatch, now_ms, policy):
            with metrics.MATCH_SECONDS.time():
                ranked = await self._candidates(order, now_ms, policy)
                pick = waves.pick_wave(dispatch, ranked, now_ms, policy)
                if pick.chosen:
                    await self._offer(order, ranked, pick, (now_ms, policy))
        if not pick.chosen and dispatch.offers:
            again_ms = waves.next_look_ms(dispatch, now_ms, policy)
            await self._finds.put_timer(order.order_id, again_ms)
        elif not pick.chosen:
            await self._rest(order, pick, (now_ms, policy))
        if now_ms - dispatch.started_at_ms >= policy.alert_after_ms:
            await self._alert(order, now_ms, policy)

    async def _candidates(self, order: Order, now_ms: int, policy: OfferPolicy) -> list[Candidate]:
        """Free riders around the pickup, best first, with what stands in the way of each."""
        limit = policy.candidates_max + len(self._holdings)
        found, paused = await asyncio.gather(
            self._finds.positions.near(
                _around(order, policy.radii_km[-1]), limit, now_ms, self._finds.fresh_ms
            ),
            self._finds.pauses.current(now_ms),
        )
        # Nothing is awaited from here until the chosen ones hold their offers: nobody is asked
        # twice at once.
        return self._weighed(order, found, now_ms, paused)

    def _weighed(
        self, order: Order, found: Sequence[Seen], now_ms: int, paused: dict[str, int]
    ) -> list[Candidate]:
        holding = self._holdings.current(now_ms)
        return weigh(order, found, Circumstances(now_ms, self._finds.fresh_ms, holding, paused))

    async def _offer(
        self,
        order: Order,
        ranked: Sequence[Candidate],
        pick: Pick,
        moment: tuple[int, OfferPolicy],
    ) -> None:
        (now_ms, policy), dispatch = moment, dispatch_of(order)
        offers = waves.offers_for(pick, now_ms, policy, ids.offer_id)
        after = waves.with_offers(dispatch, offers, pick.radius_km)
        made = OffersMade(
            trip_km=trip_km(order),
            due_at_ms=waves.next_look_ms(after, now_ms, policy),
            radius_km=pick.radius_km,
            decision=waves.explain(dispatch, ranked, pick, offers, moment),
        )
        await self._asking.ask(order, offers, made)
        self._misses.pop(order.order_id, None)

    async def _rest(self, order: Order, pick: Pick, moment: tuple[int, OfferPolicy]) -> None:
        """Nobody to ask: say so once, and look again after a while."""
        (now_ms, policy), dispatch = moment, dispatch_of(order)
        count, since_ms = self._misses.get(order.order_id, (0, now_ms))
        count += 1
        self._misses[order.order_id] = (count, since_ms)
        again_ms = now_ms + waves.retry_after_ms(policy, count)
        if dispatch.state is DispatchState.SEARCHING:
            decision = await self._explain_nobody(order, pick, moment)
            left = NobodyLeft(look_again_ms=again_ms, decision=decision)
            await self._flow.exhaust_search(order.order_id, left)
            await self._finds.put_timer(order.order_id, again_ms)
            return
        await self._finds.put_timer(order.order_id, again_ms)
        if count % MISSES_AT_ONCE == 0 and dispatch.decisions:
            decision = await self._explain_nobody(order, pick, moment)
            decision = replace(decision, at_ms=since_ms, looks=count, until_ms=now_ms)
            await self._finds.decisions.put(order.order_id, dispatch.decisions - 1, decision)

    async def _explain_nobody(
        self, order: Order, pick: Pick, moment: tuple[int, OfferPolicy]
    ) -> Decision:
        """Why none of the riders around was asked, whatever they do."""
        now_ms, policy = moment
        circle = _around(order, policy.radii_km[-1] * EXPLAINED_REACH)
        found, paused = await asyncio.gather(
            self._finds.positions.near_any(circle, EXPLAINED_MAX, now_ms),
            self._finds.pauses.current(now_ms),
        )
        around = self._weighed(order, found, now_ms, paused)
        return waves.explain(dispatch_of(order), around, pick, {}, moment)

    async def _alert(self, order: Order, now_ms: int, policy: OfferPolicy) -> None:
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
        await self._finds.alerts.raise_(alert, policy.alert_every_ms)


def _around(order: Order, radius_km: float) -> Circle:
    return Circle(lat=order.pickup.lat, lng=order.pickup.lng, radius_km=radius_km)
