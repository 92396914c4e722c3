"""An order's money in the ledger's terms: facts to post and funds to expect: pure."""

from dispatch.model import Order, PaymentMethod
from ledger.core.facts import Capture, TopUp
from ledger.core.order_funds import DeliveredCash, FundsState, OrderFunds
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
    cash = delivered_cash_of(order) if state is FundsState.DELIVERED else None
    return OrderFunds(
        order_id=order.order_id,
        funds_state=state,
        method=method,
        user_id=order.user_id,
        vendor_id=order.vendor_id,
        rider_id=order.rider_id if state is FundsState.DELIVERED else None,
        pricing=order.pricing,
        escrow=0 if method is PaymentMethod.CASH else order.pricing.gross,
        cash_collected=cash.collected if cash else None,
        cash_owed=cash.owed if cash else None,
    )


def delivered_cash_of(order: Order) -> DeliveredCash | None:
    """The cash of a delivered order and what its rider owes, None for another method.

    Units: whole XAF.
    """
    payment, total = order.payment, order.pricing.total
    if payment.method is not PaymentMethod.CASH:
        return None
    collected = total if payment.collected is None else payment.collected
    is_customers = payment.difference is not None and payment.difference.booked_to == "CUSTOMER"
    return DeliveredCash(collected, collected if is_customers else total)


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
