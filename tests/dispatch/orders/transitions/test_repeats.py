"""A double tap without an id gets the first answer; any other late request gets the truth."""

from typing import Any

import msgspec
import pytest

from dispatch.errors import Refusal
from dispatch.model import Order
from dispatch.orders.transitions.context import Actor, Pickup
from dispatch.orders.transitions.handover import Handover
from dispatch.orders.transitions.repeats import UNDONE_LATER_MS
from dispatch.orders.transitions.state_machine import TRANSITIONS, decide_transition
from dispatch.wire import commands
from dispatch.wire.snapshots import order_summary
from tests.dispatch.orders.transitions.test_state_machine import ROWS
from tests.dispatch.orders.transitions.transition_requests import (
    INPUTS,
    NOW,
    order_at,
    outcome_of,
    request,
)

CLIENTS = ("user", "vendor", "rider", "ops")
# They answer repetitions by themselves, whether they fit or not.
TESTED_SEPARATELY = {"place_order", "accept_delivery", "decline_delivery", "rate_order"}
# Every one-way step of every client, in every state that it fits.
STEPS = [
    pytest.param(status, state, name, audience, id=f"{status}-{state}-{name}-{audience}")
    for status, state, *allowed in ROWS
    for name in allowed
    for audience in CLIENTS
    if audience in TRANSITIONS[name].audiences and name not in TESTED_SEPARATELY
    # A customer may cancel until the preparation begins.
    if (name, audience) != ("cancel_order", "user") or status in ("PENDING", "ACCEPTED")
]


def taken(order: Order, name: str, audience: str) -> Order:
    """The order after a step."""
    return decide_transition(order, request(name, audience)).order


@pytest.mark.parametrize(("status", "state", "name", "audience"), STEPS)
def test_a_double_tap_gets_the_first_answer(status: str, state: str, name: str, audience: str):
    """No step of any client is refused to the actor that has just taken it.

    Where it fits no more, nothing changes; a reassignment that fits again is carried out again.
    """
    after = taken(order_at(status, state), name, audience)
    again = decide_transition(after, request(name, audience, now_ms=NOW + 300))

    assert again.first_answer in (None, order_summary(after))
    assert (again.first_answer is None) == (name == "reassign")


# Steps that do not fit a second time.
ONE_WAY = [
    ("PENDING", "-", "accept_order", "vendor"),
    ("PENDING", "-", "reject_order", "vendor"),
    ("ACCEPTED", "ASSIGNED", "order_preparing", "vendor"),
    ("PREPARING", "ASSIGNED", "order_ready", "vendor"),
    ("READY", "ASSIGNED", "arrived_pickup", "rider"),
    ("READY", "AT_PICKUP", "pick_up", "rider"),
    ("IN_TRANSIT", "PICKED_UP", "arrived_dropoff", "rider"),
    ("IN_TRANSIT", "AT_DROPOFF", "complete_delivery", "rider"),
    ("READY", "ASSIGNED", "release_delivery", "rider"),
    ("ACCEPTED", "SEARCHING", "cancel_order", "user"),
    ("READY", "ASSIGNED", "cancel_order", "ops"),
]


def other_content(name: str) -> Any:
    """The input of a step with one field changed."""
    changed = {
        "accept_order": commands.AcceptOrder(order_id="ord_1", prep_minutes=45),
        "reject_order": commands.RejectOrder(order_id="ord_1", reason="another"),
        "complete_delivery": Handover(
            commands.CompleteDelivery(order_id="ord_1", cash_collected=1)
        ),
        "release_delivery": commands.ReleaseDelivery(order_id="ord_1", reason="another"),
        "cancel_order": commands.CancelOrder(order_id="ord_1", reason="another"),
    }
    return changed[name]


def with_command_id(given: Any) -> Any:
    """The same input with a command id."""
    if isinstance(given, Handover | Pickup):
        return given._replace(command=msgspec.structs.replace(given.command, command_id="cmd_2"))
    return msgspec.structs.replace(given, command_id="cmd_2")


@pytest.mark.parametrize(("status", "state", "name", "audience"), ONE_WAY)
def test_a_step_that_fits_once_is_answered_twice(status: str, state: str, name: str, audience: str):
    """The second tap, with another id or none, changes nothing and gets the first answer."""
    after = taken(order_at(status, state), name, audience)
    again = decide_transition(after, request(name, audience, input=with_command_id(INPUTS[name])))

    assert again.first_answer == order_summary(after)
    assert (again.order is after, again.events, again.released_rider_id) == (True, (), None)


@pytest.mark.parametrize(
    ("status", "state", "name", "audience"),
    [row for row in ONE_WAY if row[2] in (
        "accept_order", "reject_order", "complete_delivery", "release_delivery", "cancel_order"
    )],
)  # fmt: skip
def test_another_content_gets_the_truth(status: str, state: str, name: str, audience: str):
    """It is another wish, which comes too late."""
    after = taken(order_at(status, state), name, audience)
    late = request(name, audience, input=other_content(name))

    assert outcome_of(after, late) in (Refusal.WRONG_STATE, Refusal.NOT_FOUND)


@pytest.mark.parametrize(("status", "state", "name", "audience"), ONE_WAY)
def test_another_actor_gets_the_truth(status: str, state: str, name: str, audience: str):
    """Also one with the right to the step: another operator, or one with a customer's id."""
    after = taken(order_at(status, state), name, audience)
    others = (Actor(audience=audience, id="another"), Actor(audience="ops", id="usr_1"))

    for actor in others:
        late = msgspec.structs.replace(request(name, audience), actor=actor)
        assert outcome_of(after, late) in (Refusal.WRONG_STATE, Refusal.NOT_FOUND)


def test_a_step_that_was_undone_is_not_repeated_for_ever():
    """A rider that gave the order back is told so again for a minute, and the truth afterwards."""
    after = taken(order_at("READY", "ASSIGNED"), "release_delivery", "rider")
    soon = request("release_delivery", "rider", now_ms=NOW + UNDONE_LATER_MS)
    late = request("release_delivery", "rider", now_ms=NOW + UNDONE_LATER_MS + 1)

    assert decide_transition(after, soon).first_answer == order_summary(after)
    assert outcome_of(after, late) is Refusal.NOT_FOUND


def test_a_step_before_a_cancellation_gets_the_truth():
    """The vendor that taps again must learn that there is nothing to prepare."""
    accepted = taken(order_at("PENDING", "-"), "accept_order", "vendor")
    cancelled = taken(accepted, "cancel_order", "user")

    assert outcome_of(cancelled, request("accept_order", "vendor")) is Refusal.WRONG_STATE


def test_an_old_step_is_answered_however_far_the_order_has_come():
    """A vendor's app that was offline repeats its acceptance after the delivery."""
    order = taken(order_at("PENDING", "-"), "accept_order", "vendor")
    first = order_summary(order)
    for name in ("order_preparing", "order_ready"):
        order = taken(order, name, "vendor")
    again = decide_transition(order, request("accept_order", "vendor", now_ms=NOW + 3_600_000))

    assert again.first_answer == first


def test_requests_of_the_engine_leave_no_step():
    """They are not repeated by a client."""
    assert taken(order_at("READY", "SEARCHING"), "exhaust_search", "engine").steps == {}
