"""Orders: stored under wire names, with terminal statuses, reversed payments and assignments."""

import msgspec
import pytest

from dispatch.model import (
    TERMINAL_STATUSES,
    DispatchState,
    Order,
    OrderStatus,
    PaymentState,
    assignment_of,
)
from tests.factories import a_cash_payment, a_parcel_order, a_payment, an_order


@pytest.mark.parametrize(
    "order", [an_order(), an_order(state=DispatchState.OFFERED), a_parcel_order()]
)
def test_order_survives_storage(order: Order):
    """An order read back from its stored form is equal to the one that was written."""
    assert msgspec.convert(msgspec.to_builtins(order), Order) == order


def test_stored_fields_have_wire_names():
    """Fields are stored in camel case, and those with their default are left out."""
    stored = msgspec.to_builtins(an_order(state=DispatchState.ASSIGNED))
    assert {"orderId", "orderType", "userId", "createdAt", "vendorId"} <= stored.keys()
    assert "promoCode" not in stored
    assert stored["dispatch"]["riderId"] == "rdr_1"


def test_unknown_stored_fields_are_ignored():
    """An item may have attributes that this version does not know, such as index keys."""
    stored = {**msgspec.to_builtins(an_order()), "GSI1PK": "USER#usr_1#ORDERS", "newer": 1}
    assert msgspec.convert(stored, Order) == an_order()


def test_terminal_statuses_are_final():
    """Settled, rejected and cancelled orders are terminal, all others are not."""
    terminal = {status for status in OrderStatus if an_order(status).is_terminal}
    assert terminal == TERMINAL_STATUSES


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (PaymentState.CAPTURED, PaymentState.REFUNDED),
        (PaymentState.PENDING, PaymentState.VOID),
        (PaymentState.FAILED, PaymentState.VOID),
        (PaymentState.DUE, PaymentState.VOID),
    ],
)
def test_reversed_payment(state: PaymentState, after: PaymentState):
    """The payment of a cancelled order is refunded where it was captured, else void."""
    assert a_payment(state).reversed() == a_payment(after)


def test_only_provider_payments_are_awaited():
    """A payment that is pending or was declined may still be confirmed by the provider."""
    awaited = {state for state in PaymentState if a_payment(state).is_awaited}
    assert awaited == {PaymentState.PENDING, PaymentState.FAILED}
    assert not a_cash_payment().is_awaited


def test_assignment_needs_a_rider():
    """An order has an assignment while it has a rider, with both stops and the state."""
    assert assignment_of(an_order()) is None
    assert assignment_of(an_order(state=DispatchState.OFFERED)) is None
    order = an_order(state=DispatchState.AT_PICKUP)
    assignment = assignment_of(order)
    assert assignment is not None
    assert (assignment.order_id, assignment.state) == (order.order_id, DispatchState.AT_PICKUP)
    assert (assignment.pickup, assignment.dropoff) == (order.pickup, order.dropoff)
    assert order.rider_id == "rdr_1"
