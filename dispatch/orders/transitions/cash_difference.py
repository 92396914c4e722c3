"""Cash difference: what a delivery's payment is where the rider collected another sum: pure."""

from typing import Literal, NamedTuple

from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.model import CashDifference, Order, OrderPayment, PaymentMethod, PaymentState
from dispatch.wire.events import Alert

# Who owes what a customer did not pay in cash, until an operator decides otherwise.
CashShortage = Literal["rider", "customer"]
# A rider may report so much more than was due: a customer pays with a banknote, and there is no
# change. Source: BEAC, the largest banknote of the XAF is 10,000. Units: whole XAF.
OVERPAID_MAX_XAF = 10_000


class CashReport(NamedTuple):
    """What a rider reports at the handover, None without a report. Units: whole XAF."""

    collected: int | None
    shortage: CashShortage


def payment_after(order: Order, report: CashReport) -> OrderPayment:
    """The order's payment after its delivery. Units: whole XAF.

    Without a report the whole price counts as collected. What is missing is owed by the rider or
    the customer, as the policy says; what is above the price is owed by the rider and credited to
    the customer. Cash for an order that was paid otherwise is recorded and not booked.

    Errors: Refused MALFORMED for a sum that no customer hands over.
    """
    payment, total = order.payment, order.pricing.total
    is_cash = payment.method is PaymentMethod.CASH
    due = total if is_cash else 0
    collected = due if report.collected is None else report.collected
    if collected > total + OVERPAID_MAX_XAF:
        raise Refused(
            Refusal.MALFORMED,
            f"`cashCollected` may be at most {OVERPAID_MAX_XAF} XAF above the price of {total} XAF",
            {"total": total, "max": total + OVERPAID_MAX_XAF},
        )
    difference = _difference(collected - due, report.shortage, is_cash=is_cash)
    if is_cash:
        return replace(
            payment, state=PaymentState.COLLECTED, collected=collected, difference=difference
        )
    return replace(payment, collected=collected or None, difference=difference)


def _difference(amount: int, shortage: CashShortage, *, is_cash: bool) -> CashDifference | None:
    if not amount:
        return None
    if not is_cash:
        return CashDifference(amount=amount, booked_to="NONE")
    is_riders = amount < 0 and shortage == "rider"
    return CashDifference(amount=amount, booked_to="RIDER" if is_riders else "CUSTOMER")


def cash_alert(order: Order, payment: OrderPayment, now_ms: int) -> Alert | None:
    """`cash_differs`, where the rider did not collect what was due. Units: Unix milliseconds."""
    difference = payment.difference
    if difference is None:
        return None
    return Alert(
        kind="cash_differs",
        message=_message(payment, difference),
        order_id=order.order_id,
        rider_id=order.rider_id,
        ts=now_ms,
    )


def _message(payment: OrderPayment, difference: CashDifference) -> str:
    amount = abs(difference.amount)
    if difference.booked_to == "NONE":
        method = payment.method.value
        return f"the rider collected {amount} XAF for an order paid by {method}; it is not booked"
    if difference.amount > 0:
        return f"the rider collected {amount} XAF too much; the customer's wallet is credited"
    debtor = "rider" if difference.booked_to == "RIDER" else "customer"
    return f"the rider collected {amount} XAF too little; the {debtor} owes it"
