"""Deadlines of orders that wait for a payment or for their vendor, and what ends them: pure."""

from typing import NamedTuple

from msgspec.structs import replace

from dispatch.model import Order, OrderStatus, PaymentState
from dispatch.orders.transitions.context import (
    AddressedEvent,
    Transition,
    TransitionRequest,
    event_fields,
    to_user_and_vendor,
    user_identity,
)
from dispatch.orders.units import MINUTE_MS
from dispatch.wire import events

# How long an order waits for its mobile money after it was placed.
# Source: chosen; a customer's phone asks for the PIN for about 5 minutes, three times.
PAYMENT_TIMEOUT_MS = 15 * MINUTE_MS
# How long a vendor may leave an order that is paid, or due in cash, without an answer.
# Source: chosen; a vendor that has not looked for half an hour is taken to be closed.
VENDOR_TIMEOUT_MS = 30 * MINUTE_MS
# No order younger than this can have timed out.
SHORTEST_TIMEOUT_MS = min(PAYMENT_TIMEOUT_MS, VENDOR_TIMEOUT_MS)

NOT_PAID = "the payment did not come"
PAYMENT_FAILED = "the payment failed"
VENDOR_SILENT = "the vendor did not answer"


class OrderDeadline(NamedTuple):
    """Until when an order may wait, and the reason it is cancelled with then. Units: Unix ms."""

    ends_at_ms: int
    reason: str


def deadline_of(order: Order) -> OrderDeadline | None:
    """The deadline of an order's present state; None where it waits for neither party.

    A paid parcel has none: it is being searched for, and a long search raises an alert.
    """
    if order.status is not OrderStatus.PENDING:
        return None
    if order.payment.is_awaited:
        has_failed = order.payment.state is PaymentState.FAILED
        return OrderDeadline(
            order.created_at + PAYMENT_TIMEOUT_MS, PAYMENT_FAILED if has_failed else NOT_PAID
        )
    if order.vendor_id is None:
        return None
    # The latest transition was the one that sent the order to the vendor.
    return OrderDeadline(order.updated_at + VENDOR_TIMEOUT_MS, VENDOR_SILENT)


def has_timed_out(order: Order, now_ms: int) -> bool:
    """Whether the order's deadline has passed. Units: Unix milliseconds."""
    deadline = deadline_of(order)
    return deadline is not None and now_ms >= deadline.ends_at_ms


def time_out_order(order: Order, request: TransitionRequest[None]) -> Transition:
    """Cancel an order whose deadline has passed; the customer gets back what was paid.

    An order that moved on meanwhile is left unchanged.
    """
    deadline = deadline_of(order)
    if deadline is None or request.now_ms < deadline.ends_at_ms:
        return Transition(order=order)
    payment = order.payment
    refund_xaf = order.pricing.total if payment.state is PaymentState.CAPTURED else 0
    event = events.OrderCancelled(
        **event_fields(order), reason=deadline.reason, refund_amount=refund_xaf
    )
    # The vendor was never sent an order that is not paid.
    addressed = (
        (AddressedEvent(user_identity(order), event),)
        if payment.is_awaited
        else to_user_and_vendor(order, event)
    )
    cancelled = replace(
        order, status=OrderStatus.CANCELLED, reason=deadline.reason, payment=payment.reversed()
    )
    return Transition(order=cancelled, events=addressed)


def payment_failed(order: Order, request: TransitionRequest[str | None]) -> Transition:
    """Record that the provider reported no payment; the order stays open until its deadline.

    The input is the provider's reason, or None. The customer may try to pay again, or cancel.
    """
    if order.payment.state is not PaymentState.PENDING:
        return Transition(order=order)
    event = events.PaymentFailed(
        **event_fields(order),
        reason=request.input,
        pay_until=order.created_at + PAYMENT_TIMEOUT_MS,
    )
    return Transition(
        order=replace(order, payment=replace(order.payment, state=PaymentState.FAILED)),
        events=(AddressedEvent(user_identity(order), event),),
    )
