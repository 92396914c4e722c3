"""Deadlines of waiting orders: how long each may wait, and what a timeout changes and sends."""

import pytest
from msgspec.structs import replace

from dispatch.errors import Refusal
from dispatch.model import Order, OrderStatus, PaymentMethod, PaymentState
from dispatch.orders.transitions.state_machine import decide_transition
from dispatch.orders.transitions.timeouts import (
    NOT_PAID,
    PAYMENT_FAILED,
    PAYMENT_TIMEOUT_MS,
    SHORTEST_TIMEOUT_MS,
    VENDOR_SILENT,
    VENDOR_TIMEOUT_MS,
    deadline_of,
    has_timed_out,
)
from tests.dispatch.orders.transitions.transition_requests import (
    addressed_events,
    order_at,
    outcome_of,
    request,
)
from tests.factories import a_parcel_order, a_payment, an_order

PLACED_MS = 1_000_000


def unpaid_order(state: PaymentState = PaymentState.PENDING) -> Order:
    """An order placed at PLACED_MS that waits for mobile money."""
    return an_order(payment=a_payment(state, PaymentMethod.MOBILE_MONEY))


@pytest.mark.parametrize(
    ("order", "ends_at_ms", "reason"),
    [
        (unpaid_order(), PLACED_MS + PAYMENT_TIMEOUT_MS, NOT_PAID),
        (unpaid_order(PaymentState.FAILED), PLACED_MS + PAYMENT_TIMEOUT_MS, PAYMENT_FAILED),
        (an_order(), PLACED_MS + VENDOR_TIMEOUT_MS, VENDOR_SILENT),
        (replace(an_order(), updated_at=5), 5 + VENDOR_TIMEOUT_MS, VENDOR_SILENT),
    ],
)
def test_each_wait_has_a_deadline(order: Order, ends_at_ms: int, reason: str):
    """Payments count from the placement, vendors from when they were sent the order."""
    assert deadline_of(order) == (ends_at_ms, reason)
    assert not has_timed_out(order, ends_at_ms - 1)
    assert has_timed_out(order, ends_at_ms)


@pytest.mark.parametrize(
    "order", [order_at("ACCEPTED", "SEARCHING"), a_parcel_order(), order_at("CANCELLED", "-")]
)
def test_other_orders_have_no_deadline(order: Order):
    """An accepted order and a paid parcel are searched for; a cancelled one is over."""
    assert deadline_of(order) is None
    assert not has_timed_out(order, 10**15)


def test_no_deadline_is_shorter_than_the_shortest():
    """A sweep may leave out all younger orders."""
    assert min(PAYMENT_TIMEOUT_MS, VENDOR_TIMEOUT_MS) >= SHORTEST_TIMEOUT_MS


def test_a_silent_vendor_costs_the_customer_nothing():
    """Both sides are notified, and the whole price goes back."""
    late = request("time_out_order", "engine", now_ms=PLACED_MS + VENDOR_TIMEOUT_MS)
    step = decide_transition(an_order(), late)

    assert (step.order.status, step.order.reason) == (OrderStatus.CANCELLED, VENDOR_SILENT)
    assert addressed_events(step) == [
        ("user:usr_1", "order_cancelled"),
        ("vendor:ven_1", "order_cancelled"),
    ]
    assert step.events[0].event.refund_amount == step.order.pricing.total


def test_the_vendor_gets_no_event_of_an_order_it_never_saw():
    """An unpaid order is cancelled with nothing to refund."""
    late = request("time_out_order", "engine", now_ms=PLACED_MS + PAYMENT_TIMEOUT_MS)
    step = decide_transition(unpaid_order(), late)

    assert addressed_events(step) == [("user:usr_1", "order_cancelled")]
    assert step.events[0].event.refund_amount == 0
    assert step.order.payment.state is PaymentState.VOID


def test_an_order_before_its_deadline_is_left_alone():
    """It moved on after the sweep had read it."""
    order = an_order()
    early = request("time_out_order", "engine", now_ms=PLACED_MS + VENDOR_TIMEOUT_MS - 1)

    assert decide_transition(order, early).order is order
    accepted = order_at("ACCEPTED", "SEARCHING")
    assert outcome_of(accepted, request("time_out_order", "engine")) is Refusal.WRONG_STATE


def test_a_failed_payment_is_sent_once_with_the_time_left_to_pay():
    """The order stays open: the customer may try again until the deadline."""
    report = request("payment_failed", "engine", input="PIN refused")
    first = decide_transition(unpaid_order(), report)
    again = decide_transition(first.order, report)
    event = first.events[0].event

    assert (first.order.status, first.order.payment.state) == (
        OrderStatus.PENDING,
        PaymentState.FAILED,
    )
    assert (event.reason, event.pay_until) == ("PIN refused", PLACED_MS + PAYMENT_TIMEOUT_MS)
    assert again.order is first.order
