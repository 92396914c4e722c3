"""State machine: every transition in every state, and who may request it."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.model import DispatchState, OrderStatus
from dispatch.orders.transitions.context import Actor, ArrivalFacts, TransitionRequest
from dispatch.orders.transitions.state_machine import TRANSITIONS, decide_transition
from tests.dispatch.orders.transitions.transition_requests import (
    ACTORS,
    INPUTS,
    NOW,
    RIDER,
    order_at,
    outcome_of,
    request,
    sender_of,
)
from tests.factories import a_payment, an_order

# One row for each state of an order: its status, its dispatch state, the transitions that fit.
# Dispatch states without a row do not occur together with the status.
ALLOWED_TRANSITIONS = """
PENDING            -           accept_order reject_order cancel_order payment_confirmed
ACCEPTED SEARCHING order_preparing order_ready cancel_order make_offers exhaust_search reassign
ACCEPTED           OFFERED     order_preparing order_ready cancel_order end_offers make_offers
ACCEPTED           EXHAUSTED   order_preparing order_ready cancel_order make_offers reassign
ACCEPTED ASSIGNED  withdraw_delivery order_preparing order_ready cancel_order release_delivery \
                   reassign arrived_pickup record_arrival
ACCEPTED AT_PICKUP withdraw_delivery order_preparing order_ready cancel_order release_delivery \
                   reassign
PREPARING          SEARCHING   order_ready cancel_order make_offers exhaust_search reassign
PREPARING          OFFERED     order_ready cancel_order end_offers make_offers
PREPARING ASSIGNED withdraw_delivery order_ready cancel_order release_delivery reassign \
                   arrived_pickup record_arrival
READY              SEARCHING   cancel_order make_offers exhaust_search reassign
READY              OFFERED     cancel_order end_offers make_offers
READY              EXHAUSTED   cancel_order make_offers reassign
READY ASSIGNED     withdraw_delivery cancel_order release_delivery reassign arrived_pickup pick_up \
                   record_arrival
READY AT_PICKUP    withdraw_delivery cancel_order release_delivery reassign pick_up
IN_TRANSIT PICKED_UP cancel_order arrived_dropoff complete_delivery record_arrival note_concerns
IN_TRANSIT         AT_DROPOFF  cancel_order complete_delivery note_concerns
DELIVERED          DONE        rate_order
FUNDS_DISTRIBUTED  DONE        rate_order
REJECTED           -
CANCELLED          -
CANCELLED          SEARCHING
"""
ROWS = [line.split() for line in ALLOWED_TRANSITIONS.strip().splitlines()]
# Transitions that answer more than WRONG_STATE where they do not fit; they have tests of their own.
TESTED_SEPARATELY = {
    "place_order", "accept_delivery", "decline_delivery", "payment_confirmed", "payment_failed",
    "time_out_order", "settle",
}  # fmt: skip
CASES = [
    pytest.param(status, state, name, name in allowed, id=f"{status}-{state}-{name}")
    for status, state, *allowed in ROWS
    for name in TRANSITIONS
    if name not in TESTED_SEPARATELY
]


@pytest.mark.parametrize(("status", "state", "name", "is_allowed"), CASES)
def test_a_transition_is_allowed_exactly_where_the_table_says(
    status: str, state: str, name: str, is_allowed: bool
):
    """It makes the next version or is refused; a rider without the order gets NOT_FOUND."""
    order = order_at(status, state)
    arrival = ArrivalFacts(RIDER, "dropoff" if status == "IN_TRANSIT" else "pickup")
    given = {**INPUTS, "record_arrival": arrival}.get(name)
    outcome = outcome_of(order, request(name, sender_of(name), input=given))
    is_hidden = sender_of(name) == "rider" and order.rider_id is None
    refusal = Refusal.NOT_FOUND if is_hidden else Refusal.WRONG_STATE

    assert outcome == ("version 2" if is_allowed else refusal)


STRANGERS = {
    audience: Actor(audience=audience, id="stranger") for audience in ("user", "vendor", "rider")
}
# Operators and the engine have the right to their transitions of every order.
WITHOUT_RIGHT = [
    pytest.param(name, actor, id=f"{name}-{actor.audience}")
    for name, rule in sorted(TRANSITIONS.items())
    for actor in {**ACTORS, **STRANGERS}.values()
    if actor.id == "stranger" or actor.audience not in rule.audiences
]


@pytest.mark.parametrize(("name", "actor"), WITHOUT_RIGHT)
def test_an_actor_without_the_right_gets_the_answer_of_an_unknown_order(name: str, actor: Actor):
    """Whatever the order's state, its existence is not revealed."""
    order = an_order(status=OrderStatus.READY, state=DispatchState.ASSIGNED, payment=a_payment())
    asked = TransitionRequest(name=name, actor=actor, now_ms=NOW, input=INPUTS.get(name))

    assert outcome_of(order, asked) is Refusal.NOT_FOUND


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:2]))
def test_only_delivered_orders_settle(row: list[str]):
    """Money is split after the delivery, never before."""
    status, state = row[:2]
    is_settled = status in ("DELIVERED", "FUNDS_DISTRIBUTED")
    outcome = outcome_of(order_at(status, state), request("settle", "engine"))

    assert (outcome is Refusal.WRONG_STATE) != is_settled


def test_a_transition_counts_the_version_and_notes_the_time_of_a_new_status():
    """A status has the time at which it was reached; without a new status no time is added."""
    ready = decide_transition(order_at("PREPARING", "ASSIGNED"), request("order_ready", "vendor"))
    arrived = decide_transition(ready.order, request("arrived_pickup", "rider", now_ms=NOW + 1_000))

    assert (ready.order.version, ready.order.times["READY"]) == (2, NOW)
    assert (arrived.order.version, arrived.order.updated_at) == (3, NOW + 1_000)
    assert arrived.order.times == ready.order.times


@pytest.mark.parametrize(
    ("name", "audience", "hint"),
    [
        ("release_delivery", "rider", "you have the goods: deliver them, or ask an operator"),
        ("reassign", "ops", "the rider has the goods: call it, or cancel the order"),
    ],
)
def test_a_refusal_after_the_pickup_says_what_can_be_done(name: str, audience: str, hint: str):
    """The goods are with the rider; before the pickup the message has no such hint."""
    with pytest.raises(Refused) as late:
        decide_transition(order_at("IN_TRANSIT", "PICKED_UP"), request(name, audience))
    with pytest.raises(Refused) as early:
        decide_transition(order_at("PENDING", "-"), request(name, audience))

    assert late.value.message.endswith(f"IN_TRANSIT / PICKED_UP; {hint}")
    assert ";" not in early.value.message
