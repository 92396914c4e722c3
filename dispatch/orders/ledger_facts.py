"""An order's money in the ledger's terms: facts to post and funds to expect: pure."""

from dispatch.model import Order, PaymentMethod
from ledger.core.facts import Capture, TopUp
from ledger.core.order_funds import FundsState, OrderFunds
from ledger.records.payments import ProviderPayment


def capture_of(order: Order) -> Capture:
    """The fact that moves the customer's money into the order's escrow. Units: whole XAF."""
    method = order.payment.method
    assert method is not PaymentMethod.CASH, "cash is collected by a rider"
    return Capture(
        order_id=order.order_id,
        user_id=order.user_id,
        vendor_id=order.vendor_id,
        method="WALLET" if method is PaymentMethod.WALLET else "MOBILE_MONEY",
        pricing=order.pricing,
        payment_id=order.payment.payment_id,
        provider=order.payment.provider,
    )


def funds_of(order: Order, state: FundsState) -> OrderFunds:
    """The order's funds as the order implies them, in a given state. Units: whole XAF."""
    method = order.payment.method
    return OrderFunds(
        order_id=order.order_id,
        funds_state=state,
        method=method,
        user_id=order.user_id,
        vendor_id=order.vendor_id,
        rider_id=order.rider_id if state is FundsState.DELIVERED else None,
        pricing=order.pricing,
        escrow=0 if method is PaymentMethod.CASH else order.pricing.gross,
    )


def provider_payment_of(order: Order) -> ProviderPayment:
    """The payment that a provider collects for an order. Units: whole XAF."""
    assert order.payment.provider is not None
    assert order.payment.payment_id is not None
    return ProviderPayment(
        provider=order.payment.provider,
        payment_id=order.payment.payment_id,
        user_id=order.user_id,
        amount=order.pricing.total,
        order_id=order.order_id,
    )


def late_payment_top_up(order: Order) -> TopUp:
    """The fact that a payment for a cancelled order goes into the customer's wallet."""
    payment = provider_payment_of(order)
    return TopUp(
        user_id=payment.user_id,
        amount=payment.amount,
        provider=payment.provider,
        payment_id=payment.payment_id,
    )
