"""An order's money in the ledger's terms: what is captured, expected and credited late."""

import pytest
from msgspec.structs import replace

from dispatch.model import DispatchState, PaymentMethod, PaymentState
from dispatch.orders.ledger_facts import (
    capture_of,
    funds_of,
    late_payment_top_up,
    provider_payment_of,
)
from ledger.core.order_funds import FundsState
from tests.factories import a_cash_payment, a_payment, an_order


def test_a_wallet_order_is_captured_from_the_wallet():
    """Mobile money is captured from its provider's payment."""
    wallet = capture_of(an_order())
    mobile = capture_of(
        an_order(payment=a_payment(PaymentState.PENDING, PaymentMethod.MOBILE_MONEY))
    )

    assert (wallet.method, mobile.method) == ("WALLET", "MOBILE_MONEY")
    assert (mobile.provider, mobile.payment_id) == ("sandbox", "pay_1")
    assert wallet.pricing == an_order().pricing


def test_cash_is_never_captured():
    """A rider collects it."""
    with pytest.raises(AssertionError):
        capture_of(an_order(payment=a_cash_payment()))


def test_only_prepaid_orders_have_escrow():
    """Cash is not in the ledger before the settlement."""
    prepaid, cash = an_order(), an_order(payment=a_cash_payment())

    assert funds_of(prepaid, FundsState.CAPTURED).escrow == prepaid.pricing.gross
    assert funds_of(cash, FundsState.DUE).escrow == 0


def test_delivered_funds_name_the_rider():
    """Before the delivery the rider may still change."""
    order = an_order(state=DispatchState.DONE)

    assert funds_of(order, FundsState.DELIVERED).rider_id == "rdr_1"
    assert funds_of(order, FundsState.CAPTURED).rider_id is None


def test_a_late_payment_is_credited_whole():
    """It is the same payment that the provider was asked for."""
    order, payment = an_order(), provider_payment_of(an_order())
    top_up = late_payment_top_up(order)

    assert (payment.amount, payment.order_id) == (order.pricing.total, order.order_id)
    assert (top_up.user_id, top_up.amount) == ("usr_1", order.pricing.total)
    assert (top_up.provider, top_up.payment_id) == (payment.provider, payment.payment_id)


def test_an_order_without_a_provider_has_no_provider_payment():
    """Cash has none."""
    order = replace(an_order(), payment=a_cash_payment())

    with pytest.raises(AssertionError):
        provider_payment_of(order)
