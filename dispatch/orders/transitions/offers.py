"""What offers do to an order: made, taken by exactly one rider, declined, lapsed, given back."""

import msgspec
from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.keys import identity
from dispatch.model import (
    Asked,
    Dispatch,
    DispatchState,
    Offer,
    Order,
    OrderStatus,
    Outcome,
    PaymentMethod,
)
from dispatch.orders.transitions.context import (
    Ask,
    AssignedTo,
    Said,
    Step,
    both,
    closed,
    dispatch_of,
    mark,
    ready_for,
    remembered,
    searching,
    status,
)
from dispatch.orders.transitions.waves import with_offers
from dispatch.wire import events
from matching.eta import travel_seconds
from matching.geo import distance_m

S = OrderStatus
D = DispatchState


def accept_delivery(order: Order, ask: Ask) -> Step:
    """One rider wins the offer; the others are told.

    Errors: Refused OFFER_TAKEN or OFFER_EXPIRED.
    """
    dispatch, rider, offer_id = dispatch_of(order), ask.actor.id, ask.command.offer_id
    # The winner's own repeat gets his win again.
    if dispatch.rider_id == rider and dispatch.offer_id == offer_id:
        return Step(order=order)
    offer = _live_offer(dispatch, rider, offer_id, ask.now_ms)
    others = {r: o for r, o in dispatch.offers.items() if r != rider}
    assigned = Dispatch(
        state=D.ASSIGNED,
        started_at_ms=dispatch.started_at_ms,
        wave=dispatch.wave,
        rider_id=rider,
        offer_id=offer.offer_id,
        asked=remembered(dispatch, others, Outcome.TAKEN, ask.now_ms),
        decisions=dispatch.decisions,
        # From here on the engine sees to it that he comes.
        due_at_ms=ask.now_ms,
    )
    stands = S.ACCEPTED if order.status is S.PENDING else order.status
    told = events.RiderAssigned(
        **mark(order),
        rider_id=rider,
        name=ask.facts.name,
        vehicle=ask.facts.vehicle,
        eta_seconds=_eta_seconds(order, ask.facts),
    )
    ready = (ready_for(order, rider),) if order.status is S.READY else ()
    says = (*both(order, told), *closed(order, others, "taken"), *ready)
    return Step(order=replace(order, status=stands, dispatch=assigned), says=says, claims=rider)


def _eta_seconds(order: Order, rider: AssignedTo) -> int | None:
    if rider.at is None or rider.speed_mps is None:
        return None
    return round(travel_seconds(distance_m(rider.at, order.pickup), rider.speed_mps))


def is_offered(order: Order, rider: str, offer_id: str) -> bool:
    """Whether the order has this very offer of a rider open."""
    offer = order.dispatch.offers.get(rider) if order.dispatch else None
    return offer is not None and offer.offer_id == offer_id


def _live_offer(dispatch: Dispatch, rider: str, offer_id: str, now_ms: int) -> Offer:
    offer = dispatch.offers.get(rider)
    if offer is not None and offer.offer_id == offer_id and now_ms <= offer.deadline_ms:
        return offer
    asked = dispatch.asked.get(rider)
    taken = asked is not None and asked.offer_id == offer_id and asked.outcome is Outcome.TAKEN
    if taken:
        raise Refused(Refusal.OFFER_TAKEN, "another rider was faster")
    raise Refused(Refusal.OFFER_EXPIRED, "this offer has ended")


def decline_delivery(order: Order, ask: Ask) -> Step:
    """One rider turns the offer down; with the last of a wave the search goes on at once.

    Errors: Refused OFFER_TAKEN or OFFER_EXPIRED.
    """
    dispatch, rider = dispatch_of(order), ask.actor.id
    asked = dispatch.asked.get(rider)
    if asked and asked.offer_id == ask.command.offer_id and asked.outcome is Outcome.DECLINED:
        return Step(order=order)
    offer = _live_offer(dispatch, rider, ask.command.offer_id, ask.now_ms)
    return _without(order, {rider: offer}, Outcome.DECLINED, ask.now_ms)


def _without(order: Order, ended: dict[str, Offer], outcome: Outcome, now_ms: int) -> Step:
    """The order with some of its offers ended; `says` is empty but for the customer's status."""
    dispatch = dispatch_of(order)
    left = {r: o for r, o in dispatch.offers.items() if r not in ended}
    asked = remembered(dispatch, ended, outcome, now_ms)
    if left:
        return Step(order=replace(order, dispatch=replace(dispatch, offers=left, asked=asked)))
    open_again = replace(dispatch, state=D.SEARCHING, offers={}, asked=asked, due_at_ms=now_ms)
    return Step(order=replace(order, dispatch=open_again), says=(status(order, "searching"),))


def make_offers(order: Order, ask: Ask) -> Step:
    """The engine offers the order to riders, beside those it asked just before.

    `facts` are offers by rider.
    """
    dispatch, offers = dispatch_of(order), ask.facts
    assert offers, "somebody is asked"
    made = with_offers(dispatch, offers, ask.command.radius_km)
    counted = dispatch.decisions + (ask.command.decision is not None)
    offered = replace(made, due_at_ms=ask.command.due_at_ms, decisions=counted)
    requests = tuple(
        Said(identity("rider", rider), _request(order, offer, ask.command.trip_km))
        for rider, offer in offers.items()
    )
    news = () if dispatch.state is D.OFFERED else (status(order, "offered"),)
    return Step(order=replace(order, dispatch=offered), says=(*requests, *news))


def _request(order: Order, offer: Offer, trip_km: float) -> events.DeliveryRequest:
    cash = order.pricing.total if order.payment.method is PaymentMethod.CASH else None
    return events.DeliveryRequest(
        **mark(order),
        offer_id=offer.offer_id,
        order_type=order.order_type,
        pickup_location=events.LatLng(lat=order.pickup.lat, lng=order.pickup.lng),
        dropoff_location=events.LatLng(lat=order.dropoff.lat, lng=order.dropoff.lng),
        delivery_fee=order.pricing.rider_share,
        distance=round(offer.distance_km, 3),
        trip_distance=round(trip_km, 3),
        expires_at=offer.expires_at_ms,
        expires_in_ms=offer.expires_at_ms - offer.made_at_ms,
        cash_to_collect=cash,
    )


class Lapse(msgspec.Struct, frozen=True, kw_only=True):
    """Riders whose offers end, by how they ended."""

    expired: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()


def lapse_offers(order: Order, ask: Ask) -> Step:
    """The engine ends offers that ran out or were never shown; `facts` is a Lapse."""
    dispatch, lapse = dispatch_of(order), ask.facts
    expired = {r: o for r, o in dispatch.offers.items() if r in lapse.expired}
    unread = {r: o for r, o in dispatch.offers.items() if r in lapse.unread - lapse.expired}
    ended = {**expired, **unread}
    if not ended:
        return Step(order=order)
    step = _without(order, ended, Outcome.EXPIRED, ask.now_ms)
    after = dispatch_of(step.order)
    asked = {**after.asked, **remembered(dispatch, unread, Outcome.UNREAD, ask.now_ms)}
    order_after = replace(step.order, dispatch=replace(after, asked=asked))
    return replace(step, order=order_after, says=(*closed(order, ended, "expired"), *step.says))


def exhaust_search(order: Order, ask: Ask) -> Step:
    """The engine found nobody to ask; `facts` is a NobodyLeft."""
    dispatch, found = dispatch_of(order), ask.facts
    counted = dispatch.decisions + (found.decision is not None)
    resting = replace(dispatch, state=D.EXHAUSTED, due_at_ms=found.look_again_ms, decisions=counted)
    return Step(order=replace(order, dispatch=resting), says=(status(order, "no_riders"),))


def reassign(order: Order, ask: Ask) -> Step:
    """An operator starts the search anew, with a rider he wants where he names one.

    The order leaves the hands it is in, if it is in any.
    """
    dispatch = dispatch_of(order)
    given_back = Step(order=order)
    if dispatch.rider_id:
        released = _given_up(order, Outcome.RELEASED, ask.now_ms)
        given_back = _and_told(released, order, "cancelled")
    again = replace(
        dispatch_of(given_back.order), wanted=ask.command.rider_id, due_at_ms=ask.now_ms
    )
    return replace(given_back, order=replace(given_back.order, dispatch=again))


def release_delivery(order: Order, ask: Ask) -> Step:
    """An assigned rider gives the order back before the pickup."""
    return _given_up(order, Outcome.RELEASED, ask.now_ms)


def withdraw_delivery(order: Order, ask: Ask) -> Step:
    """The engine takes the order from a rider who does not come; `facts` is the outcome."""
    return _and_told(_given_up(order, ask.facts, ask.now_ms), order, "expired")


def _given_up(order: Order, outcome: Outcome, now_ms: int) -> Step:
    """The order leaves its rider's hands and searches again, without him."""
    dispatch = dispatch_of(order)
    assert dispatch.rider_id is not None
    ended = Asked(offer_id=dispatch.offer_id or "", outcome=outcome, at_ms=now_ms)
    again = searching(order, now_ms)
    again = replace(again, asked={**again.asked, dispatch.rider_id: ended})
    says = (status(order, "searching"),)
    return Step(order=replace(order, dispatch=again), says=says, frees=dispatch.rider_id)


def _and_told(step: Step, order: Order, reason: events.ClosedBecause) -> Step:
    """The rider who loses the order learns it: the offer he had accepted is his no more."""
    dispatch = dispatch_of(order)
    assert dispatch.rider_id is not None
    told = events.DeliveryRequestClosed(
        **mark(order), offer_id=dispatch.offer_id or "", reason=reason
    )
    return replace(step, says=(*step.says, Said(identity("rider", dispatch.rider_id), told)))
