"""Requests for every transition, and orders in every state, for the tests of the state machine."""

from typing import Any

from dispatch.errors import Refusal, Refused
from dispatch.ids import RiderId
from dispatch.model import DispatchState, OfferOutcome, Order, OrderStatus
from dispatch.orders.transitions.concerns import ConcernFacts
from dispatch.orders.transitions.context import (
    Acceptance,
    Actor,
    ArrivalFacts,
    AssignmentFacts,
    NoCandidateFacts,
    OfferFacts,
    Pickup,
    Transition,
    TransitionRequest,
)
from dispatch.orders.transitions.handover import Handover
from dispatch.orders.transitions.offers import EndedOffers
from dispatch.orders.transitions.state_machine import TRANSITIONS, decide_transition
from dispatch.wire import commands
from tests.factories import a_payment, an_offer, an_order

NOW = 2_000_000
RIDER = RiderId("rdr_1")

ACTORS = {
    "user": Actor(audience="user", id="usr_1"),
    "vendor": Actor(audience="vendor", id="ven_1"),
    "rider": Actor(audience="rider", id="rdr_1"),
    "ops": Actor(audience="ops", id="adm_1"),
    "engine": Actor(audience="engine", id="engine"),
}
# A valid input of each transition that has one.
INPUTS = {
    "accept_order": commands.AcceptOrder(order_id="ord_1", prep_minutes=10),
    "reject_order": commands.RejectOrder(order_id="ord_1", reason="closed"),
    "order_preparing": commands.OrderPreparing(order_id="ord_1"),
    "order_ready": commands.OrderReady(order_id="ord_1"),
    "arrived_pickup": commands.ArrivedPickup(order_id="ord_1"),
    "pick_up": Pickup(commands.PickUp(order_id="ord_1")),
    "arrived_dropoff": commands.ArrivedDropoff(order_id="ord_1"),
    "accept_delivery": Acceptance(
        commands.AcceptDelivery(order_id="ord_1", offer_id="ofr_1"),
        AssignmentFacts(name="Paul", vehicle="MOTORBIKE"),
    ),
    "decline_delivery": commands.DeclineDelivery(order_id="ord_1", offer_id="ofr_1"),
    "note_concerns": ConcernFacts({"goods_silent": "silent for 60 s"}, due_at_ms=NOW + 5_000),
    "complete_delivery": Handover(commands.CompleteDelivery(order_id="ord_1")),
    "release_delivery": commands.ReleaseDelivery(order_id="ord_1", reason="a flat tyre"),
    "cancel_order": commands.CancelOrder(order_id="ord_1"),
    "rate_order": commands.RateOrder(order_id="ord_1", rating=5),
    "reassign": commands.Reassign(order_id="ord_1"),
    "make_offers": OfferFacts(
        offers={RIDER: an_offer("ofr_1", made_at_ms=NOW)}, trip_km=2.0, due_at_ms=NOW + 2_000
    ),
    "end_offers": EndedOffers(expired=frozenset({RIDER})),
    "exhaust_search": NoCandidateFacts(retry_at_ms=NOW + 2_000),
    "withdraw_delivery": OfferOutcome.MOVED,
    "record_arrival": ArrivalFacts(RIDER, "pickup"),
}


def request(name: str, audience: str, **changes: Any) -> TransitionRequest[Any]:
    """A valid request for a transition; override one field and keep the rest."""
    usual = {"input": INPUTS.get(name), "now_ms": NOW}
    return TransitionRequest(name=name, actor=ACTORS[audience], **{**usual, **changes})


def sender_of(name: str) -> str:
    """An audience that may request a transition."""
    return min(TRANSITIONS[name].audiences, key=["ops", "engine", "rider", "vendor", "user"].index)


def order_at(status: str, state: str) -> Order:
    """A paid FOOD order in a status and dispatch state ("-" for none)."""
    return an_order(
        status=OrderStatus(status),
        state=None if state == "-" else DispatchState(state),
        payment=a_payment(),
    )


def outcome_of(order: Order, transition_request: TransitionRequest[Any]) -> str | Refusal:
    """The version that a request leads to, or its refusal."""
    try:
        return f"version {decide_transition(order, transition_request).order.version}"
    except Refused as refused:
        return refused.code


def addressed_events(transition: Transition) -> list[tuple[str, str]]:
    """The receivers and names of a transition's events."""
    return [(receiver, event.event) for receiver, event in transition.events]
