"""The tick: looks at every open order when its time has come, and moves it on.

Step 4 of an order's way: timers -> [here] candidates, wave, offers -> orders.flow writes them.
"""

import asyncio
from collections.abc import Collection
from typing import NamedTuple

import structlog

from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.errors import Refused, StoreUnavailable
from dispatch.model import Dispatch, DispatchState, OfferPolicy, Order
from dispatch.orders import rounds
from dispatch.orders.candidates import Circumstances, weigh
from dispatch.orders.flow import Flow
from dispatch.orders.offering import Lapse
from dispatch.orders.rounds import Candidate, Pick
from dispatch.orders.step import OffersMade
from dispatch.store.cells import Circle
from dispatch.store.offers import OfferReceipts
from dispatch.store.orders import Orders
from dispatch.store.pauses import PauseRule, Pauses
from dispatch.store.positions import Positions
from dispatch.store.timers import Timers
from ledger.table import TableUnavailable
from matching.geo import haversine_m

# Orders looked at side by side; each waits for a few round trips.
LOOKS_AT_ONCE = 16
# Without a timer the engine still looks round, in case it was not woken.
IDLE_S = 1.0
# A store that is away is asked again after this long.
AWAY_S = 0.5
# An order whose look failed is looked at again after this long.
AGAIN_MS = 500
METRES_PER_KM = 1000

log = structlog.get_logger(__name__)


class Engine:
    """The one live engine of a zone."""

    def __init__(
        self, flow: Flow, orders: Orders, finds: "Finds", clock: Clock, policy: OfferPolicy
    ) -> None:
        self._flow = flow
        self._orders = orders
        self._finds = finds
        self._clock = clock
        self._policy = policy
        self._woken = asyncio.Event()
        # Riders who hold an offer: of which order and until when; nobody is asked twice at once.
        self._holding: dict[str, tuple[str, int]] = {}
        # Searches in a row that found nobody, by order.
        self._misses: dict[str, int] = {}

    def wake(self, _message: bytes = b"") -> None:
        """Look at the timers now; the callback of the engine's channel."""
        self._woken.set()

    async def run(self) -> None:
        """Rebuild the timers, then tick for as long as the server runs."""
        await self.rebuild()
        while True:
            try:
                wait_s = await self.tick()
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("engine_waits", cause=str(error))
                wait_s = AWAY_S
            await self._rest(wait_s)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    async def rebuild(self) -> int:
        """Set the timer of every order that wants a rider; returns how many there are.

        Redis may have forgotten them; the orders have not.
        """
        now_ms = self._clock.now_ms()
        due: dict[str, int] = {}
        for order in await self._orders.list_open():
            if rounds.wants_rider(order):
                assert order.dispatch is not None
                due[order.order_id] = order.dispatch.due_at_ms or now_ms
                for rider, offer in order.dispatch.offers.items():
                    self._holding[rider] = (order.order_id, offer.deadline_ms)
        await self._finds.timers.arm(due)
        return len(due)

    async def tick(self) -> float:
        """Look at every order that is due; returns for how long there is nothing to do.

        Units: seconds.
        """
        now_ms = self._clock.now_ms()
        due, next_ms = await self._finds.timers.due(now_ms, LOOKS_AT_ONCE)
        if due:
            await asyncio.gather(*(self._look_safely(order_id) for order_id in due))
            return 0.0
        if next_ms is None:
            return IDLE_S
        return min(IDLE_S, max(0.0, (next_ms - now_ms) / 1000))

    async def _look_safely(self, order_id: str) -> None:
        try:
            await self.look(order_id)
        except Refused as refused:
            # The order moved on under the engine's eyes; its own step has set its timer.
            log.debug("engine_outrun", order_id=order_id, code=refused.code)
            await self._again(order_id)
        except (StoreUnavailable, TableUnavailable) as error:
            log.warning("engine_look_failed", order_id=order_id, cause=str(error))
            await self._again(order_id)

    async def _again(self, order_id: str) -> None:
        await self._finds.timers.arm({order_id: self._clock.now_ms() + AGAIN_MS}, wake=False)

    async def look(self, order_id: str) -> None:
        """Do what an order wants now: end offers, make offers, or rest.

        Errors: Refused where the order moved on meanwhile; StoreUnavailable, TableUnavailable.
        """
        order = await self._orders.get(order_id)
        if order is None or not rounds.wants_rider(order):
            self._let_go(order_id, ())
            self._misses.pop(order_id, None)
            await self._finds.timers.disarm([order_id])
            return
        assert order.dispatch is not None
        self._let_go(order_id, order.dispatch.offers)
        if order.dispatch.state is DispatchState.OFFERED:
            order = await self._end_offers(order, order.dispatch)
        await self._search(order)

    def _let_go(self, order_id: str, still: Collection[str]) -> None:
        """Riders whose offer of this order has ended may be asked again."""
        for rider, (held_by, _) in list(self._holding.items()):
            if held_by == order_id and rider not in still:
                del self._holding[rider]

    async def _end_offers(self, order: Order, dispatch: Dispatch) -> Order:
        """End what has lapsed; the order after it."""
        now_ms = self._clock.now_ms()
        gone = rounds.expired(dispatch.offers, now_ms)
        waiting = rounds.receipt_due(dispatch.offers, now_ms, self._policy)
        missing = await self._finds.receipts.missing(list(waiting.values()))
        unread = frozenset(rider for rider, offer in waiting.items() if offer in missing)
        for rider in gone:
            late_ms = now_ms - dispatch.offers[rider].deadline_ms
            metrics.OFFER_LATENESS_SECONDS.observe(max(0, late_ms) / 1000)
        after = order
        if gone | unread:
            lapse = Lapse(expired=gone, unread=unread)
            after = await self._flow.lapse_offers(order.order_id, lapse)
        assert after.dispatch is not None
        self._let_go(order.order_id, after.dispatch.offers)
        await self._count_unread(unread - gone, waiting.keys() - unread)
        return after

    async def _count_unread(self, unread: Collection[str], read: Collection[str]) -> None:
        """Leave riders alone whose apps show nothing, again and again."""
        if not unread and not read:
            return
        rule = PauseRule(self._policy.unread_max, self._policy.pause_ms)
        paused = await self._finds.pauses.note(unread, read, self._clock.now_ms(), rule)
        metrics.RIDERS_PAUSED.inc(len(paused))
        for rider in paused:
            log.info("rider_paused", rider_id=rider, for_ms=rule.pause_ms)

    async def _search(self, order: Order) -> None:
        """Ask whoever may be asked now."""
        now_ms = self._clock.now_ms()
        dispatch = order.dispatch
        assert dispatch is not None
        if rounds.may_pick(dispatch, now_ms, self._policy):
            with metrics.MATCH_SECONDS.time():
                ranked = await self._candidates(order, now_ms)
                pick = rounds.pick_wave(dispatch, ranked, now_ms, self._policy)
                if pick.chosen:
                    await self._offer(order, dispatch, pick, now_ms)
                    return
        if dispatch.offers:
            again_ms = rounds.next_look_ms(dispatch, now_ms, self._policy)
            await self._finds.timers.arm({order.order_id: again_ms}, wake=False)
            return
        await self._rest_order(order, now_ms)

    async def _candidates(self, order: Order, now_ms: int) -> list[Candidate]:
        """Free riders around the pickup, best first, with what stands in the way of each."""
        place, widest = order.pickup, self._policy.radii_km[-1]
        limit = self._policy.candidates_max + len(self._holding)
        circle = Circle(lat=place.lat, lng=place.lng, radius_km=widest)
        found, paused = await asyncio.gather(
            self._finds.positions.near(circle, limit, now_ms, self._finds.fresh_ms),
            self._finds.pauses.current(now_ms),
        )
        # Nothing is awaited from here until the chosen ones hold their offers: nobody is asked
        # twice at once.
        holding = {r: held_by for r, (held_by, until) in self._holding.items() if until >= now_ms}
        return weigh(order, found, Circumstances(now_ms, self._finds.fresh_ms, holding, paused))

    async def _offer(self, order: Order, dispatch: Dispatch, pick: Pick, now_ms: int) -> None:
        offers = rounds.offers_for(pick, now_ms, self._policy, ids.offer_id)
        start, end = order.pickup, order.dropoff
        after = rounds.with_offers(dispatch, offers, pick.radius_km)
        made = OffersMade(
            trip_km=haversine_m(start.lat, start.lng, end.lat, end.lng) / METRES_PER_KM,
            due_at_ms=rounds.next_look_ms(after, now_ms, self._policy),
            radius_km=pick.radius_km,
        )
        for rider, offer in offers.items():
            self._holding[rider] = (order.order_id, offer.deadline_ms)
        try:
            await self._flow.make_offers(order.order_id, offers, made)
        except Refused:
            self._let_go(order.order_id, dispatch.offers)
            raise
        self._misses.pop(order.order_id, None)

    async def _rest_order(self, order: Order, now_ms: int) -> None:
        """Nobody to ask: say so once, and look again after a while."""
        misses = self._misses[order.order_id] = self._misses.get(order.order_id, 0) + 1
        again_ms = now_ms + rounds.retry_after_ms(self._policy, misses)
        assert order.dispatch is not None
        if order.dispatch.state is DispatchState.SEARCHING:
            await self._flow.exhaust_search(order.order_id, again_ms)
            return
        await self._finds.timers.arm({order.order_id: again_ms}, wake=False)


class Finds(NamedTuple):
    """Where the engine looks: the index of riders, the timers, the receipts, who is left alone.

    Units: `fresh_ms` is how old a rider's last fix may be.
    """

    positions: Positions
    timers: Timers
    receipts: OfferReceipts
    pauses: Pauses
    fresh_ms: int
