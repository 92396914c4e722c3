"""What a fact changes besides its legs: the order's money, a payment, a hold on cash."""

from collections.abc import Callable
from typing import NamedTuple

from ledger.core.facts import (
    Adjustment,
    BorneBy,
    Capture,
    Fact,
    Netting,
    PartRefund,
    PayoutPaid,
    PayoutReturned,
    Refund,
    Rejection,
    Remittance,
    Settle,
    Tip,
    TopUp,
)
from ledger.core.order_funds import (
    Fin,
    FinState,
    Method,
    capture_fin,
    close_fin,
    open_fin,
    refund_fin,
    terms_of,
)
from ledger.dynamodb.table import Item, Write
from ledger.records.cash_holds import POSTED, end_hold
from ledger.records.payments import Payment, PaymentState, succeed
from ledger.records.payouts import PayoutState, pay_out, return_payout


class Effect(NamedTuple):
    """One write and what it means when its condition fails, given what was there.

    `weigh` answers None where the snapshot was old and the fact is to be planned again.
    """

    write: Write
    weigh: Callable[[Item | None], Rejection | None]


def effects(fact: Fact, fin: Fin | None, now_ms: int) -> list[Effect]:
    """The writes that go with the fact's entry; `fin` as it was planned with."""
    match fact:
        case TopUp():
            return [_paid(fact, now_ms)]
        case Capture(method="WALLET"):
            return [Effect(open_fin(_captured(fact), now_ms), _not_absent)]
        case Capture():
            captured = _captured(fact)
            capture = capture_fin(captured, now_ms)
            return [Effect(capture, _not_awaited(captured)), _paid(fact, now_ms)]
        case Settle():
            return _settled(fin, now_ms)
        case Refund():
            assert fin is not None, "planned with it"
            return [Effect(close_fin(fin, FinState.CANCELLED, now_ms), _look_again)]
        case PartRefund():
            assert fin is not None, "planned with it"
            is_shared = fact.borne_by is BorneBy.PARTIES
            counted = refund_fin(fin, fact.amount, is_shared=is_shared, now_ms=now_ms)
            return [Effect(counted, _look_again)]
        case PayoutPaid():
            return [Effect(pay_out(fact, now_ms), _not_in(PayoutState.SUBMITTED))]
        case PayoutReturned():
            return [Effect(return_payout(fact, now_ms), _not_in(PayoutState.PAID))]
        case Tip() | Remittance() | Netting() | Adjustment():
            return []


def _settled(fin: Fin | None, now_ms: int) -> list[Effect]:
    assert fin is not None, "planned with it"
    closing = Effect(close_fin(fin, FinState.SETTLED, now_ms), _look_again)
    if fin.method != Method.CASH:
        return [closing]
    assert fin.rider_id is not None, "a delivered order had a rider"
    total = fin.pricing.total
    hold = end_hold(fin.order_id, fin.rider_id, total, to=POSTED, now_ms=now_ms)
    return [closing, Effect(hold, _not_held)]


def _captured(fact: Capture) -> Fin:
    return Fin(
        order_id=fact.order_id,
        fin_state=FinState.CAPTURED,
        method=Method(fact.method),
        user_id=fact.user_id,
        vendor_id=fact.vendor_id,
        pricing=fact.pricing,
        escrow=fact.pricing.gross,
    )


def _paid(fact: TopUp | Capture, now_ms: int) -> Effect:
    assert fact.provider is not None
    assert fact.payment_id is not None
    is_capture = isinstance(fact, Capture)
    payment = Payment(
        provider=fact.provider,
        payment_id=fact.payment_id,
        user_id=fact.user_id,
        amount=fact.pricing.total if is_capture else fact.amount,
        order_id=fact.order_id if is_capture else None,
    )
    return Effect(succeed(payment, now_ms), _not_payable)


def _look_again(_item: Item | None) -> None:
    return None


def _not_absent(item: Item | None) -> Rejection:
    state = item["finState"] if item else "gone"
    return Rejection("wrong_state", f"the order's money is {state} already")


def _not_awaited(captured: Fin) -> Callable[[Item | None], Rejection]:
    def weigh(item: Item | None) -> Rejection:
        if item is None:
            return Rejection("not_found", f"no money is kept for order {captured.order_id}")
        if item["finState"] != FinState.NONE:
            return Rejection("wrong_state", f"the order's money is {item['finState']}, not awaited")
        assert item["terms"] != terms_of(captured)
        return Rejection("conflict", "the order was placed on other terms")

    return weigh


def _not_payable(item: Item | None) -> Rejection:
    if item is not None and item["pstate"] == PaymentState.SUCCESS:
        return Rejection("conflict", "the payment was used already")
    return Rejection("conflict", "the payment is not what was asked for")


def _not_in(wanted: PayoutState) -> Callable[[Item | None], Rejection]:
    def weigh(item: Item | None) -> Rejection:
        state = item["pstate"] if item else "missing"
        return Rejection("wrong_state", f"the payout is {state}, not {wanted}")

    return weigh


def _not_held(item: Item | None) -> Rejection:
    state = item["hstate"] if item else "missing"
    return Rejection("wrong_state", f"the hold on the rider's cash is {state}")
