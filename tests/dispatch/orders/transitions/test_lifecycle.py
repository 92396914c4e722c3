"""Transitions by customers, vendors and riders: what each changes and which events it sends."""

import pytest
from msgspec.structs import replace

from dispatch.errors import Refusal
from dispatch.ids import RiderId
from dispatch.model import (
    DispatchState,
    Order,
    OrderStatus,
    PaymentMethod,
    PaymentState,
)
from dispatch.orders.transitions.context import ArrivalFacts, Pickup
from dispatch.orders.transitions.lifecycle import fault_of
from dispatch.orders.transitions.state_machine import decide_transition
from dispatch.wire import commands, events
from ledger.core.cancellation_matrix import Fault
from tests.dispatch.orders.transitions.transition_requests import (
    RIDER,
    addressed_events,
    order_at,
    outcome_of,
    request,
)
from tests.factories import a_parcel_order, a_payment, an_order


def unpaid_order() -> Order:
    """An order that waits for mobile money."""
    return an_order(payment=a_payment(PaymentState.PENDING, PaymentMethod.MOBILE_MONEY))


def test_accepting_starts_the_search_and_notifies_the_customer():
    """The engine checks the order at once."""
    step = decide_transition(order_at("PENDING", "-"), request("accept_order", "vendor"))

    assert addressed_events(step) == [
        ("user:usr_1", "order_accepted"),
        ("user:usr_1", "dispatch_status"),
    ]
    assert step.order.dispatch.state is DispatchState.SEARCHING
    assert step.order.dispatch.due_at_ms == step.order.updated_at


@pytest.mark.parametrize("name", ["accept_order", "reject_order"])
def test_an_unpaid_order_cannot_be_answered(name: str):
    """A vendor has nothing to do with an order before its mobile money has come."""
    assert outcome_of(unpaid_order(), request(name, "vendor")) is Refusal.WRONG_STATE


def test_a_rejection_gives_back_the_whole_price():
    """The customer is sent the vendor's reason and the refund."""
    step = decide_transition(order_at("PENDING", "-"), request("reject_order", "vendor"))
    [(receiver, event)] = step.events

    assert isinstance(event, events.OrderRejected)
    assert (receiver, event.reason) == ("user:usr_1", "closed")
    assert event.refund_amount == step.order.pricing.total
    assert step.order.payment.state is PaymentState.REFUNDED


def test_mobile_money_brings_the_order_to_the_vendor_once():
    """The second confirmation of the same payment changes nothing and sends nothing."""
    first = decide_transition(unpaid_order(), request("payment_confirmed", "engine"))
    second = decide_transition(first.order, request("payment_confirmed", "engine"))

    assert addressed_events(first) == [("vendor:ven_1", "new_order")]
    assert first.events[0].event.order["version"] == 2
    assert second.order is first.order
    assert second.events == ()


def test_an_unpaid_order_is_placed_without_an_event():
    """The vendor is notified once the mobile money has come."""
    placed = an_order(
        version=0, payment=a_payment(PaymentState.PENDING, PaymentMethod.MOBILE_MONEY)
    )
    step = decide_transition(placed, request("place_order", "user"))

    assert (step.order.version, step.events) == (1, ())


def test_a_parcel_is_searched_for_as_soon_as_it_is_placed():
    """A PACKAGE order has no vendor to wait for."""
    step = decide_transition(
        a_parcel_order(version=0, payment=a_payment()), request("place_order", "user")
    )

    assert step.order.dispatch.state is DispatchState.SEARCHING
    assert addressed_events(step) == [("user:usr_1", "dispatch_status")]


def test_readiness_is_sent_to_customer_and_assigned_rider():
    """A rider who is not assigned yet gets it with the assignment."""
    searching, assigned = order_at("ACCEPTED", "SEARCHING"), order_at("ACCEPTED", "ASSIGNED")
    customer, rider = ("user:usr_1", "order_ready"), ("rider:rdr_1", "order_ready_for_pickup")

    assert addressed_events(decide_transition(searching, request("order_ready", "vendor"))) == [
        customer
    ]
    assert addressed_events(decide_transition(assigned, request("order_ready", "vendor"))) == [
        customer,
        rider,
    ]


def test_goods_are_not_picked_up_before_the_vendor_reports_them_ready():
    """A parcel has no vendor, so it needs no such report."""
    parcel = a_parcel_order(status=OrderStatus.ACCEPTED, state=DispatchState.ASSIGNED)

    assert outcome_of(order_at("PREPARING", "ASSIGNED"), request("pick_up", "rider")) is (
        Refusal.WRONG_STATE
    )
    assert outcome_of(parcel, request("pick_up", "rider")) == "version 2"


@pytest.mark.parametrize("status", ["ACCEPTED", "PREPARING"])
@pytest.mark.parametrize("state", ["ASSIGNED", "AT_PICKUP"])
def test_a_pickup_may_imply_that_the_goods_are_ready(status: str, state: str):
    """By policy; recorded as such, and the events are those of the pickup alone."""
    pickup = Pickup(commands.PickUp(order_id="ord_1"), implies_ready=True)
    asked = request("pick_up", "rider", input=pickup)
    transition = decide_transition(order_at(status, state), asked)

    assert (transition.order.status, transition.order.ready_by) == ("IN_TRANSIT", "pickup")
    assert "READY" not in transition.order.times
    assert {name for _, name in addressed_events(transition)} == {"order_picked_up"}


def test_who_reported_the_goods_ready_is_kept():
    """The vendor's report stays, whatever the policy; a parcel has nobody to report."""
    ready = decide_transition(order_at("PREPARING", "ASSIGNED"), request("order_ready", "vendor"))
    pickup = Pickup(commands.PickUp(order_id="ord_1"), implies_ready=True)
    asked = request("pick_up", "rider", input=pickup)
    parcel = a_parcel_order(status=OrderStatus.ACCEPTED, state=DispatchState.ASSIGNED)

    assert decide_transition(ready.order, asked).order.ready_by == "vendor"
    assert decide_transition(parcel, asked).order.ready_by is None


@pytest.mark.parametrize("status", ["PREPARING", "READY"])
def test_a_customer_cannot_cancel_after_preparation_began(status: str):
    """From then on only an operator may cancel."""
    order = order_at(status, "SEARCHING")

    assert outcome_of(order, request("cancel_order", "user")) is Refusal.WRONG_STATE
    assert outcome_of(order, request("cancel_order", "ops")) == "version 2"


def test_cancelling_notifies_everyone_and_releases_the_rider():
    """Before the preparation the whole escrow goes back."""
    step = decide_transition(order_at("ACCEPTED", "ASSIGNED"), request("cancel_order", "user"))

    assert addressed_events(step) == [
        ("user:usr_1", "order_cancelled"),
        ("vendor:ven_1", "order_cancelled"),
        ("rider:rdr_1", "order_cancelled"),
    ]
    assert step.released_rider_id == "rdr_1"
    assert step.events[0].event.refund_amount == step.order.pricing.total
    assert step.order.payment.state is PaymentState.REFUNDED


def test_cancelling_closes_open_offers():
    """The riders who were asked are notified, and the engine has nothing left to check."""
    step = decide_transition(order_at("ACCEPTED", "OFFERED"), request("cancel_order", "user"))

    assert ("rider:rdr_1", "delivery_request_closed") in addressed_events(step)
    assert (step.order.dispatch.offers, step.order.dispatch.due_at_ms) == ({}, None)


def test_only_an_operator_says_who_is_at_fault():
    """A customer who cancels is at fault; an operator's default is the platform."""
    command = commands.CancelOrder(order_id="ord_1", fault="VENDOR")

    assert fault_of("user", command) is Fault.CUSTOMER
    assert fault_of("ops", command) is Fault.VENDOR
    assert fault_of("ops", commands.CancelOrder(order_id="ord_1")) is Fault.PLATFORM


def test_settlement_sends_each_party_its_share():
    """Vendor and rider are sent the amounts fixed at the placement."""
    order = order_at("DELIVERED", "DONE")
    step = decide_transition(order, request("settle", "engine"))
    amounts = {receiver: event.amount for receiver, event in step.events}

    assert amounts == {
        "vendor:ven_1": order.pricing.vendor_share,
        "rider:rdr_1": order.pricing.rider_share,
    }
    assert step.order.status is OrderStatus.FUNDS_DISTRIBUTED


def test_settling_twice_sends_events_once():
    """The second settlement of an order changes nothing."""
    first = decide_transition(order_at("DELIVERED", "DONE"), request("settle", "engine"))
    again = decide_transition(first.order, request("settle", "engine"))

    assert again.order is first.order
    assert again.events == ()


def test_an_arrival_is_sent_once():
    """After positions showed the rider at the pickup, its command changes only the state."""
    order = order_at("READY", "ASSIGNED")
    seen = decide_transition(order, request("record_arrival", "engine"))
    again = decide_transition(seen.order, request("record_arrival", "engine"))
    said = decide_transition(seen.order, request("arrived_pickup", "rider"))
    unseen = decide_transition(order, request("arrived_pickup", "rider"))

    assert [event.event for _, event in seen.events] == ["rider_arrived"] * 2
    assert seen.order.dispatch.state is DispatchState.ASSIGNED
    assert again.order is seen.order
    assert (said.events, said.order.dispatch.state) == ((), DispatchState.AT_PICKUP)
    assert addressed_events(unseen) == addressed_events(seen)


@pytest.mark.parametrize(
    "facts", [ArrivalFacts(RiderId("rdr_2"), "pickup"), ArrivalFacts(RIDER, "dropoff")]
)
def test_an_arrival_of_another_rider_or_stop_changes_nothing(facts: ArrivalFacts):
    """Only the order's rider at its next stop counts."""
    order = order_at("READY", "ASSIGNED")

    assert decide_transition(order, request("record_arrival", "engine", input=facts)).order is order


def test_the_next_riders_arrival_is_sent_too():
    """An order that was given back forgets the arrival of its former rider."""
    seen = decide_transition(order_at("READY", "ASSIGNED"), request("record_arrival", "engine"))
    back = decide_transition(seen.order, request("release_delivery", "rider"))

    assert back.order.dispatch.seen_at == {}


def test_the_first_rating_stays():
    """The same rating again changes nothing; another one is refused."""
    rate = commands.RateOrder(order_id="ord_1", rating=4, comment="quick")
    rated = decide_transition(
        order_at("DELIVERED", "DONE"), request("rate_order", "user", input=rate)
    ).order
    again = decide_transition(rated, request("rate_order", "user", input=rate))
    other = replace(rate, comment=None)

    assert (rated.rating, rated.rating_comment) == (4, "quick")
    assert again.order is rated
    assert outcome_of(rated, request("rate_order", "user", input=other)) is Refusal.WRONG_STATE


def test_who_is_at_fault_is_kept():
    """The cancelled order says whose fault it was."""
    command = commands.CancelOrder(order_id="ord_1", fault="VENDOR")
    step = decide_transition(
        order_at("ACCEPTED", "SEARCHING"), request("cancel_order", "ops", input=command)
    )
    assert step.order.fault == "VENDOR"
