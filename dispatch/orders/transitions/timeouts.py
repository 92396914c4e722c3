"""Orders that wait in vain: their money does not come, or their vendor is silent: pure."""

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
from dispatch.wire import events

# How long mobile money is waited for, from the placement on.
# Source: the house's choice; a customer's phone asks for the PIN for some 5 minutes, thrice.
PAYMENT_TIMEOUT_MS = 15 * 60_000
# How long a vendor may leave an order that is paid, or due in cash, without an answer.
# Source: the house's choice; a shop that has not looked in half an hour is not there.
VENDOR_TIMEOUT_MS = 30 * 60_000
# What is younger than this has not lapsed in any case.
SHORTEST_TIMEOUT_MS = min(PAYMENT_TIMEOUT_MS, VENDOR_TIMEOUT_MS)

NOT_PAID = "the payment did not come"
PAYMENT_FAILED = "the payment failed"
VENDOR_SILENT = "the vendor did not answer"


class OrderDeadline(NamedTuple):
    """Until when an order may wait, and what is said of it then. Units: Unix milliseconds."""

    ends_at_ms: int
    reason: str


def deadline_of(order: Order) -> OrderDeadline | None:
    """How long the order may stand as it does; None where nobody is waited for in vain.

    A parcel that is paid is being searched for, and operators know of a search that takes long.
    """
    if order.status is not OrderStatus.PENDING:
        return None
    if order.payment.is_awaited:
        failed = order.payment.state is PaymentState.FAILED
        return OrderDeadline(
            order.created_at + PAYMENT_TIMEOUT_MS, PAYMENT_FAILED if failed else NOT_PAID
        )
    if order.vendor_id is None:
        return None
    # The last step brought the order to the vendor.
    return OrderDeadline(order.updated_at + VENDOR_TIMEOUT_MS, VENDOR_SILENT)


def has_timed_out(order: Order, now_ms: int) -> bool:
    """Whether nobody is waited for any longer."""
    term = deadline_of(order)
    return term is not None and now_ms >= term.ends_at_ms


def time_out_order(order: Order, request: TransitionRequest) -> Transition:
    """The order is called off, unless somebody has moved meanwhile; what was paid goes back."""
    term = deadline_of(order)
    if term is None or request.now_ms < term.ends_at_ms:
        return Transition(order=order)
    payment, back = order.payment, 0
    if payment.state is PaymentState.CAPTURED:
        back = order.pricing.total
    told = events.OrderCancelled(**event_fields(order), reason=term.reason, refund_amount=back)
    # A vendor never saw what was not paid.
    says = (
        (AddressedEvent(user_identity(order), told),)
        if payment.is_awaited
        else to_user_and_vendor(order, told)
    )
    off = replace(
        order, status=OrderStatus.CANCELLED, reason=term.reason, payment=payment.reversed()
    )
    return Transition(order=off, events=says)


def payment_failed(order: Order, request: TransitionRequest) -> Transition:
    """The provider says that nothing was paid; the order waits for another word until its term.

    `command` is the provider's reason, or none. A provider's customer may try again, and whoever
    does not is not kept from calling the order off himself.
    """
    if order.payment.state is not PaymentState.PENDING:
        return Transition(order=order)
    failed = replace(order.payment, state=PaymentState.FAILED)
    told = events.PaymentFailed(
        **event_fields(order),
        reason=request.command,
        pay_until=order.created_at + PAYMENT_TIMEOUT_MS,
    )
    return Transition(
        order=replace(order, payment=failed), events=(AddressedEvent(user_identity(order), told),)
    )
