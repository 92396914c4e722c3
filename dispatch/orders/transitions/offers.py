"""Order transitions by offers: made, accepted, declined, ended, taken back: pure."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.ids import OfferId, RiderId
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
    Acceptance,
    AddressedEvent,
    AssignmentFacts,
    NoCandidateFacts,
    OfferFacts,
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
from dispatch.wire import commands, events
from matching.eta import travel_seconds
from matching.geo import distance_m

# Outcomes that only a rider on the way to the pickup can have.
_ON_THE_WAY = frozenset({OfferOutcome.VANISHED, OfferOutcome.STALLED})


class EndedOffers(NamedTuple):
    """Riders whose offers end: not answered in time, or never shown by their apps."""

    expired: frozenset[RiderId] = frozenset()
    unread: frozenset[RiderId] = frozenset()


def accept_delivery(order: Order, request: TransitionRequest[Acceptance]) -> Transition:
    """Assign the order to the rider who accepts its offer; the other offers are closed.

    A repetition by the assigned rider changes nothing.

    Errors: Refused OFFER_TAKEN or OFFER_EXPIRED.
    """
    command, facts = request.input
    dispatch, rider_id = dispatch_of(order), RiderId(request.actor.id)
    if dispatch.rider_id == rider_id and dispatch.offer_id == command.offer_id:
        return Transition(order=order)
    offer = _open_offer(dispatch, rider_id, command.offer_id, request.now_ms)
    others = {rider: offer for rider, offer in dispatch.offers.items() if rider != rider_id}
    assigned = Dispatch(
        state=DispatchState.ASSIGNED,
        started_at_ms=dispatch.started_at_ms,
        wave=dispatch.wave,
        rider_id=rider_id,
        offer_id=offer.offer_id,
        asked=add_past_offers(dispatch, others, OfferOutcome.TAKEN, request.now_ms),
        decisions=dispatch.decisions,
        # From now on the engine checks that the rider approaches the pickup.
        due_at_ms=request.now_ms,
    )
    status = OrderStatus.ACCEPTED if order.status is OrderStatus.PENDING else order.status
    event = events.RiderAssigned(
        **event_fields(order),
        rider_id=rider_id,
        name=facts.name,
        vehicle=facts.vehicle,
        eta_seconds=_eta_seconds(order, facts),
    )
    ready = (pickup_ready_event(order, rider_id),) if order.status is OrderStatus.READY else ()
    return Transition(
        order=replace(order, status=status, dispatch=assigned),
        events=(
            *to_user_and_vendor(order, event),
            *offer_closed_events(order, others, "taken"),
            *ready,
        ),
        claimed_rider_id=rider_id,
    )


def _eta_seconds(order: Order, facts: AssignmentFacts) -> int | None:
    if facts.position is None or facts.speed_mps is None:
        return None
    return round(travel_seconds(distance_m(facts.position, order.pickup), facts.speed_mps))


def is_offered(order: Order, rider_id: RiderId, offer_id: str) -> bool:
    """Whether this very offer to this rider is open."""
    offer = order.dispatch.offers.get(rider_id) if order.dispatch else None
    return offer is not None and offer.offer_id == offer_id


def _open_offer(dispatch: Dispatch, rider_id: RiderId, offer_id: str, now_ms: int) -> Offer:
    offer = dispatch.offers.get(rider_id)
    if offer is not None and offer.offer_id == offer_id and now_ms <= offer.deadline_ms:
        return offer
    past = dispatch.asked.get(rider_id)
    if past is not None and past.offer_id == offer_id and past.outcome is OfferOutcome.TAKEN:
        raise Refused(Refusal.OFFER_TAKEN, "another rider was faster")
    raise Refused(Refusal.OFFER_EXPIRED, "this offer has ended")


def decline_delivery(
    order: Order, request: TransitionRequest[commands.DeclineDelivery]
) -> Transition:
    """A rider declines its offer; after the last one of a wave the search goes on at once.

    Errors: Refused OFFER_TAKEN or OFFER_EXPIRED.
    """
    dispatch, rider_id = dispatch_of(order), RiderId(request.actor.id)
    offer_id = request.input.offer_id
    past = dispatch.asked.get(rider_id)
    if past and past.offer_id == offer_id and past.outcome is OfferOutcome.DECLINED:
        return Transition(order=order)
    offer = _open_offer(dispatch, rider_id, offer_id, request.now_ms)
    declined = _without_offers(order, {rider_id: offer}, OfferOutcome.DECLINED, request.now_ms)
    return _with_reason(declined, rider_id, request.input.reason)


def _with_reason(transition: Transition, rider_id: RiderId, reason: str | None) -> Transition:
    """The transition with a rider's reason beside the end of its offer."""
    dispatch = dispatch_of(transition.order)
    asked = {**dispatch.asked, rider_id: replace(dispatch.asked[rider_id], reason=reason)}
    order = replace(transition.order, dispatch=replace(dispatch, asked=asked))
    return replace(transition, order=order)


def _without_offers(
    order: Order, ended: Mapping[RiderId, Offer], outcome: OfferOutcome, now_ms: int
) -> Transition:
    """The order with some of its offers ended; without an open one it searches again."""
    dispatch = dispatch_of(order)
    open_offers = {rider: o for rider, o in dispatch.offers.items() if rider not in ended}
    asked = add_past_offers(dispatch, ended, outcome, now_ms)
    if open_offers:
        return Transition(
            order=replace(order, dispatch=replace(dispatch, offers=open_offers, asked=asked))
        )
    searching = replace(
        dispatch, state=DispatchState.SEARCHING, offers={}, asked=asked, due_at_ms=now_ms
    )
    return Transition(
        order=replace(order, dispatch=searching), events=(search_status_event(order, "searching"),)
    )


def make_offers(order: Order, request: TransitionRequest[OfferFacts]) -> Transition:
    """The engine offers the order to riders, in addition to its open offers."""
    facts, dispatch = request.input, dispatch_of(order)
    assert facts.offers, "at least one rider is asked"
    offered = replace(
        with_offers(dispatch, facts.offers, facts.radius_km),
        due_at_ms=facts.due_at_ms,
        decisions=dispatch.decisions + (facts.decision is not None),
    )
    requests = tuple(
        AddressedEvent(identity("rider", rider_id), _delivery_request(order, offer, facts.trip_km))
        for rider_id, offer in facts.offers.items()
    )
    status = (
        () if dispatch.state is DispatchState.OFFERED else (search_status_event(order, "offered"),)
    )
    return Transition(order=replace(order, dispatch=offered), events=(*requests, *status))


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


def end_offers(order: Order, request: TransitionRequest[EndedOffers]) -> Transition:
    """The engine ends offers that were not answered in time or never shown."""
    dispatch = dispatch_of(order)
    unread_ids = request.input.unread - request.input.expired
    expired = {r: o for r, o in dispatch.offers.items() if r in request.input.expired}
    unread = {r: o for r, o in dispatch.offers.items() if r in unread_ids}
    ended = {**expired, **unread}
    if not ended:
        return Transition(order=order)
    transition = _without_offers(order, ended, OfferOutcome.EXPIRED, request.now_ms)
    after = dispatch_of(transition.order)
    unread_asked = add_past_offers(dispatch, unread, OfferOutcome.UNREAD, request.now_ms)
    after = replace(after, asked={**after.asked, **unread_asked})
    return replace(
        transition,
        order=replace(transition.order, dispatch=after),
        events=(*offer_closed_events(order, ended, "expired"), *transition.events),
    )


def exhaust_search(order: Order, request: TransitionRequest[NoCandidateFacts]) -> Transition:
    """The engine found no rider to ask; the search pauses until the next try."""
    facts, dispatch = request.input, dispatch_of(order)
    exhausted = replace(
        dispatch,
        state=DispatchState.EXHAUSTED,
        due_at_ms=facts.retry_at_ms,
        decisions=dispatch.decisions + (facts.decision is not None),
    )
    return Transition(
        order=replace(order, dispatch=exhausted), events=(search_status_event(order, "no_riders"),)
    )


def reassign(order: Order, request: TransitionRequest[commands.Reassign]) -> Transition:
    """An operator restarts the search, for the rider that the command names or for any.

    The order is taken from its rider, if it has one.
    """
    transition = Transition(order=order)
    if dispatch_of(order).rider_id:
        unassigned = _unassign(order, OfferOutcome.RELEASED, request.now_ms)
        transition = _notify_former_rider(unassigned, order, "cancelled")
    wanted = request.input.rider_id
    searching = replace(
        dispatch_of(transition.order),
        wanted=None if wanted is None else RiderId(wanted),
        due_at_ms=request.now_ms,
    )
    return replace(transition, order=replace(transition.order, dispatch=searching))


def release_delivery(
    order: Order, request: TransitionRequest[commands.ReleaseDelivery]
) -> Transition:
    """The assigned rider gives the order back before the pickup."""
    released = _unassign(order, OfferOutcome.RELEASED, request.now_ms)
    return _with_reason(released, RiderId(request.actor.id), request.input.reason)


def withdraw_delivery(order: Order, request: TransitionRequest[OfferOutcome]) -> Transition:
    """The engine takes the order from its rider before the pickup; the input is the outcome.

    A rider who has arrived by its own word has neither vanished nor stalled.

    Errors: Refused WRONG_STATE.
    """
    if request.input in _ON_THE_WAY and dispatch_of(order).state is not DispatchState.ASSIGNED:
        raise Refused(Refusal.WRONG_STATE, "the rider is at the pickup")
    unassigned = _unassign(order, request.input, request.now_ms)
    return _notify_former_rider(unassigned, order, "expired")


def _unassign(order: Order, outcome: OfferOutcome, now_ms: int) -> Transition:
    """The order without its rider, who is remembered as asked; it searches again."""
    dispatch = dispatch_of(order)
    assert dispatch.rider_id is not None
    past = PastOffer(offer_id=dispatch.offer_id or OfferId(""), outcome=outcome, at_ms=now_ms)
    searching = start_search(order, now_ms)
    searching = replace(searching, asked={**searching.asked, dispatch.rider_id: past})
    return Transition(
        order=replace(order, dispatch=searching),
        events=(search_status_event(order, "searching"),),
        released_rider_id=dispatch.rider_id,
    )


def _notify_former_rider(
    transition: Transition, order: Order, reason: events.CloseReason
) -> Transition:
    """The transition with an event that closes the offer which the former rider had accepted."""
    dispatch = dispatch_of(order)
    assert dispatch.rider_id is not None
    event = events.DeliveryRequestClosed(
        **event_fields(order), offer_id=dispatch.offer_id or "", reason=reason
    )
    addressed = AddressedEvent(identity("rider", dispatch.rider_id), event)
    return replace(transition, events=(*transition.events, addressed))
