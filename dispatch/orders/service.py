"""An order's steps from top to bottom, in the order in which they happen.

Steps 1 to 3 of an order's way: handlers -> [here] load, decide, one write -> outbox. Each step
loads the order, asks the machine, and hands the clerk whatever else must be written with it.
"""

import asyncio
from typing import Any

import msgspec
from msgspec.structs import replace

from dispatch import ids, metrics
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.model import Offer, OfferOutcome, Order, Position
from dispatch.orders.extra_writes import (
    ExtraWritesBuilder,
    decision_writes,
    late_payment_top_up,
    no_extra_writes,
    rating_writes,
)
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.placing.draft import (
    Placement,
    blank_order,
    payment_for,
    with_goods,
    with_parcel,
)
from dispatch.orders.placing.quote import Quote, QuoteService
from dispatch.orders.store import offered_to
from dispatch.orders.transitions.context import (
    Actor,
    AssignmentFacts,
    NoCandidateFacts,
    OfferFacts,
    Transition,
    TransitionRequest,
)
from dispatch.orders.transitions.lifecycle import fault_of
from dispatch.orders.transitions.offers import EndedOffers, is_offered
from dispatch.orders.transitions.state_machine import decide_transition
from dispatch.orders.unit_of_work import (
    ENGINE,
    Caller,
    Committed,
    ExtraWrites,
    ExtraWritesFactory,
    OrderUnitOfWork,
)
from dispatch.riders.store import Riders
from dispatch.storage.leases import Fence
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import Positions
from dispatch.wire import commands
from dispatch.wire.events import Stop
from dispatch.wire.http.orders import PackageOrder
from dispatch.wire.snapshots import Snapshot, order_snapshot, pricing_view
from ledger.core.cancellation_matrix import Fault
from ledger.posting.ledger import Ledger
from matching.speeds import LearnedSpeeds, hour_of


class OrderStores(msgspec.Struct, frozen=True, kw_only=True):
    """What the steps read and write."""

    catalogue: Catalogue
    service_rates: ServiceRates
    promotions: Promotions
    riders: Riders
    positions: Positions
    speeds: LearnedSpeeds
    learned_stats: LearnedStats
    ledger: Ledger
    unit_of_work: OrderUnitOfWork
    fence: Fence
    payment_provider: str
    # Source: wire contract, a rider carries one order at a time unless configured otherwise.
    rider_orders_max: int = 1


class OrderService:
    """The steps."""

    def __init__(self, stores: OrderStores, clock: Clock) -> None:
        self._stores = stores
        self._quote_service = QuoteService(
            stores.catalogue, stores.service_rates, stores.promotions
        )
        self._extra_writes = ExtraWritesBuilder(
            stores.catalogue, stores.ledger, clock, stores.rider_orders_max
        )
        self._clock = clock

    # The customer places an order.

    async def quote(self, caller: Caller, body: Placement) -> Snapshot:
        """What an order would cost its caller now, by the same rules as placing it.

        Errors: Refused as by `place_order`, but for the money.
        """
        quote = await self._quote_service.quote(caller.id, body)
        return pricing_view(msgspec.to_builtins(quote.pricing), "user")

    async def place_order(self, caller: Caller, body: Placement) -> Snapshot:
        """Price the order, take the money where it lies in a wallet, and tell the vendor.

        Errors: Refused SERVICE_DISABLED, VENDOR_CLOSED, UNKNOWN_ITEM, ITEM_UNAVAILABLE, TOO_HEAVY,
        BELOW_MINIMUM, PROMO_REFUSED, INSUFFICIENT_FUNDS.
        """
        clerk = self._stores.unit_of_work
        if (first := await clerk.find_first_answer(caller)) is not None:
            return first
        quote = await self._quote_service.quote(caller.id, body)
        step = decide_transition(
            self._draft_order(caller, body, quote), self._request("place_order", caller, body)
        )
        answer = order_snapshot(step.order, "user")
        plan = self._extra_writes.for_placement(step.order, quote.promotion)
        return (await clerk.commit_new(caller, step, plan, answer)).answer

    def _draft_order(self, caller: Caller, body: Placement, quote: Quote) -> Order:
        provider = self._stores.payment_provider
        payment = payment_for(body.payment_method, ids.new_id("pay"), provider)
        now_ms = self._clock.now_ms()
        order = blank_order(ids.new_order_id(), caller.id, quote.pricing, payment, now_ms)
        if quote.promotion is not None:
            order = replace(order, promo_code=quote.promotion.code)
        if isinstance(body, PackageOrder):
            return with_parcel(order, body)
        assert quote.vendor is not None, "pricing refuses an order without a vendor"
        return with_goods(order, body, quote.vendor, quote.lines)

    async def payment_confirmed(self, order_id: str) -> dict[str, Any]:
        """The provider has the money of an order: into escrow, and on with the order.

        Money for an order that was called off meanwhile goes into the customer's wallet.
        """
        try:
            return await self._commit(
                ENGINE, order_id, "payment_confirmed", None, self._extra_writes.for_capture
            )
        except Refused as refused:
            if refused.code is not Refusal.WRONG_STATE:
                raise
        order = await self._stores.unit_of_work.load(order_id)
        await self._stores.ledger.post(late_payment_top_up(order))
        return order_snapshot(order, "user")

    async def payment_failed(self, order_id: str, reason: str | None) -> None:
        """The provider has no money for an order; one that is over, or paid, stays as it is.

        Errors: StoreUnavailable.
        """
        try:
            await self._commit(ENGINE, order_id, "payment_failed", reason)
        except Refused as refused:
            if refused.code is not Refusal.WRONG_STATE:
                raise

    async def time_out_order(self, order_id: str) -> None:
        """Call off an order for which somebody was waited for in vain; what was paid goes back.

        Errors: Refused WRONG_STATE where it went on; StoreUnavailable.
        """

        async def plan(order: Order, step: Transition) -> ExtraWrites:
            fault = Fault.PLATFORM if order.payment.is_awaited else Fault.VENDOR
            return await self._extra_writes.for_cancellation(order, step, fault)

        await self._commit(ENGINE, order_id, "lapse_order", None, plan)

    # The vendor answers and prepares.

    async def accept_order(self, caller: Caller, command: commands.AcceptOrder) -> dict[str, Any]:
        """The vendor takes the order; the search for a rider begins."""
        return await self._commit(caller, command.order_id, "accept_order", command)

    async def reject_order(self, caller: Caller, command: commands.RejectOrder) -> dict[str, Any]:
        """The vendor turns the order down; what was paid goes back."""
        return await self._commit(
            caller, command.order_id, "reject_order", command, self._extra_writes.for_rejection
        )

    async def order_preparing(
        self, caller: Caller, command: commands.OrderPreparing
    ) -> dict[str, Any]:
        """The kitchen has begun."""
        return await self._commit(caller, command.order_id, "order_preparing", command)

    async def order_ready(self, caller: Caller, command: commands.OrderReady) -> dict[str, Any]:
        """The goods wait for the rider; how long they took is learned."""
        ask = self._request("order_ready", caller, command)
        carried = await self._stores.unit_of_work.commit(
            caller, command.order_id, ask, no_extra_writes
        )
        if carried.order is not None:
            self._stores.learned_stats.record_prep_time(carried.order)
        return carried.answer

    # The engine looks for a rider.

    async def make_offers(
        self,
        order_id: str,
        offers: dict[str, Offer],
        facts: OfferFacts,
        loaded: Order | None = None,
    ) -> Order:
        """Offer the order to the riders of one wave; `known` is the order as it was just read.

        Errors: Refused WRONG_STATE where it no longer searches, CONFLICT where one of them has his
        hands full (`details` names him as `riderId`).
        """
        plan = self._extra_writes.for_offers(offers, facts.decision)
        asked = await self._commit_by_engine(order_id, "make_offers", (facts, offers), plan, loaded)
        metrics.OFFERS.labels("made").inc(len(offers))
        return _committed_order(asked)

    async def end_offers(self, order_id: str, ended_offers: EndedOffers) -> Order:
        """End offers that ran out or were never shown."""
        ended = _committed_order(
            await self._commit_by_engine(order_id, "lapse_offers", (None, ended_offers))
        )
        for rider in ended_offers.expired:
            # He saw it and said nothing, which is no.
            self._stores.learned_stats.record_answer(rider, accepted=False)
        metrics.OFFERS.labels("expired").inc(len(ended_offers.expired))
        metrics.OFFERS.labels("unread").inc(len(ended_offers.unread))
        return ended

    async def exhaust_search(self, order_id: str, facts: NoCandidateFacts) -> Order:
        """Say that nobody is left to ask, for now."""
        plan = decision_writes(facts.decision)
        return _committed_order(
            await self._commit_by_engine(order_id, "exhaust_search", (None, facts), plan)
        )

    async def withdraw_delivery(self, order_id: str, outcome: OfferOutcome) -> Order:
        """Take the order from a rider who does not come; the search begins again.

        Errors: Refused WRONG_STATE where he has the goods by now.
        """
        plan = (
            self._extra_writes.for_reassignment
            if outcome is OfferOutcome.MOVED
            else self._extra_writes.for_release
        )
        return _committed_order(
            await self._commit_by_engine(order_id, "withdraw_delivery", (None, outcome), plan)
        )

    # A rider takes the order, or not.

    async def accept_delivery(
        self, caller: Caller, command: commands.AcceptDelivery
    ) -> dict[str, Any]:
        """Give the order to the rider who accepts first, if his hands and his cash limit allow.

        Errors: Refused OFFER_TAKEN, OFFER_EXPIRED, CONFLICT (he carries another), CASH_LIMIT.
        """

        async def ask(order: Order) -> TransitionRequest:
            # Whoever cannot win costs no look at who he is.
            may_win = is_offered(order, caller.id, command.offer_id)
            facts = await self._assignment_facts(caller.id) if may_win else AssignmentFacts()
            return self._request("accept_delivery", caller, command, facts)

        async def plan(order: Order, step: Transition) -> ExtraWrites:
            answer = order_snapshot(step.order, "rider")
            return replace(
                self._extra_writes.for_assignment(order, caller.id, command.offer_id), answer=answer
            )

        carried = await self._stores.unit_of_work.commit(caller, command.order_id, ask, plan)
        if carried.order is None or carried.transition is None:
            return carried.answer
        if carried.transition.claimed_rider_id:
            metrics.OFFERS.labels("accepted").inc()
            self._stores.learned_stats.record_answer(caller.id, accepted=True)
        return order_snapshot(carried.order, "rider")

    async def _assignment_facts(self, rider: str) -> AssignmentFacts:
        profile, last = await asyncio.gather(
            self._stores.riders.profile(rider), self._last_position(rider)
        )
        name, vehicle = (profile.name, profile.vehicle) if profile else (None, None)
        speed_mps = self._speed_mps(last, vehicle) if last else None
        return AssignmentFacts(name=name, vehicle=vehicle, position=last, speed_mps=speed_mps)

    def _speed_mps(self, position: Position, vehicle: str | None) -> float:
        """How fast one gets on from there, by what was learned: as the estimates on the way."""
        hour = hour_of(self._clock.now_ms())
        return self._stores.speeds.speed_mps((cell_of(position.lat, position.lng), hour, vehicle))

    async def _last_position(self, rider: str) -> Position | None:
        """Where the rider was last; a Redis that is away costs the estimate, not the delivery."""
        try:
            return await self._stores.positions.last_position(rider)
        except StoreUnavailable:
            return None

    async def decline_delivery(
        self, caller: Caller, command: commands.DeclineDelivery
    ) -> dict[str, Any]:
        """The rider says no; with the last of his wave the search goes on at once."""
        clause = offered_to(caller.id, command.offer_id, self._clock.now_ms())

        async def plan(order: Order, step: Transition) -> ExtraWrites:
            return ExtraWrites(condition=clause)

        ask = self._request("decline_delivery", caller, command)
        carried = await self._stores.unit_of_work.commit(caller, command.order_id, ask, plan)
        metrics.OFFERS.labels("declined").inc()
        if carried.order is not None:
            self._stores.learned_stats.record_answer(caller.id, accepted=False)
        return carried.answer

    async def release_delivery(
        self, caller: Caller, command: commands.ReleaseDelivery
    ) -> dict[str, Any]:
        """The rider gives the order back before the pickup; the search begins again."""
        plan = self._extra_writes.for_release
        return await self._commit(caller, command.order_id, "release_delivery", command, plan)

    async def reassign(self, caller: Caller, command: commands.Reassign) -> dict[str, Any]:
        """An operator takes the order from its rider; the search begins again."""
        return await self._commit(
            caller, command.order_id, "reassign", command, self._extra_writes.for_release
        )

    # The rider fetches and brings.

    async def arrived_pickup(
        self, caller: Caller, command: commands.ArrivedPickup
    ) -> dict[str, Any]:
        """The rider stands at the pickup."""
        return await self._commit(caller, command.order_id, "arrived_pickup", command)

    async def record_arrival(self, order_id: str, rider: str, stop: Stop) -> None:
        """The rider's positions show him at a place of the order; told once, tap or no tap.

        Every node says it of the riders it hears: it is seen, not decided, so no lease is needed.
        Errors: Refused WRONG_STATE where the order went on; StoreUnavailable.
        """
        ask = self._request("note_arrival", ENGINE, None, (rider, stop))
        await self._stores.unit_of_work.commit(ENGINE, order_id, ask, no_extra_writes)

    async def pick_up(self, caller: Caller, command: commands.PickUp) -> dict[str, Any]:
        """The rider has the goods."""
        return await self._commit(caller, command.order_id, "pick_up", command)

    async def arrived_dropoff(
        self, caller: Caller, command: commands.ArrivedDropoff
    ) -> dict[str, Any]:
        """The rider stands at the customer's door."""
        return await self._commit(caller, command.order_id, "arrived_dropoff", command)

    async def complete_delivery(
        self, caller: Caller, command: commands.CompleteDelivery
    ) -> dict[str, Any]:
        """The goods are handed over; settlement may follow."""

        async def plan(order: Order, step: Transition) -> ExtraWrites:
            return self._extra_writes.for_delivery(order, step, caller.id)

        return await self._commit(caller, command.order_id, "complete_delivery", command, plan)

    async def settle(self, order_id: str) -> None:
        """Split the money of a delivered order; doing it again changes nothing.

        Errors: Refused WRONG_STATE where the order is not delivered; StoreUnavailable.
        """
        ask = self._request("settle", ENGINE, None)
        carried = await self._stores.unit_of_work.commit(
            ENGINE, order_id, ask, self._extra_writes.for_settlement
        )
        order = _committed_order(carried)
        if carried.transition is not None and carried.transition.events:
            metrics.SETTLEMENTS.labels(order.order_type).inc()
            metrics.SETTLED_XAF.labels(order.order_type).inc(order.pricing.total)

    # Side exits and afterthoughts.

    async def cancel_order(self, caller: Caller, command: commands.CancelOrder) -> dict[str, Any]:
        """Call the order off; everyone in it is told, what was paid goes back."""
        fault = fault_of(caller.audience, command)

        async def plan(order: Order, step: Transition) -> ExtraWrites:
            return await self._extra_writes.for_cancellation(order, step, fault)

        return await self._commit(caller, command.order_id, "cancel_order", command, plan)

    async def rate_order(self, caller: Caller, command: commands.RateOrder) -> dict[str, Any]:
        """The customer says how it was; his stars count for the rider once."""
        return await self._commit(caller, command.order_id, "rate_order", command, rating_writes)

    # What all steps share.

    def _request(
        self, name: str, caller: Caller, command: object, facts: object = None
    ) -> TransitionRequest:
        actor = Actor(audience=caller.audience, id=caller.id)
        return TransitionRequest(
            name=name, actor=actor, now_ms=self._clock.now_ms(), command=command, facts=facts
        )

    async def _commit(
        self,
        caller: Caller,
        order_id: str,
        name: str,
        command: object,
        extra_writes_for: ExtraWritesFactory = no_extra_writes,
    ) -> dict[str, Any]:
        ask = self._request(name, caller, command)
        return (
            await self._stores.unit_of_work.commit(caller, order_id, ask, extra_writes_for)
        ).answer

    async def _commit_by_engine(
        self,
        order_id: str,
        name: str,
        command_and_facts: tuple[object, object],
        extra_writes_for: ExtraWritesFactory = no_extra_writes,
        loaded: Order | None = None,
    ) -> Committed:
        """One step of the engine's own; `said` are its command and its facts.

        Errors: Deposed where the engine that thought of it rules no more.
        """

        async def fenced(order: Order, step: Transition) -> ExtraWrites:
            found = await extra_writes_for(order, step)
            # Nothing is awaited between this and the write.
            self._stores.fence.token()
            return found

        ask = self._request(name, ENGINE, *command_and_facts)
        return await self._stores.unit_of_work.commit(ENGINE, order_id, ask, fenced, loaded)


def _committed_order(committed: Committed) -> Order:
    assert committed.order is not None, "the engine repeats nothing by name"
    return committed.order
