"""Transitions by offers: who wins, who is notified, and what the search remembers."""

import pytest
from msgspec.structs import replace

from dispatch.errors import Refusal
from dispatch.ids import RiderId
from dispatch.model import DispatchState, OfferOutcome, Order, OrderStatus, Position
from dispatch.orders.transitions.context import Acceptance, AssignmentFacts, OfferFacts
from dispatch.orders.transitions.offers import EndedOffers, is_offered
from dispatch.orders.transitions.state_machine import decide_transition
from dispatch.wire import commands, events
from tests.dispatch.orders.transitions.transition_requests import (
    INPUTS,
    NOW,
    RIDER,
    addressed_events,
    order_at,
    outcome_of,
    request,
)
from tests.factories import a_cash_payment, an_offer, an_order


def offered_order(
    *rider_ids: str, status: OrderStatus = OrderStatus.ACCEPTED, made_at_ms: int = NOW
) -> Order:
    """An order with open offers `ofr_1`, `ofr_2` ... to these riders."""
    offers = {
        rider_id: an_offer(f"ofr_{number}", made_at_ms=made_at_ms)
        for number, rider_id in enumerate(rider_ids, 1)
    }
    return an_order(status=status, state=DispatchState.OFFERED, offers=offers)


def test_assignment_is_sent_to_both_sides_and_other_offers_are_closed():
    """One rider wins; the others of the wave get `delivery_request_closed` with `taken`."""
    order = offered_order("rdr_1", "rdr_2", status=OrderStatus.READY)
    step = decide_transition(order, request("accept_delivery", "rider"))

    assert addressed_events(step) == [
        ("user:usr_1", "rider_assigned"),
        ("vendor:ven_1", "rider_assigned"),
        ("rider:rdr_2", "delivery_request_closed"),
        ("rider:rdr_1", "order_ready_for_pickup"),
    ]
    assert step.claimed_rider_id == "rdr_1"
    assert step.order.dispatch.asked[RiderId("rdr_2")].outcome is OfferOutcome.TAKEN


def test_the_assignment_estimates_the_arrival_at_the_pickup():
    """Without a position or a speed there is no estimate."""
    order = offered_order("rdr_1")
    pickup = Position(lat=order.pickup.lat, lng=order.pickup.lng, ts=0, received_at=0)
    command = commands.AcceptDelivery(order_id="ord_1", offer_id="ofr_1")
    known = Acceptance(command, AssignmentFacts(position=pickup, speed_mps=5.0))
    unknown = Acceptance(command, AssignmentFacts(position=pickup))
    estimates = [
        decide_transition(order, request("accept_delivery", "rider", input=each)).events[0].event
        for each in (known, unknown)
    ]

    assert [event.eta_seconds for event in estimates] == [0, None]


@pytest.mark.parametrize(
    ("outcome", "offer_id", "code"),
    [
        (OfferOutcome.TAKEN, "ofr_1", Refusal.OFFER_TAKEN),
        (OfferOutcome.TAKEN, "ofr_0", Refusal.OFFER_EXPIRED),
        (OfferOutcome.EXPIRED, "ofr_1", Refusal.OFFER_EXPIRED),
        (OfferOutcome.DECLINED, "ofr_1", Refusal.OFFER_EXPIRED),
    ],
)
def test_a_late_accept_is_refused_with_the_reason(
    outcome: OfferOutcome, offer_id: str, code: Refusal
):
    """OFFER_TAKEN only for the very offer that another rider took; else OFFER_EXPIRED."""
    order = an_order(
        status=OrderStatus.IN_TRANSIT,
        state=DispatchState.PICKED_UP,
        rider="rdr_9",
        asked={"rdr_1": ("ofr_1", outcome)},
    )
    command = commands.AcceptDelivery(order_id="ord_1", offer_id=offer_id)
    late = request("accept_delivery", "rider", input=Acceptance(command, AssignmentFacts()))

    assert outcome_of(order, late) is code


def test_an_accept_is_in_time_up_to_the_deadline_of_the_servers_clock():
    """One millisecond later it is refused."""
    order = offered_order("rdr_1", made_at_ms=0)
    deadline_ms = order.dispatch.offers[RIDER].deadline_ms
    in_time = request("accept_delivery", "rider", now_ms=deadline_ms)
    late = request("accept_delivery", "rider", now_ms=deadline_ms + 1)

    assert outcome_of(order, in_time) == "version 2"
    assert outcome_of(order, late) is Refusal.OFFER_EXPIRED


def test_the_winners_repetition_changes_nothing():
    """A repeated accept finds the rider assigned."""
    first = decide_transition(offered_order("rdr_1"), request("accept_delivery", "rider"))
    again = decide_transition(first.order, request("accept_delivery", "rider"))

    assert again.order is first.order
    assert again.claimed_rider_id is None


def test_only_the_very_offer_counts_as_offered():
    """Another rider, or another offer to the same rider, does not."""
    order = offered_order("rdr_1")

    assert is_offered(order, RIDER, "ofr_1")
    assert not is_offered(order, RIDER, "ofr_2")
    assert not is_offered(order, RiderId("rdr_2"), "ofr_1")
    assert not is_offered(order_at("PENDING", "-"), RIDER, "ofr_1")


def test_the_last_decline_of_a_wave_continues_the_search_at_once():
    """The engine checks the order without waiting for a deadline."""
    step = decide_transition(offered_order("rdr_1"), request("decline_delivery", "rider"))

    assert step.order.dispatch.state is DispatchState.SEARCHING
    assert step.order.dispatch.due_at_ms == NOW


def test_one_decline_leaves_the_other_offers_open():
    """The other riders of the wave may still accept."""
    step = decide_transition(offered_order("rdr_1", "rdr_2"), request("decline_delivery", "rider"))

    assert step.order.dispatch.state is DispatchState.OFFERED
    assert sorted(step.order.dispatch.offers) == ["rdr_2"]


def test_a_repeated_decline_changes_nothing():
    """The rider's first decline is remembered."""
    first = decide_transition(offered_order("rdr_1"), request("decline_delivery", "rider"))

    assert decide_transition(first.order, request("decline_delivery", "rider")).order is first.order


def test_a_further_offer_of_a_wave_is_added_to_the_first():
    """The first stays open, the customer gets no second status, and the wave counts both."""
    order = decide_transition(
        order_at("ACCEPTED", "SEARCHING"), request("make_offers", "engine")
    ).order
    offers = {RiderId("rdr_2"): an_offer("ofr_2", made_at_ms=NOW + 3_000)}
    facts = OfferFacts(offers=offers, trip_km=2.0, due_at_ms=NOW + 5_000)
    step = decide_transition(order, request("make_offers", "engine", input=facts))

    assert sorted(step.order.dispatch.offers) == ["rdr_1", "rdr_2"]
    assert step.order.dispatch.wave_asked == 2
    assert addressed_events(step) == [("rider:rdr_2", "delivery_request")]


def test_a_delivery_request_has_the_cash_to_collect():
    """A prepaid order has none."""
    prepaid = order_at("ACCEPTED", "SEARCHING")
    cash = replace(prepaid, payment=a_cash_payment())
    requests = [
        decide_transition(order, request("make_offers", "engine")).events[0].event
        for order in (prepaid, cash)
    ]

    assert all(isinstance(event, events.DeliveryRequest) for event in requests)
    assert [event.cash_to_collect for event in requests] == [None, cash.pricing.total]


def test_unread_offers_are_remembered_apart_from_expired_ones():
    """A rider whose app showed nothing has not declined by silence."""
    ended = EndedOffers(expired=frozenset({RIDER}), unread=frozenset({RiderId("rdr_2")}))
    order = offered_order("rdr_1", "rdr_2", made_at_ms=0)
    step = decide_transition(order, request("end_offers", "engine", input=ended))
    outcomes = {rider: past.outcome for rider, past in step.order.dispatch.asked.items()}

    assert outcomes == {"rdr_1": OfferOutcome.EXPIRED, "rdr_2": OfferOutcome.UNREAD}
    assert [name for _, name in addressed_events(step)].count("delivery_request_closed") == 2


def test_ending_offers_that_are_not_open_changes_nothing():
    """The riders have answered meanwhile."""
    order = offered_order("rdr_2")

    assert decide_transition(order, request("end_offers", "engine")).order is order


def test_an_exhausted_search_pauses_until_the_next_try():
    """The customer is sent `no_riders`."""
    step = decide_transition(order_at("ACCEPTED", "SEARCHING"), request("exhaust_search", "engine"))

    assert step.order.dispatch.state is DispatchState.EXHAUSTED
    assert step.order.dispatch.due_at_ms == INPUTS["exhaust_search"].retry_at_ms
    assert step.events[0].event.state == "no_riders"


@pytest.mark.parametrize(
    ("name", "audience", "reason"),
    [("withdraw_delivery", "engine", "expired"), ("reassign", "ops", "cancelled")],
)
def test_a_rider_who_loses_the_order_is_notified(name: str, audience: str, reason: str):
    """The offer that the rider had accepted is closed, with a reason of its own for each actor."""
    step = decide_transition(order_at("ACCEPTED", "ASSIGNED"), request(name, audience))
    [event] = [each.event for each in step.events if each.receiver == "rider:rdr_1"]

    assert (event.event, event.offer_id, event.reason) == (
        "delivery_request_closed", "ofr_won", reason,
    )  # fmt: skip
    assert step.released_rider_id == "rdr_1"


@pytest.mark.parametrize("outcome", [OfferOutcome.VANISHED, OfferOutcome.STALLED])
def test_a_rider_at_the_pickup_has_neither_vanished_nor_stalled(outcome: OfferOutcome):
    """An engine that read the order before the arrival cannot take it away after it."""
    late = request("withdraw_delivery", "engine", input=outcome)

    assert outcome_of(order_at("ACCEPTED", "AT_PICKUP"), late) is Refusal.WRONG_STATE


def test_a_released_rider_is_remembered_as_asked():
    """The search begins again, and does not ask that rider."""
    step = decide_transition(order_at("ACCEPTED", "ASSIGNED"), request("release_delivery", "rider"))

    assert step.order.dispatch.state is DispatchState.SEARCHING
    past = step.order.dispatch.asked[RIDER]
    assert (past.outcome, past.reason) == (OfferOutcome.RELEASED, "a flat tyre")
    assert step.order.rider_id is None


def test_the_reason_for_declining_is_kept():
    """Beside the offer that the rider declined."""
    command = commands.DeclineDelivery(order_id="ord_1", offer_id="ofr_1", reason="too far")
    order = offered_order("rdr_1", "rdr_2")
    offer_id = order.dispatch.offers[RIDER].offer_id
    command = replace(command, offer_id=offer_id)
    step = decide_transition(order, request("decline_delivery", "rider", input=command))
    past = step.order.dispatch.asked[RIDER]

    assert (past.offer_id, past.outcome, past.reason) == (
        offer_id,
        OfferOutcome.DECLINED,
        "too far",
    )


def test_a_reassignment_may_name_the_next_rider():
    """An order that still searches is not taken from any rider."""
    command = commands.Reassign(order_id="ord_1", rider_id="rdr_7")
    step = decide_transition(
        order_at("ACCEPTED", "SEARCHING"), request("reassign", "ops", input=command)
    )

    assert (step.order.dispatch.wanted, step.order.dispatch.due_at_ms) == ("rdr_7", NOW)
    assert (step.events, step.released_rider_id) == ((), None)
