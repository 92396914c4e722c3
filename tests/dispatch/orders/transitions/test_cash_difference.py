"""Cash difference: what is recorded, who owes it, and the bounds of what a rider may report."""

import pytest

from dispatch.errors import Refused
from dispatch.model import CashDifference, DispatchState, Order, OrderStatus, PaymentState
from dispatch.orders.transitions.cash_difference import (
    OVERPAID_MAX_XAF,
    CashReport,
    CashShortage,
    cash_alert,
    payment_after,
)
from tests.factories import a_cash_payment, a_payment, an_order

TOTAL = 11_500


def order_in_transit(*, is_cash: bool = True) -> Order:
    payment = a_cash_payment() if is_cash else a_payment()
    order = an_order(status=OrderStatus.IN_TRANSIT, state=DispatchState.AT_DROPOFF, payment=payment)
    assert order.pricing.total == TOTAL
    return order


@pytest.mark.parametrize("reported", [None, TOTAL])
def test_the_price_is_no_difference(reported: int | None):
    """Without a sum the whole price counts as collected, and there is nothing to alert."""
    order = order_in_transit()
    payment = payment_after(order, CashReport(reported, "rider"))

    assert (payment.state, payment.collected) == (PaymentState.COLLECTED, TOTAL)
    assert (payment.difference, cash_alert(order, payment, 5)) == (None, None)


RIDERS, CUSTOMERS = (
    CashDifference(amount=-500, booked_to="RIDER"),
    CashDifference(amount=-500, booked_to="CUSTOMER"),
)
SURPLUS = CashDifference(amount=500, booked_to="CUSTOMER")
LARGEST = CashDifference(amount=OVERPAID_MAX_XAF, booked_to="CUSTOMER")
NOTHING_PAID = CashDifference(amount=-TOTAL, booked_to="RIDER")


@pytest.mark.parametrize(
    ("shortage", "difference", "message"),
    [
        ("rider", RIDERS, "500 XAF too little; the rider owes it"),
        ("customer", CUSTOMERS, "500 XAF too little; the customer owes it"),
        ("rider", NOTHING_PAID, "11500 XAF too little; the rider owes it"),
        ("rider", SURPLUS, "500 XAF too much; the customer's wallet is credited"),
        ("customer", SURPLUS, "500 XAF too much; the customer's wallet is credited"),
        ("rider", LARGEST, "10000 XAF too much; the customer's wallet is credited"),
    ],
)
def test_a_difference_is_a_fact(shortage: CashShortage, difference: CashDifference, message: str):
    """The payment keeps what was collected, the difference and who owes it; operators read it."""
    order = order_in_transit()
    payment = payment_after(order, CashReport(TOTAL + difference.amount, shortage))
    alert = cash_alert(order, payment, 5)

    assert (payment.state, payment.collected) == (
        PaymentState.COLLECTED,
        TOTAL + difference.amount,
    )
    assert payment.difference == difference
    assert alert is not None
    assert (alert.kind, alert.order_id, alert.rider_id) == ("cash_differs", "ord_1", "rdr_1")
    assert alert.message == f"the rider collected {message}"


def test_cash_for_a_paid_order_is_recorded_and_not_booked():
    """Operators see it and decide; the payment itself stays as it was."""
    order = order_in_transit(is_cash=False)
    payment = payment_after(order, CashReport(4_000, "rider"))
    alert = cash_alert(order, payment, 5)

    assert (payment.state, payment.collected) == (PaymentState.CAPTURED, 4_000)
    assert payment.difference == CashDifference(amount=4_000, booked_to="NONE")
    assert alert is not None
    assert "paid by WALLET; it is not booked" in alert.message


@pytest.mark.parametrize("reported", [None, 0])
def test_a_paid_order_needs_no_cash(reported: int | None):
    """Without cash nothing is recorded."""
    order = order_in_transit(is_cash=False)
    assert payment_after(order, CashReport(reported, "rider")) == order.payment


@pytest.mark.parametrize("is_cash", [True, False])
@pytest.mark.parametrize("reported", [TOTAL + OVERPAID_MAX_XAF + 1, 10**12])
def test_a_sum_that_nobody_hands_over_is_refused(reported: int, is_cash: bool):
    """A mistyped sum is refused with the largest one that is accepted."""
    with pytest.raises(Refused) as refused:
        payment_after(order_in_transit(is_cash=is_cash), CashReport(reported, "rider"))

    assert refused.value.code == "malformed"
    assert refused.value.details == {"total": TOTAL, "max": TOTAL + OVERPAID_MAX_XAF}
