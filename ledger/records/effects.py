"""Effects of a fact besides its legs: the order's funds, a payment, a hold, a payout."""

from collections.abc import Callable
from typing import NamedTuple

from ledger.core.facts import (
    Adjustment,
    BorneBy,
    Capture,
    Fact,
    Netting,
    PartialRefund,
    PayoutPaid,
    PayoutPaidLate,
    PayoutReturned,
    Refund,
    Rejection,
    Remittance,
    Settle,
    Tip,
    TopUp,
)
from ledger.core.order_funds import (
    FundsState,
    OrderFunds,
    PaymentMethod,
    capture_funds,
    close_funds,
    hash_terms,
    open_funds,
    refund_funds,
)
from ledger.dynamodb.table import Item, Write
from ledger.records.cash_holds import HOLD_POSTED, end_hold
from ledger.records.payments import PaymentState, ProviderPayment, complete_payment
from ledger.records.payouts import PayoutState, mark_paid, mark_paid_late, mark_returned


class Effect(NamedTuple):
    """One write, and the rejection if its condition fails, given the item that was found.

    `explain` returns None where the funds that were read are stale: the fact is planned again.
    """

    write: Write
    explain: Callable[[Item | None], Rejection | None]


def build_effects(fact: Fact, funds: OrderFunds | None, now_ms: int) -> list[Effect]:
    """Writes that go with the fact's entry; `funds` as they were planned with. Units: whole XAF."""
    match fact:
        case TopUp():
            return [_payment_effect(fact, now_ms)]
        case Capture(method="WALLET"):
            return [Effect(open_funds(_captured_funds(fact), now_ms), _reject_existing)]
        case Capture():
            captured = _captured_funds(fact)
            capture = capture_funds(captured, now_ms)
            return [Effect(capture, _reject_not_awaited(captured)), _payment_effect(fact, now_ms)]
        case Settle():
            return _settlement_effects(funds, now_ms)
        case Refund():
            assert funds is not None, "planned with the funds"
            return [Effect(close_funds(funds, FundsState.CANCELLED, now_ms), _replan)]
        case PartialRefund():
            assert funds is not None, "planned with the funds"
            is_shared = fact.borne_by is BorneBy.PARTIES
            refunded = refund_funds(funds, fact.amount, is_shared=is_shared, now_ms=now_ms)
            return [Effect(refunded, _replan)]
        case PayoutPaid() | PayoutPaidLate() | PayoutReturned():
            return [_payout_effect(fact, now_ms)]
        case Tip() | Remittance() | Netting() | Adjustment():
            return []


def _payout_effect(fact: PayoutPaid | PayoutPaidLate | PayoutReturned, now_ms: int) -> Effect:
    match fact:
        case PayoutPaid():
            write, before = mark_paid(fact, now_ms), PayoutState.SUBMITTED
        case PayoutPaidLate():
            write, before = mark_paid_late(fact, now_ms), PayoutState.FAILED
        case PayoutReturned():
            write, before = mark_returned(fact, now_ms), PayoutState.PAID
    return Effect(write, _reject_payout_state(before))


def _settlement_effects(funds: OrderFunds | None, now_ms: int) -> list[Effect]:
    assert funds is not None, "planned with the funds"
    closed = Effect(close_funds(funds, FundsState.SETTLED, now_ms), _replan)
    if funds.method != PaymentMethod.CASH:
        return [closed]
    assert funds.rider_id is not None, "a delivered order had a rider"
    owed = funds.rider_owes
    hold = end_hold(funds.order_id, funds.rider_id, owed, to=HOLD_POSTED, now_ms=now_ms)
    return [closed, Effect(hold, _reject_hold)]


def _captured_funds(fact: Capture) -> OrderFunds:
    return OrderFunds(
        order_id=fact.order_id,
        funds_state=FundsState.CAPTURED,
        method=PaymentMethod(fact.method),
        user_id=fact.user_id,
        vendor_id=fact.vendor_id,
        pricing=fact.pricing,
        escrow=fact.pricing.gross,
    )


def _payment_effect(fact: TopUp | Capture, now_ms: int) -> Effect:
    assert fact.provider is not None
    assert fact.payment_id is not None
    is_capture = isinstance(fact, Capture)
    payment = ProviderPayment(
        provider=fact.provider,
        payment_id=fact.payment_id,
        user_id=fact.user_id,
        amount=fact.pricing.total if is_capture else fact.amount,
        order_id=fact.order_id if is_capture else None,
    )
    return Effect(complete_payment(payment, now_ms), _reject_payment)


def _replan(_item: Item | None) -> None:
    return None


def _reject_existing(item: Item | None) -> Rejection:
    state = item["fundsState"] if item else "missing"
    return Rejection("wrong_state", f"the order's funds are {state} already")


def _reject_not_awaited(captured: OrderFunds) -> Callable[[Item | None], Rejection]:
    def explain(item: Item | None) -> Rejection:
        if item is None:
            return Rejection("not_found", f"order {captured.order_id} has no funds")
        if item["fundsState"] != FundsState.NONE:
            return Rejection(
                "wrong_state", f"the order's funds are {item['fundsState']}: no payment is awaited"
            )
        assert item["termsHash"] != hash_terms(captured)
        return Rejection("conflict", "the order was placed on other terms")

    return explain


def _reject_payment(item: Item | None) -> Rejection:
    if item is not None and item["paymentState"] == PaymentState.SUCCESS:
        return Rejection("conflict", "the payment was used already")
    return Rejection("conflict", "the payment is not the one that was requested")


def _reject_payout_state(wanted: PayoutState) -> Callable[[Item | None], Rejection]:
    def explain(item: Item | None) -> Rejection:
        state = item["payoutState"] if item else "missing"
        return Rejection("wrong_state", f"the payout is {state}, not {wanted}")

    return explain


def _reject_hold(item: Item | None) -> Rejection:
    state = item["holdState"] if item else "missing"
    return Rejection("wrong_state", f"the hold on the rider's cash is {state}")
