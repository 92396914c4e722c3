"""The machine: every command in every state, and what each step leads to."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.model import DispatchState, OfferOutcome, OrderStatus, PaymentMethod, PaymentState
from dispatch.orders.transitions.context import (
    Actor,
    AssignmentFacts,
    NoCandidateFacts,
    OfferFacts,
    TransitionRequest,
)
from dispatch.orders.transitions.offers import EndedOffers
from dispatch.orders.transitions.state_machine import TRANSITIONS, decide_transition
from dispatch.wire import commands
from tests.factories import (
    a_cash_payment,
    a_parcel_order,
    a_payment,
    an_offer,
    an_order,
)

NOW = 2_000_000

ACTORS = {
    "user": Actor(audience="user", id="usr_1"),
    "vendor": Actor(audience="vendor", id="ven_1"),
    "rider": Actor(audience="rider", id="rdr_1"),
    "ops": Actor(audience="ops", id="adm_1"),
    "engine": Actor(audience="engine", id="engine"),
}
COMMANDS = {
    "accept_order": commands.AcceptOrder(order_id="ord_1", prep_minutes=10),
    "reject_order": commands.RejectOrder(order_id="ord_1", reason="closed"),
    "accept_delivery": commands.AcceptDelivery(order_id="ord_1", offer_id="ofr_1"),
    "decline_delivery": commands.DeclineDelivery(order_id="ord_1", offer_id="ofr_1"),
    "complete_delivery": commands.CompleteDelivery(order_id="ord_1"),
    "cancel_order": commands.CancelOrder(order_id="ord_1"),
    "rate_order": commands.RateOrder(order_id="ord_1", rating=5),
    "reassign": commands.Reassign(order_id="ord_1"),
    "make_offers": OfferFacts(trip_km=2.0, due_at_ms=NOW + 2_000),
}
FACTS = {
    "accept_delivery": AssignmentFacts(name="Paul", vehicle="MOTORBIKE"),
    "make_offers": {"rdr_1": an_offer("ofr_1", made_at_ms=NOW)},
    "lapse_offers": EndedOffers(expired=frozenset({"rdr_1"})),
    "exhaust_search": NoCandidateFacts(retry_at_ms=NOW + 2_000),
    "withdraw_delivery": OfferOutcome.STALLED,
    "note_arrival": ("rdr_1", "pickup"),
}


def request(name, audience, **changes):
    given = {"command": COMMANDS.get(name), "facts": FACTS.get(name), "now_ms": NOW, **changes}
    return TransitionRequest(name=name, actor=ACTORS[audience], **given)


# One row per moment of an order's life; the columns say which commands fit, by who sends them.
# The dispatch states without a row of their own cannot occur together with the status.
ALLOWED_COMMANDS = """
PENDING            -           accept_order reject_order cancel_order payment_confirmed
ACCEPTED SEARCHING order_preparing order_ready cancel_order make_offers exhaust_search reassign
ACCEPTED           OFFERED     order_preparing order_ready cancel_order lapse_offers make_offers
ACCEPTED           EXHAUSTED   order_preparing order_ready cancel_order make_offers reassign
ACCEPTED ASSIGNED  withdraw_delivery order_preparing order_ready cancel_order release_delivery \
                   reassign arrived_pickup note_arrival
ACCEPTED AT_PICKUP withdraw_delivery order_preparing order_ready cancel_order release_delivery \
                   reassign
PREPARING          SEARCHING   order_ready cancel_order make_offers exhaust_search reassign
PREPARING          OFFERED     order_ready cancel_order lapse_offers make_offers
PREPARING ASSIGNED withdraw_delivery order_ready cancel_order release_delivery reassign \
                   arrived_pickup note_arrival
READY              SEARCHING   cancel_order make_offers exhaust_search reassign
READY              OFFERED     cancel_order lapse_offers make_offers
READY              EXHAUSTED   cancel_order make_offers reassign
READY ASSIGNED     withdraw_delivery cancel_order release_delivery reassign arrived_pickup pick_up \
                   note_arrival
READY AT_PICKUP    withdraw_delivery cancel_order release_delivery reassign pick_up
IN_TRANSIT         PICKED_UP   cancel_order arrived_dropoff complete_delivery note_arrival
IN_TRANSIT         AT_DROPOFF  cancel_order complete_delivery
DELIVERED          DONE        rate_order
FUNDS_DISTRIBUTED  DONE        rate_order
REJECTED           -
CANCELLED          -
CANCELLED          SEARCHING
"""
ROWS = [line.split() for line in ALLOWED_COMMANDS.strip().splitlines()]
# Commands whose answer in an unfitting state is more than WRONG_STATE are tested below by name.
TESTED_SEPARATELY = {
    "place_order", "accept_delivery", "decline_delivery", "payment_confirmed", "payment_failed",
    "lapse_order", "settle",
}  # fmt: skip
CASES = [
    pytest.param(status, state, name, name in fitting, id=f"{status}-{state}-{name}")
    for status, state, *fitting in ROWS
    for name in TRANSITIONS
    if name not in TESTED_SEPARATELY
]


def sender_of(name):
    audiences = TRANSITIONS[name].audiences
    return min(audiences, key=["ops", "engine", "rider", "vendor", "user"].index)


def order_at(status, state):
    return an_order(
        status=OrderStatus(status),
        state=None if state == "-" else DispatchState(state),
        payment=a_payment(),
    )


@pytest.mark.parametrize(("status", "state", "name", "fits"), CASES)
def test_a_command_goes_through_exactly_where_the_table_says(status, state, name, fits):
    """A command makes the next version or is refused; whoever has no part in it learns nothing."""
    order = order_at(status, state)
    place = "dropoff" if status == "IN_TRANSIT" else "pickup"
    facts = {**FACTS, "note_arrival": ("rdr_1", place)}.get(name)
    outcome = outcome_of(order, request(name, sender_of(name), facts=facts))
    hidden = sender_of(name) == "rider" and order.rider_id is None
    refusal = Refusal.NOT_FOUND if hidden else Refusal.WRONG_STATE

    assert outcome == ("version 2" if fits else refusal)


def outcome_of(order, transition_request):
    try:
        return f"version {decide_transition(order, transition_request).order.version}"
    except Refused as refused:
        return refused.code


@pytest.mark.parametrize("name", sorted(TRANSITIONS))
@pytest.mark.parametrize("audience", ["user", "vendor", "rider", "ops", "engine"])
def test_a_command_of_another_audience_looks_like_an_order_that_is_not_there(name, audience):
    """Whoever may not say a thing learns nothing of the order, whatever its state."""
    strangers = {a: Actor(audience=a, id="stranger") for a in ("user", "vendor", "rider")}
    actor = strangers.get(audience, ACTORS[audience])
    allowed = audience in TRANSITIONS[name].audiences and audience not in strangers
    order = an_order(status=OrderStatus.READY, state=DispatchState.ASSIGNED, payment=a_payment())
    asked = TransitionRequest(name=name, actor=actor, now_ms=NOW, command=COMMANDS.get(name))
    outcome = "known" if allowed else outcome_of(order, asked)

    assert outcome == ("known" if allowed else Refusal.NOT_FOUND)


def addressed_events(transition):
    return [(s.receiver, s.event.event) for s in transition.events]


def test_accepting_starts_the_search_and_tells_the_customer():
    """A vendor's yes is told once and the engine looks at the order at once."""
    step = decide_transition(order_at("PENDING", "-"), request("accept_order", "vendor"))

    assert addressed_events(step) == [
        ("user:usr_1", "order_accepted"),
        ("user:usr_1", "dispatch_status"),
    ]
    assert step.order.dispatch.state is DispatchState.SEARCHING
    assert step.order.dispatch.due_at_ms == NOW


def test_an_unpaid_order_cannot_be_accepted():
    """A vendor cooks nothing that mobile money has not paid."""
    unpaid = an_order(
        payment=a_payment(state=PaymentState.PENDING, method=PaymentMethod.MOBILE_MONEY)
    )

    assert outcome_of(unpaid, request("accept_order", "vendor")) is Refusal.WRONG_STATE


def test_mobile_money_brings_the_order_to_the_vendor_once():
    """The second confirmation of the same payment changes nothing and says nothing."""
    unpaid = an_order(
        payment=a_payment(state=PaymentState.PENDING, method=PaymentMethod.MOBILE_MONEY)
    )
    first = decide_transition(unpaid, request("payment_confirmed", "engine"))
    second = decide_transition(first.order, request("payment_confirmed", "engine"))

    assert addressed_events(first) == [("vendor:ven_1", "new_order")]
    assert first.events[0].event.order["version"] == 2
    assert second.order is first.order
    assert second.events == ()


def test_a_parcel_is_searched_for_as_soon_as_it_is_placed():
    """A PACKAGE has no vendor to wait for."""
    step = decide_transition(
        a_parcel_order(version=0, payment=a_payment()), request("place_order", "user")
    )

    assert step.order.dispatch.state is DispatchState.SEARCHING
    assert addressed_events(step) == [("user:usr_1", "dispatch_status")]


def test_assignment_is_sent_to_both_sides_and_other_offers_are_closed():
    """One rider wins; the others of the wave are told `taken`."""
    offers = {
        "rdr_1": an_offer("ofr_1", made_at_ms=NOW - 100),
        "rdr_2": an_offer("ofr_2", made_at_ms=NOW - 100),
    }
    order = an_order(status=OrderStatus.READY, state=DispatchState.OFFERED, offers=offers)
    step = decide_transition(order, request("accept_delivery", "rider"))

    assert addressed_events(step) == [
        ("user:usr_1", "rider_assigned"),
        ("vendor:ven_1", "rider_assigned"),
        ("rider:rdr_2", "delivery_request_closed"),
        ("rider:rdr_1", "order_ready_for_pickup"),
    ]
    assert step.claimed_rider_id == "rdr_1"
    assert step.order.dispatch.asked["rdr_2"].outcome is OfferOutcome.TAKEN


@pytest.mark.parametrize(
    ("outcome", "offer_id", "code"),
    [
        (OfferOutcome.TAKEN, "ofr_1", Refusal.OFFER_TAKEN),
        (OfferOutcome.TAKEN, "ofr_0", Refusal.OFFER_EXPIRED),
        (OfferOutcome.EXPIRED, "ofr_1", Refusal.OFFER_EXPIRED),
        (OfferOutcome.DECLINED, "ofr_1", Refusal.OFFER_EXPIRED),
    ],
)
def test_a_late_or_stale_accept_learns_why(outcome, offer_id, code):
    """Taken and expired are different news, and a stale offer id is never taken for a fresh one."""
    order = an_order(
        status=OrderStatus.IN_TRANSIT,
        state=DispatchState.PICKED_UP,
        rider="rdr_9",
        asked={"rdr_1": (offer_id if offer_id == "ofr_1" else "ofr_1", outcome)},
    )
    body = commands.AcceptDelivery(order_id="ord_1", offer_id=offer_id)

    assert outcome_of(order, request("accept_delivery", "rider", command=body)) is code


def test_an_accept_after_the_deadline_is_refused_by_the_servers_clock():
    """The grace covers the answer's way and not a millisecond more."""
    offers = {"rdr_1": an_offer("ofr_1", made_at_ms=0)}
    order = an_order(status=OrderStatus.ACCEPTED, state=DispatchState.OFFERED, offers=offers)
    deadline = offers["rdr_1"].deadline_ms

    assert outcome_of(order, request("accept_delivery", "rider", now_ms=deadline)) == "version 2"
    late = request("accept_delivery", "rider", now_ms=deadline + 1)
    assert outcome_of(order, late) is Refusal.OFFER_EXPIRED


def test_the_winners_repeat_is_no_second_effect():
    """An accept that is sent again finds the rider assigned and changes nothing."""
    offers = {"rdr_1": an_offer("ofr_1", made_at_ms=NOW)}
    order = an_order(status=OrderStatus.ACCEPTED, state=DispatchState.OFFERED, offers=offers)
    first = decide_transition(order, request("accept_delivery", "rider"))
    again = decide_transition(first.order, request("accept_delivery", "rider"))

    assert again.order is first.order
    assert again.claimed_rider_id is None


def test_the_last_decline_of_a_wave_continues_the_search_at_once():
    """A declined wave is not waited for."""
    offers = {"rdr_1": an_offer("ofr_1", made_at_ms=NOW)}
    order = an_order(status=OrderStatus.ACCEPTED, state=DispatchState.OFFERED, offers=offers)
    step = decide_transition(order, request("decline_delivery", "rider"))

    assert step.order.dispatch.state is DispatchState.SEARCHING
    assert step.order.dispatch.due_at_ms == NOW


def test_one_decline_leaves_the_other_offers_open():
    """The rest of the wave still decides."""
    offers = {"rdr_1": an_offer("ofr_1", made_at_ms=NOW), "rdr_2": an_offer("b", made_at_ms=NOW)}
    order = an_order(status=OrderStatus.ACCEPTED, state=DispatchState.OFFERED, offers=offers)
    step = decide_transition(order, request("decline_delivery", "rider"))

    assert step.order.dispatch.state is DispatchState.OFFERED
    assert sorted(step.order.dispatch.offers) == ["rdr_2"]


def test_a_further_rider_of_a_wave_is_asked_beside_the_first():
    """The first keeps his offer, the customer hears nothing new, and the wave counts both."""
    order = decide_transition(
        order_at("ACCEPTED", "SEARCHING"), request("make_offers", "engine")
    ).order
    more = {"rdr_2": an_offer("ofr_2", made_at_ms=NOW + 3_000)}
    step = decide_transition(order, request("make_offers", "engine", facts=more))

    assert sorted(step.order.dispatch.offers) == ["rdr_1", "rdr_2"]
    assert step.order.dispatch.wave_asked == 2
    assert addressed_events(step) == [("rider:rdr_2", "delivery_request")]


def test_unread_offers_are_remembered_apart_from_expired_ones():
    """A rider whose phone showed nothing kept no silence."""
    offers = {"rdr_1": an_offer("ofr_1", made_at_ms=0), "rdr_2": an_offer("b", made_at_ms=0)}
    order = an_order(status=OrderStatus.ACCEPTED, state=DispatchState.OFFERED, offers=offers)
    lapse = EndedOffers(expired=frozenset({"rdr_1"}), unread=frozenset({"rdr_2"}))
    step = decide_transition(order, request("lapse_offers", "engine", facts=lapse))
    outcomes = {rider: asked.outcome for rider, asked in step.order.dispatch.asked.items()}

    assert outcomes == {"rdr_1": OfferOutcome.EXPIRED, "rdr_2": OfferOutcome.UNREAD}
    assert [name for _, name in addressed_events(step)].count("delivery_request_closed") == 2


@pytest.mark.parametrize(
    ("name", "audience", "reason"),
    [("withdraw_delivery", "engine", "expired"), ("reassign", "ops", "cancelled")],
)
def test_a_rider_who_loses_the_order_is_notified(name, audience, reason):
    """Whoever takes it from him, the offer that he had accepted is closed."""
    step = decide_transition(order_at("ACCEPTED", "ASSIGNED"), request(name, audience))
    [told] = [s.event for s in step.events if s.receiver == "rider:rdr_1"]

    assert (told.event, told.offer_id, told.reason) == (
        "delivery_request_closed", "ofr_won", reason,
    )  # fmt: skip
    assert step.released_rider_id == "rdr_1"


@pytest.mark.parametrize("status", ["PREPARING", "READY"])
def test_a_customer_cannot_cancel_after_preparation_began(status):
    """From the kitchen's start on only an operator may cancel."""
    order = order_at(status, "SEARCHING")

    assert outcome_of(order, request("cancel_order", "user")) is Refusal.WRONG_STATE
    assert outcome_of(order, request("cancel_order", "ops")) == "version 2"


def test_cancelling_tells_everyone_and_frees_the_rider():
    """Customer, vendor and rider learn it; the escrow goes back whole."""
    step = decide_transition(order_at("ACCEPTED", "ASSIGNED"), request("cancel_order", "user"))

    assert addressed_events(step) == [
        ("user:usr_1", "order_cancelled"),
        ("vendor:ven_1", "order_cancelled"),
        ("rider:rdr_1", "order_cancelled"),
    ]
    assert step.released_rider_id == "rdr_1"
    assert step.events[0].event.refund_amount == step.order.pricing.total
    assert step.order.payment.state is PaymentState.REFUNDED


def test_goods_are_not_picked_up_before_the_vendor_calls_them_ready():
    """A parcel has no kitchen, so it needs no such call."""
    parcel = a_parcel_order(status=OrderStatus.ACCEPTED, state=DispatchState.ASSIGNED)

    assert outcome_of(order_at("PREPARING", "ASSIGNED"), request("pick_up", "rider")) is (
        Refusal.WRONG_STATE
    )
    assert outcome_of(parcel, request("pick_up", "rider")) == "version 2"


def test_cash_is_recorded_as_collected():
    """Without a figure from the rider the whole price counts as collected."""
    order = an_order(
        status=OrderStatus.IN_TRANSIT, state=DispatchState.PICKED_UP, payment=a_cash_payment()
    )
    step = decide_transition(order, request("complete_delivery", "rider"))

    assert step.order.payment.state is PaymentState.COLLECTED
    assert step.order.payment.collected == order.pricing.total


def test_settlement_sends_each_party_its_share():
    """Vendor and rider hear the amounts that the price fixed at the placement."""
    order = order_at("DELIVERED", "DONE")
    step = decide_transition(order, request("settle", "engine"))
    amounts = {to: event.amount for to, event in step.events}

    assert amounts == {
        "vendor:ven_1": order.pricing.vendor_share,
        "rider:rdr_1": order.pricing.rider_share,
    }
    assert step.order.status is OrderStatus.FUNDS_DISTRIBUTED


def test_settling_twice_sends_events_once():
    """The second settlement of an order finds it done and is silent."""
    first = decide_transition(order_at("DELIVERED", "DONE"), request("settle", "engine"))
    again = decide_transition(first.order, request("settle", "engine"))

    assert again.order is first.order
    assert again.events == ()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:2]))
def test_only_delivered_orders_settle(row):
    """Money is split after the delivery and never before."""
    status, state = row[:2]
    settles = status in ("DELIVERED", "FUNDS_DISTRIBUTED")
    refused = (
        outcome_of(order_at(status, state), request("settle", "engine")) is Refusal.WRONG_STATE
    )

    assert refused != settles


def test_an_arrival_is_sent_once():
    """Once a rider was seen at the pickup, his tap moves the order on and tells nobody again."""
    order = order_at("READY", "ASSIGNED")
    seen = decide_transition(order, request("note_arrival", "engine"))
    again = decide_transition(seen.order, request("note_arrival", "engine"))
    tapped = decide_transition(seen.order, request("arrived_pickup", "rider"))
    untold = decide_transition(order, request("arrived_pickup", "rider"))

    assert [said.event.event for said in seen.events] == ["rider_arrived"] * 2
    assert seen.order.dispatch.state is DispatchState.ASSIGNED
    assert again.order is seen.order
    assert (tapped.events, tapped.order.dispatch.state) == ((), DispatchState.AT_PICKUP)
    assert [said.receiver for said in untold.events] == [said.receiver for said in seen.events]


@pytest.mark.parametrize("facts", [("rdr_2", "pickup"), ("rdr_1", "dropoff")])
def test_an_arrival_of_another_time_changes_nothing(facts):
    """What was seen of another rider, or of a place he is not on his way to, is not the order's."""
    order = order_at("READY", "ASSIGNED")
    assert decide_transition(order, request("note_arrival", "engine", facts=facts)).order is order


def test_the_next_rider_arrives_anew():
    """An order that was given back tells of its next rider's arrival too."""
    seen = decide_transition(order_at("READY", "ASSIGNED"), request("note_arrival", "engine"))
    back = decide_transition(seen.order, request("release_delivery", "rider"))
    assert back.order.dispatch.seen_at == {}
