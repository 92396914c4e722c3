"""From what happened to who is owed what: facts in, a balanced entry or a refusal out."""

from typing import Literal

import msgspec

from ledger import accounts
from ledger.entries import JournalEntry, Leg, balanced, intent_of
from ledger.fin import Fin, FinState, Method
from ledger.money import checked
from ledger.pricing import Pricing
from ledger.table import Key

# What a wallet's line is for, as its owner reads it.
TOP_UP = "TOP_UP"
ORDER_PAYMENT = "ORDER_PAYMENT"
ORDER_EARNINGS = "ORDER_EARNINGS"
CASH_COLLECTED = "CASH_COLLECTED"
COMMISSION = "COMMISSION"
REFUND = "REFUND"

Code = Literal["insufficient_funds", "frozen", "conflict", "wrong_state", "not_found"]


class TopUp(msgspec.Struct, frozen=True):
    """A provider confirmed that a customer paid into his wallet. Units: whole XAF."""

    user_id: str
    amount: int
    provider: str
    payment_id: str


class Capture(msgspec.Struct, frozen=True):
    """A customer paid for an order, from his wallet or through a provider."""

    order_id: str
    user_id: str
    vendor_id: str | None
    method: Literal["WALLET", "MOBILE_MONEY"]
    pricing: Pricing
    payment_id: str | None = None
    provider: str | None = None


class Settle(msgspec.Struct, frozen=True):
    """A delivered order's money goes to those who earned it; everything else is in its FIN."""

    order_id: str


class Refund(msgspec.Struct, frozen=True):
    """A paid order is called off before delivery: the customer gets everything back."""

    order_id: str
    reason: str


Fact = TopUp | Capture | Settle | Refund


class Rejection(msgspec.Struct, frozen=True):
    """Why a fact cannot become an entry."""

    code: Code
    message: str


def entry_key(fact: Fact) -> Key:
    """Where the entry of a fact is kept: one fact, one key, one entry for ever."""
    match fact:
        case TopUp():
            return Key(payment_pk(fact.provider, fact.payment_id), "JE#TOPUP")
        case Capture():
            return Key(accounts.escrow(fact.order_id), "JE#CAPTURE")
        case Settle():
            return Key(accounts.escrow(fact.order_id), "JE#SETTLE")
        case Refund():
            return Key(accounts.escrow(fact.order_id), "JE#CANCEL")


def payment_pk(provider: str, payment_id: str) -> str:
    """The partition of one payment at a provider."""
    return f"PAYMENT#{accounts.checked_id(provider)}#{accounts.checked_id(payment_id)}"


def plan(fact: Fact, fin: Fin | None, lane: int) -> JournalEntry | Rejection:
    """The entry of a fact.

    `fin` is the order's money, which a settlement and a refund depend on; `lane` says which lane of
    our own accounts to use.

    Errors: Unbalanced or ValueError for facts that cannot be true.
    """
    match fact:
        case TopUp():
            return _top_up(fact, lane)
        case Capture():
            return _capture(fact, lane)
        case Settle():
            return _from_fin(fact, fin, FinState.DELIVERED) or _settle(fact, _there(fin), lane)
        case Refund():
            return _from_fin(fact, fin, FinState.CAPTURED) or _refund(fact, _there(fin))


def _top_up(fact: TopUp, lane: int) -> JournalEntry:
    amount = checked(fact.amount)
    legs = [
        Leg(accounts.clearing(fact.provider, lane), -amount, TOP_UP),
        Leg(accounts.user(fact.user_id), amount, TOP_UP),
    ]
    return JournalEntry(
        key=entry_key(fact), kind="TOPUP", intent=intent_of(fact), legs=balanced(legs)
    )


def _capture(fact: Capture, lane: int) -> JournalEntry:
    total = checked(fact.pricing.total)
    if fact.method == Method.WALLET:
        source = accounts.user(fact.user_id)
    else:
        if fact.provider is None or fact.payment_id is None:
            raise ValueError("mobile money comes from a provider's payment")
        source = accounts.clearing(fact.provider, lane)
    legs = [
        Leg(source, -total, ORDER_PAYMENT),
        Leg(accounts.escrow(fact.order_id), total, ORDER_PAYMENT),
    ]
    return JournalEntry(
        key=entry_key(fact),
        kind="CAPTURE",
        intent=intent_of(fact),
        legs=balanced(legs),
        order_id=fact.order_id,
        details={"method": fact.method, "provider": fact.provider, "paymentId": fact.payment_id},
    )


def _settle(fact: Settle, fin: Fin, lane: int) -> JournalEntry:
    pricing = fin.pricing
    assert fin.rider_id is not None, "a delivered order had a rider"
    if fin.method == Method.CASH:
        source = Leg(accounts.rider_cash(fin.rider_id), -pricing.total, CASH_COLLECTED)
    else:
        source = Leg(accounts.escrow(fin.order_id), -fin.escrow, ORDER_EARNINGS)
    legs = [
        source,
        Leg(accounts.rider(fin.rider_id), pricing.rider_share, ORDER_EARNINGS),
        Leg(accounts.commission(lane), pricing.commission, COMMISSION),
    ]
    if fin.vendor_id is not None:
        legs.append(Leg(accounts.vendor(fin.vendor_id), pricing.vendor_share, ORDER_EARNINGS))
    return JournalEntry(
        key=entry_key(fact),
        kind="SETTLE",
        intent=intent_of(fact),
        legs=balanced(legs),
        order_id=fin.order_id,
        details={"rateVersion": pricing.rate_version},
    )


def _refund(fact: Refund, fin: Fin) -> JournalEntry:
    legs = [
        Leg(accounts.escrow(fin.order_id), -fin.escrow, REFUND),
        Leg(accounts.user(fin.user_id), fin.escrow, REFUND),
    ]
    return JournalEntry(
        key=entry_key(fact),
        kind="CANCEL",
        intent=intent_of(fact),
        legs=balanced(legs),
        order_id=fin.order_id,
        details={"reason": fact.reason},
    )


def _from_fin(fact: Settle | Refund, fin: Fin | None, state: FinState) -> Rejection | None:
    if fin is None:
        return Rejection("not_found", f"no money is kept for order {fact.order_id}")
    if fin.fin_state != state:
        return Rejection("wrong_state", f"the order's money is {fin.fin_state}, not {state}")
    return None


def _there(fin: Fin | None) -> Fin:
    assert fin is not None, "checked before"
    return fin
