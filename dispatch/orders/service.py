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
from dispatch.catalogue.service_rates import Config
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.model import Offer, Order, Outcome, Position
from dispatch.orders.extra_writes import (
    Plans,
    explained,
    late_payment,
    nothing_else,
    rating,
)
from dispatch.orders.learned_stats import Tallies
from dispatch.orders.placing.draft import (
    Placement,
    blank,
    payment_for,
    with_goods,
    with_parcel,
)
from dispatch.orders.placing.quote import Quote, Quotes
from dispatch.orders.store import offered_to
from dispatch.orders.transitions.context import (
    Actor,
    Ask,
    AssignedTo,
    NobodyLeft,
    OffersMade,
    Step,
)
from dispatch.orders.transitions.lifecycle import fault_of
from dispatch.orders.transitions.offers import Lapse, is_offered
from dispatch.orders.transitions.state_machine import decide
from dispatch.orders.unit_of_work import (
    ENGINE,
    Caller,
    Carried,
    Clerk,
    Plan,
    Planner,
)
from dispatch.riders.store import Riders
from dispatch.storage.leases import Fence
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import Positions
from dispatch.wire import commands
from dispatch.wire.events import Stop
from dispatch.wire.http import requests
from dispatch.wire.snapshots import Snapshot, order_snapshot, pricing_view
from ledger.core.cancellation_matrix import Fault
from ledger.posting.ledger import Ledger
from matching.speeds import Speeds, hour_of


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """What the steps read and write."""

    catalogue: Catalogue
    config: Config
    promotions: Promotions
    riders: Riders
    positions: Positions
    speeds: Speeds
    tallies: Tallies
    ledger: Ledger
    clerk: Clerk
    fence: Fence
    payment_provider: str
    # Source: wire contract, a rider carries one order at a time unless configured otherwise.
    rider_orders_max: int = 1


class Flow:
    """The steps."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._quotes = Quotes(stores.catalogue, stores.config, stores.promotions)
        self._plans = Plans(stores.catalogue, stores.ledger, clock, stores.rider_orders_max)
        self._clock = clock

    # The customer places an order.

    async def quote(self, caller: Caller, body: Placement) -> Snapshot:
        """What an order would cost its caller now, by the same rules as placing it.

        Errors: Refused as by `place_order`, but for the money.
        """
        quote = await self._quotes.quote(caller.id, body)
        return pricing_view(msgspec.to_builtins(quote.pricing), "user")

    async def place_order(self, caller: Caller, body: Placement) -> Snapshot:
        """Price the order, take the money where it lies in a wallet, and tell the vendor.

        Errors: Refused SERVICE_DISABLED, VENDOR_CLOSED, UNKNOWN_ITEM, ITEM_UNAVAILABLE, TOO_HEAVY,
        BELOW_MINIMUM, PROMO_REFUSED, INSUFFICIENT_FUNDS.
        """
        clerk = self._stores.clerk
        if (first := await clerk.repeat_of(caller)) is not None:
            return first
        quote = await self._quotes.quote(caller.id, body)
        step = decide(self._draft(caller, body, quote), self._ask("place_order", caller, body))
        answer = order_snapshot(step.order, "user")
        plan = self._plans.placing(step.order, quote.promotion)
        return (await clerk.bring_in(caller, step, plan, answer)).answer

    def _draft(self, caller: Caller, body: Placement, quote: Quote) -> Order:
        provider = self._stores.payment_provider
        payment = payment_for(body.payment_method, ids.mint("pay"), provider)
        now_ms = self._clock.now_ms()
        order = blank(ids.order_id(), caller.id, quote.pricing, payment, now_ms)
        if quote.promotion is not None:
            order = replace(order, promo_code=quote.promotion.code)
        if isinstance(body, requests.PackageOrder):
            return with_parcel(order, body)
        assert quote.vendor is not None, "pricing refuses an order without a vendor"
        return with_goods(order, body, quote.vendor, quote.lines)

    async def payment_confirmed(self, order_id: str) -> dict[str, Any]:
        """The provider has the money of an order: into escrow, and on with the order.

        Money for an order that was called off meanwhile goes into the customer's wallet.
        """
        try:
            return await self._step(
                ENGINE, order_id, "payment_confirmed", None, self._plans.capturing
            )
        except Refused as refused:
            if refused.code is not Refusal.WRONG_STATE:
                raise
        order = await self._stores.clerk.load(order_id)
        await self._stores.ledger.post(late_payment(order))
        return order_snapshot(order, "user")

    async def payment_failed(self, order_id: str, reason: str | None) -> None:
        """The provider has no money for an order; one that is over, or paid, stays as it is.

        Errors: StoreUnavailable.
        """
        try:
            await self._step(ENGINE, order_id, "payment_failed", reason)
        except Refused as refused:
            if refused.code is not Refusal.WRONG_STATE:
                raise

    async def lapse_order(self, order_id: str) -> None:
        """Call off an order for which somebody was waited for in vain; what was paid goes back.

        Errors: Refused WRONG_STATE where it went on; StoreUnavailable.
        """

        async def plan(order: Order, step: Step) -> Plan:
            fault = Fault.PLATFORM if order.payment.is_awaited else Fault.VENDOR
            return await self._plans.undoing(order, step, fault)

        await self._step(ENGINE, order_id, "lapse_order", None, plan)

    # The vendor answers and prepares.

    async def accept_order(self, caller: Caller, command: commands.AcceptOrder) -> dict[str, Any]:
        """The vendor takes the order; the search for a rider begins."""
        return await self._step(caller, command.order_id, "accept_order", command)

    async def reject_order(self, caller: Caller, command: commands.RejectOrder) -> dict[str, Any]:
        """The vendor turns the order down; what was paid goes back."""
        return await self._step(
            caller, command.order_id, "reject_order", command, self._plans.rejecting
        )

    async def order_preparing(
        self, caller: Caller, command: commands.OrderPreparing
    ) -> dict[str, Any]:
        """The kitchen has begun."""
        return await self._step(caller, command.order_id, "order_preparing", command)

    async def order_ready(self, caller: Caller, command: commands.OrderReady) -> dict[str, Any]:
        """The goods wait for the rider; how long they took is learned."""
        ask = self._ask("order_ready", caller, command)
        carried = await self._stores.clerk.carry(caller, command.order_id, ask, nothing_else)
        if carried.order is not None:
            self._stores.tallies.note_ready(carried.order)
        return carried.answer

    # The engine looks for a rider.

    async def make_offers(
        self,
        order_id: str,
        offers: dict[str, Offer],
        made: OffersMade,
        known: Order | None = None,
    ) -> Order:
        """Offer the order to the riders of one wave; `known` is the order as it was just read.

        Errors: Refused WRONG_STATE where it no longer searches, CONFLICT where one of them has his
        hands full (`details` names him as `riderId`).
        """
        plan = self._plans.offering(offers, made.decision)
        asked = await self._by_engine(order_id, "make_offers", (made, offers), plan, known)
        metrics.OFFERS.labels("made").inc(len(offers))
        return _written(asked)

    async def lapse_offers(self, order_id: str, lapse: Lapse) -> Order:
        """End offers that ran out or were never shown."""
        ended = _written(await self._by_engine(order_id, "lapse_offers", (None, lapse)))
        for rider in lapse.expired:
            # He saw it and said nothing, which is no.
            self._stores.tallies.note_answer(rider, accepted=False)
        metrics.OFFERS.labels("expired").inc(len(lapse.expired))
        metrics.OFFERS.labels("unread").inc(len(lapse.unread))
        return ended

    async def exhaust_search(self, order_id: str, left: NobodyLeft) -> Order:
        """Say that nobody is left to ask, for now."""
        plan = explained(left.decision)
        return _written(await self._by_engine(order_id, "exhaust_search", (None, left), plan))

    async def withdraw_delivery(self, order_id: str, outcome: Outcome) -> Order:
        """Take the order from a rider who does not come; the search begins again.

        Errors: Refused WRONG_STATE where he has the goods by now.
        """
        plan = self._plans.moving if outcome is Outcome.MOVED else self._plans.releasing
        return _written(await self._by_engine(order_id, "withdraw_delivery", (None, outcome), plan))

    # A rider takes the order, or not.

    async def accept_delivery(
        self, caller: Caller, command: commands.AcceptDelivery
    ) -> dict[str, Any]:
        """Give the order to the rider who accepts first, if his hands and his cash limit allow.

        Errors: Refused OFFER_TAKEN, OFFER_EXPIRED, CONFLICT (he carries another), CASH_LIMIT.
        """

        async def ask(order: Order) -> Ask:
            # Whoever cannot win costs no look at who he is.
            may_win = is_offered(order, caller.id, command.offer_id)
            facts = await self._assigned_to(caller.id) if may_win else AssignedTo()
            return self._ask("accept_delivery", caller, command, facts)

        async def plan(order: Order, step: Step) -> Plan:
            answer = order_snapshot(step.order, "rider")
            return replace(self._plans.assigning(order, caller.id, command.offer_id), answer=answer)

        carried = await self._stores.clerk.carry(caller, command.order_id, ask, plan)
        if carried.order is None or carried.step is None:
            return carried.answer
        if carried.step.claims:
            metrics.OFFERS.labels("accepted").inc()
            self._stores.tallies.note_answer(caller.id, accepted=True)
        return order_snapshot(carried.order, "rider")

    async def _assigned_to(self, rider: str) -> AssignedTo:
        profile, last = await asyncio.gather(
            self._stores.riders.profile(rider), self._last_seen(rider)
        )
        name, vehicle = (profile.name, profile.vehicle) if profile else (None, None)
        speed_mps = self._speed_mps(last, vehicle) if last else None
        return AssignedTo(name=name, vehicle=vehicle, at=last, speed_mps=speed_mps)

    def _speed_mps(self, at: Position, vehicle: str | None) -> float:
        """How fast one gets on from there, by what was learned: as the estimates on the way."""
        hour = hour_of(self._clock.now_ms())
        return self._stores.speeds.speed_mps((cell_of(at.lat, at.lng), hour, vehicle))

    async def _last_seen(self, rider: str) -> Position | None:
        """Where the rider was last; a Redis that is away costs the estimate, not the delivery."""
        try:
            return await self._stores.positions.last(rider)
        except StoreUnavailable:
            return None

    async def decline_delivery(
        self, caller: Caller, command: commands.DeclineDelivery
    ) -> dict[str, Any]:
        """The rider says no; with the last of his wave the search goes on at once."""
        clause = offered_to(caller.id, command.offer_id, self._clock.now_ms())

        async def plan(order: Order, step: Step) -> Plan:
            return Plan(clause=clause)

        ask = self._ask("decline_delivery", caller, command)
        carried = await self._stores.clerk.carry(caller, command.order_id, ask, plan)
        metrics.OFFERS.labels("declined").inc()
        if carried.order is not None:
            self._stores.tallies.note_answer(caller.id, accepted=False)
        return carried.answer

    async def release_delivery(
        self, caller: Caller, command: commands.ReleaseDelivery
    ) -> dict[str, Any]:
        """The rider gives the order back before the pickup; the search begins again."""
        plan = self._plans.releasing
        return await self._step(caller, command.order_id, "release_delivery", command, plan)

    async def reassign(self, caller: Caller, command: commands.Reassign) -> dict[str, Any]:
        """An operator takes the order from its rider; the search begins again."""
        return await self._step(
            caller, command.order_id, "reassign", command, self._plans.releasing
        )

    # The rider fetches and brings.

    async def arrived_pickup(
        self, caller: Caller, command: commands.ArrivedPickup
    ) -> dict[str, Any]:
        """The rider stands at the pickup."""
        return await self._step(caller, command.order_id, "arrived_pickup", command)

    async def note_arrival(self, order_id: str, rider: str, at: Stop) -> None:
        """The rider's positions show him at a place of the order; told once, tap or no tap.

        Every node says it of the riders it hears: it is seen, not decided, so no lease is needed.
        Errors: Refused WRONG_STATE where the order went on; StoreUnavailable.
        """
        ask = self._ask("note_arrival", ENGINE, None, (rider, at))
        await self._stores.clerk.carry(ENGINE, order_id, ask, nothing_else)

    async def pick_up(self, caller: Caller, command: commands.PickUp) -> dict[str, Any]:
        """The rider has the goods."""
        return await self._step(caller, command.order_id, "pick_up", command)

    async def arrived_dropoff(
        self, caller: Caller, command: commands.ArrivedDropoff
    ) -> dict[str, Any]:
        """The rider stands at the customer's door."""
        return await self._step(caller, command.order_id, "arrived_dropoff", command)

    async def complete_delivery(
        self, caller: Caller, command: commands.CompleteDelivery
    ) -> dict[str, Any]:
        """The goods are handed over; settlement may follow."""

        async def plan(order: Order, step: Step) -> Plan:
            return self._plans.delivering(order, step, caller.id)

        return await self._step(caller, command.order_id, "complete_delivery", command, plan)

    async def settle(self, order_id: str) -> None:
        """Split the money of a delivered order; doing it again changes nothing.

        Errors: Refused WRONG_STATE where the order is not delivered; StoreUnavailable.
        """
        ask = self._ask("settle", ENGINE, None)
        carried = await self._stores.clerk.carry(ENGINE, order_id, ask, self._plans.settling)
        order = _written(carried)
        if carried.step is not None and carried.step.says:
            metrics.SETTLEMENTS.labels(order.order_type).inc()
            metrics.SETTLED_XAF.labels(order.order_type).inc(order.pricing.total)

    # Side exits and afterthoughts.

    async def cancel_order(self, caller: Caller, command: commands.CancelOrder) -> dict[str, Any]:
        """Call the order off; everyone in it is told, what was paid goes back."""
        fault = fault_of(caller.audience, command)

        async def plan(order: Order, step: Step) -> Plan:
            return await self._plans.undoing(order, step, fault)

        return await self._step(caller, command.order_id, "cancel_order", command, plan)

    async def rate_order(self, caller: Caller, command: commands.RateOrder) -> dict[str, Any]:
        """The customer says how it was; his stars count for the rider once."""
        return await self._step(caller, command.order_id, "rate_order", command, rating)

    # What all steps share.

    def _ask(self, name: str, caller: Caller, command: object, facts: object = None) -> Ask:
        actor = Actor(audience=caller.audience, id=caller.id)
        return Ask(
            name=name, actor=actor, now_ms=self._clock.now_ms(), command=command, facts=facts
        )

    async def _step(
        self,
        caller: Caller,
        order_id: str,
        name: str,
        command: object,
        plan: Planner = nothing_else,
    ) -> dict[str, Any]:
        ask = self._ask(name, caller, command)
        return (await self._stores.clerk.carry(caller, order_id, ask, plan)).answer

    async def _by_engine(
        self,
        order_id: str,
        name: str,
        said: tuple[object, object],
        plan: Planner = nothing_else,
        known: Order | None = None,
    ) -> Carried:
        """One step of the engine's own; `said` are its command and its facts.

        Errors: Deposed where the engine that thought of it rules no more.
        """

        async def fenced(order: Order, step: Step) -> Plan:
            found = await plan(order, step)
            # Nothing is awaited between this and the write.
            self._stores.fence.token()
            return found

        ask = self._ask(name, ENGINE, *said)
        return await self._stores.clerk.carry(ENGINE, order_id, ask, fenced, known)


def _written(carried: Carried) -> Order:
    assert carried.order is not None, "the engine repeats nothing by name"
    return carried.order
