"""What offers do to an order: made, taken by exactly one rider, declined, lapsed, given back."""

import msgspec
from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.keys import identity
from dispatch.model import (
    Dispatch,
    DispatchState,
    Offer,
    OfferOutcome,
    Order,
    OrderStatus,
    PastOffer,
    PaymentMethod,
)
from dispatch.orders.transitions.context import (
    AddressedEvent,
    AssignmentFacts,
    Transition,
    TransitionRequest,
    add_past_offers,
    dispatch_of,
    event_fields,
    offer_closed_events,
    pickup_ready_event,
    search_status_event,
    start_search,
    to_user_and_vendor,
)
from dispatch.orders.transitions.waves import with_offers
from dispatch.wire import events
from matching.eta import travel_seconds
from matching.geo import distance_m

S = OrderStatus
D = DispatchState


def accept_delivery(order: Order, request: TransitionRequest) -> Transition:
    """One rider wins the offer; the others are told.

    Errors: Refused OFFER_TAKEN or OFFER_EXPIRED.
    """
    dispatch, rider, offer_id = dispatch_of(order), request.actor.id, request.command.offer_id
    # The winner's own repeat gets his win again.
    if dispatch.rider_id == rider and dispatch.offer_id == offer_id:
        return Transition(order=order)
    offer = _open_offer(dispatch, rider, offer_id, request.now_ms)
    others = {r: o for r, o in dispatch.offers.items() if r != rider}
    assigned = Dispatch(
        state=D.ASSIGNED,
        started_at_ms=dispatch.started_at_ms,
        wave=dispatch.wave,
        rider_id=rider,
        offer_id=offer.offer_id,
        asked=add_past_offers(dispatch, others, OfferOutcome.TAKEN, request.now_ms),
        decisions=dispatch.decisions,
        # From here on the engine sees to it that he comes.
        due_at_ms=request.now_ms,
    )
    stands = S.ACCEPTED if order.status is S.PENDING else order.status
    told = events.RiderAssigned(
        **event_fields(order),
        rider_id=rider,
        name=request.facts.name,
        vehicle=request.facts.vehicle,
        eta_seconds=_eta_seconds(order, request.facts),
    )
    ready = (pickup_ready_event(order, rider),) if order.status is S.READY else ()
    says = (*to_user_and_vendor(order, told), *offer_closed_events(order, others, "taken"), *ready)
    return Transition(
        order=replace(order, status=stands, dispatch=assigned), events=says, claimed_rider_id=rider
    )


def _eta_seconds(order: Order, facts: AssignmentFacts) -> int | None:
    if facts.position is None or facts.speed_mps is None:
        return None
    return round(travel_seconds(distance_m(facts.position, order.pickup), facts.speed_mps))


def is_offered(order: Order, rider: str, offer_id: str) -> bool:
    """Whether the order has this very offer of a rider open."""
    offer = order.dispatch.offers.get(rider) if order.dispatch else None
    return offer is not None and offer.offer_id == offer_id


def _open_offer(dispatch: Dispatch, rider: str, offer_id: str, now_ms: int) -> Offer:
    offer = dispatch.offers.get(rider)
    if offer is not None and offer.offer_id == offer_id and now_ms <= offer.deadline_ms:
        return offer
    asked = dispatch.asked.get(rider)
    taken = asked is not None and asked.offer_id == offer_id and asked.outcome is OfferOutcome.TAKEN
    if taken:
        raise Refused(Refusal.OFFER_TAKEN, "another rider was faster")
    raise Refused(Refusal.OFFER_EXPIRED, "this offer has ended")


def decline_delivery(order: Order, request: TransitionRequest) -> Transition:
    """One rider turns the offer down; with the last of a wave the search goes on at once.

    Errors: Refused OFFER_TAKEN or OFFER_EXPIRED.
    """
    dispatch, rider = dispatch_of(order), request.actor.id
    asked = dispatch.asked.get(rider)
    if (
        asked
        and asked.offer_id == request.command.offer_id
        and asked.outcome is OfferOutcome.DECLINED
    ):
        return Transition(order=order)
    offer = _open_offer(dispatch, rider, request.command.offer_id, request.now_ms)
    return _without_offers(order, {rider: offer}, OfferOutcome.DECLINED, request.now_ms)


def _without_offers(
    order: Order, ended: dict[str, Offer], outcome: OfferOutcome, now_ms: int
) -> Transition:
    """The order with some of its offers ended; `says` is empty but for the customer's status."""
    dispatch = dispatch_of(order)
    left = {r: o for r, o in dispatch.offers.items() if r not in ended}
    asked = add_past_offers(dispatch, ended, outcome, now_ms)
    if left:
        return Transition(
            order=replace(order, dispatch=replace(dispatch, offers=left, asked=asked))
        )
    open_again = replace(dispatch, state=D.SEARCHING, offers={}, asked=asked, due_at_ms=now_ms)
    return Transition(
        order=replace(order, dispatch=open_again), events=(search_status_event(order, "searching"),)
    )


def make_offers(order: Order, request: TransitionRequest) -> Transition:
    """The engine offers the order to riders, beside those it asked just before.

    `facts` are offers by rider.
    """
    dispatch, offers = dispatch_of(order), request.facts
    assert offers, "somebody is asked"
    made = with_offers(dispatch, offers, request.command.radius_km)
    counted = dispatch.decisions + (request.command.decision is not None)
    offered = replace(made, due_at_ms=request.command.due_at_ms, decisions=counted)
    requests = tuple(
        AddressedEvent(
            identity("rider", rider), _delivery_request(order, offer, request.command.trip_km)
        )
        for rider, offer in offers.items()
    )
    news = () if dispatch.state is D.OFFERED else (search_status_event(order, "offered"),)
    return Transition(order=replace(order, dispatch=offered), events=(*requests, *news))


def _delivery_request(order: Order, offer: Offer, trip_km: float) -> events.DeliveryRequest:
    cash = order.pricing.total if order.payment.method is PaymentMethod.CASH else None
    return events.DeliveryRequest(
        **event_fields(order),
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


class EndedOffers(msgspec.Struct, frozen=True, kw_only=True):
    """Riders whose offers end, by how they ended."""

    expired: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()


def end_offers(order: Order, request: TransitionRequest) -> Transition:
    """The engine ends offers that ran out or were never shown; `facts` is a Lapse."""
    dispatch, lapse = dispatch_of(order), request.facts
    expired = {r: o for r, o in dispatch.offers.items() if r in lapse.expired}
    unread = {r: o for r, o in dispatch.offers.items() if r in lapse.unread - lapse.expired}
    ended = {**expired, **unread}
    if not ended:
        return Transition(order=order)
    step = _without_offers(order, ended, OfferOutcome.EXPIRED, request.now_ms)
    after = dispatch_of(step.order)
    asked = {
        **after.asked,
        **add_past_offers(dispatch, unread, OfferOutcome.UNREAD, request.now_ms),
    }
    order_after = replace(step.order, dispatch=replace(after, asked=asked))
    return replace(
        step,
        order=order_after,
        events=(*offer_closed_events(order, ended, "expired"), *step.events),
    )


def exhaust_search(order: Order, request: TransitionRequest) -> Transition:
    """The engine found nobody to ask; `facts` is a NobodyLeft."""
    dispatch, found = dispatch_of(order), request.facts
    counted = dispatch.decisions + (found.decision is not None)
    resting = replace(dispatch, state=D.EXHAUSTED, due_at_ms=found.retry_at_ms, decisions=counted)
    return Transition(
        order=replace(order, dispatch=resting), events=(search_status_event(order, "no_riders"),)
    )


def reassign(order: Order, request: TransitionRequest) -> Transition:
    """An operator starts the search anew, with a rider he wants where he names one.

    The order leaves the hands it is in, if it is in any.
    """
    dispatch = dispatch_of(order)
    given_back = Transition(order=order)
    if dispatch.rider_id:
        released = _unassign(order, OfferOutcome.RELEASED, request.now_ms)
        given_back = _notify_former_rider(released, order, "cancelled")
    again = replace(
        dispatch_of(given_back.order), wanted=request.command.rider_id, due_at_ms=request.now_ms
    )
    return replace(given_back, order=replace(given_back.order, dispatch=again))


def release_delivery(order: Order, request: TransitionRequest) -> Transition:
    """An assigned rider gives the order back before the pickup."""
    return _unassign(order, OfferOutcome.RELEASED, request.now_ms)


def withdraw_delivery(order: Order, request: TransitionRequest) -> Transition:
    """The engine takes the order from a rider who does not come; `facts` is the outcome."""
    return _notify_former_rider(_unassign(order, request.facts, request.now_ms), order, "expired")


def _unassign(order: Order, outcome: OfferOutcome, now_ms: int) -> Transition:
    """The order leaves its rider's hands and searches again, without him."""
    dispatch = dispatch_of(order)
    assert dispatch.rider_id is not None
    ended = PastOffer(offer_id=dispatch.offer_id or "", outcome=outcome, at_ms=now_ms)
    again = start_search(order, now_ms)
    again = replace(again, asked={**again.asked, dispatch.rider_id: ended})
    says = (search_status_event(order, "searching"),)
    return Transition(
        order=replace(order, dispatch=again), events=says, released_rider_id=dispatch.rider_id
    )


def _notify_former_rider(
    transition: Transition, order: Order, reason: events.CloseReason
) -> Transition:
    """The rider who loses the order learns it: the offer he had accepted is his no more."""
    dispatch = dispatch_of(order)
    assert dispatch.rider_id is not None
    told = events.DeliveryRequestClosed(
        **event_fields(order), offer_id=dispatch.offer_id or "", reason=reason
    )
    return replace(
        transition,
        events=(*transition.events, AddressedEvent(identity("rider", dispatch.rider_id), told)),
    )
