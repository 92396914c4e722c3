"""Orders that wait in vain: their money does not come, or their vendor is silent: pure."""

from typing import NamedTuple

from msgspec.structs import replace

from dispatch.model import Order, OrderStatus, PaymentState
from dispatch.orders.transitions.context import (
    Ask,
    Said,
    Step,
    both,
    mark,
    user_of,
)
from dispatch.wire import events

# How long mobile money is waited for, from the placement on.
# Source: the house's choice; a customer's phone asks for the PIN for some 5 minutes, thrice.
PAYMENT_MS = 15 * 60_000
# How long a vendor may leave an order that is paid, or due in cash, without an answer.
# Source: the house's choice; a shop that has not looked in half an hour is not there.
ANSWER_MS = 30 * 60_000
# What is younger than this has not lapsed in any case.
SHORTEST_MS = min(PAYMENT_MS, ANSWER_MS)

NOT_PAID = "the payment did not come"
FAILED = "the payment failed"
NO_ANSWER = "the vendor did not answer"


class Term(NamedTuple):
    """Until when an order may wait, and what is said of it then. Units: Unix milliseconds."""

    ends_ms: int
    reason: str


def term_of(order: Order) -> Term | None:
    """How long the order may stand as it does; None where nobody is waited for in vain.

    A parcel that is paid is being searched for, and operators know of a search that takes long.
    """
    if order.status is not OrderStatus.PENDING:
        return None
    if order.payment.is_awaited:
        failed = order.payment.state is PaymentState.FAILED
        return Term(order.created_at + PAYMENT_MS, FAILED if failed else NOT_PAID)
    if order.vendor_id is None:
        return None
    # The last step brought the order to the vendor.
    return Term(order.updated_at + ANSWER_MS, NO_ANSWER)


def has_lapsed(order: Order, now_ms: int) -> bool:
    """Whether nobody is waited for any longer."""
    term = term_of(order)
    return term is not None and now_ms >= term.ends_ms


def lapse_order(order: Order, ask: Ask) -> Step:
    """The order is called off, unless somebody has moved meanwhile; what was paid goes back."""
    term = term_of(order)
    if term is None or ask.now_ms < term.ends_ms:
        return Step(order=order)
    payment, back = order.payment, 0
    if payment.state is PaymentState.CAPTURED:
        back = order.pricing.total
    told = events.OrderCancelled(**mark(order), reason=term.reason, refund_amount=back)
    # A vendor never saw what was not paid.
    says = (Said(user_of(order), told),) if payment.is_awaited else both(order, told)
    off = replace(order, status=OrderStatus.CANCELLED, reason=term.reason, payment=payment.undone())
    return Step(order=off, says=says)


def payment_failed(order: Order, ask: Ask) -> Step:
    """The provider says that nothing was paid; the order waits for another word until its term.

    `command` is the provider's reason, or none. A provider's customer may try again, and whoever
    does not is not kept from calling the order off himself.
    """
    if order.payment.state is not PaymentState.PENDING:
        return Step(order=order)
    failed = replace(order.payment, state=PaymentState.FAILED)
    told = events.PaymentFailed(
        **mark(order), reason=ask.command, pay_until=order.created_at + PAYMENT_MS
    )
    return Step(order=replace(order, payment=failed), says=(Said(user_of(order), told),))
