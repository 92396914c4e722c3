"""From what happened to who is owed what: facts in, a balanced entry or a refusal out."""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.core import accounts
from ledger.core.accounts import Kind, Pocket, kind_of
from ledger.core.cancellation_matrix import MATRIX_VERSION, Parting, part
from ledger.core.entries import JournalEntry, Leg, balanced, intent_of
from ledger.core.facts import (
    Adjustment,
    BorneBy,
    Capture,
    Fact,
    Netting,
    OrderFact,
    PartRefund,
    PayoutPaid,
    PayoutReturned,
    Refund,
    Rejection,
    Remittance,
    Settle,
    Tip,
    TopUp,
    entry_key,
)
from ledger.core.money import checked
from ledger.core.order_funds import Fin, FinState, Method

# What a wallet's line is for, as its owner reads it.
TOP_UP = "TOP_UP"
ORDER_PAYMENT = "ORDER_PAYMENT"
ORDER_EARNINGS = "ORDER_EARNINGS"
CASH_COLLECTED = "CASH_COLLECTED"
CASH_HANDED_IN = "CASH_HANDED_IN"
CANCELLATION_FEE = "CANCELLATION_FEE"
COMMISSION = "COMMISSION"
DISCOUNT = "DISCOUNT"
REFUND = "REFUND"
TIP = "TIP"
NETTING = "NETTING"
ADJUSTMENT = "ADJUSTMENT"
PAYOUT = "PAYOUT"
PAYOUT_RETURNED = "PAYOUT_RETURNED"

Means = Mapping[str, int]
_NOTHING: Means = {}


def plan(
    fact: Fact, fin: Fin | None, lane: int, means: Means = _NOTHING
) -> JournalEntry | Rejection:
    """The entry of a fact.

    `fin` is the order's money, which settlements, refunds and tips depend on; `lane` says which
    lane of our own accounts to use; `means` is what a refund may take from the parties' wallets.

    Errors: Unbalanced or ValueError for facts that cannot be true.
    """
    match fact:
        case TopUp():
            return _top_up(fact, lane)
        case Capture():
            return _capture(fact, lane)
        case Settle() | Refund() | PartRefund() | Tip():
            refused = _not_now(fact, fin)
            return refused or _of_order(fact, _there(fin), lane, means)
        case Remittance():
            return _remittance(fact, lane)
        case Netting():
            return _netting(fact)
        case Adjustment():
            return _adjustment(fact)
        case PayoutPaid() | PayoutReturned():
            return _payout(fact, lane)


def _of_order(fact: OrderFact, fin: Fin, lane: int, means: Means) -> JournalEntry | Rejection:
    match fact:
        case Settle():
            return _settle(fact, fin, lane)
        case Refund():
            return _refund(fact, fin, lane)
        case PartRefund():
            return _part_refund(fact, fin, lane, means)
        case Tip():
            return _tip(fact, fin)


def _entry(
    fact: Fact, kind: str, legs: Sequence[Leg], order_id: str | None = None, **details: Any
) -> JournalEntry:
    return JournalEntry(
        key=entry_key(fact),
        kind=kind,
        intent=intent_of(fact),
        legs=balanced(legs),
        order_id=order_id,
        details=details,
    )


def _top_up(fact: TopUp, lane: int) -> JournalEntry:
    amount = checked(fact.amount)
    legs = [
        Leg(accounts.clearing(fact.provider, lane), -amount, TOP_UP),
        Leg(accounts.user(fact.user_id), amount, TOP_UP),
    ]
    return _entry(fact, "TOPUP", legs)


def _capture(fact: Capture, lane: int) -> JournalEntry:
    total, gross = checked(fact.pricing.total), fact.pricing.gross
    if fact.method == Method.WALLET:
        source = accounts.user(fact.user_id)
    else:
        if fact.provider is None or fact.payment_id is None:
            raise ValueError("mobile money comes from a provider's payment")
        source = accounts.clearing(fact.provider, lane)
    legs = [
        Leg(source, -total, ORDER_PAYMENT),
        Leg(accounts.platform(Pocket.PROMO, lane), total - gross, DISCOUNT),
        Leg(accounts.escrow(fact.order_id), gross, ORDER_PAYMENT),
    ]
    paid = {"method": fact.method, "provider": fact.provider, "paymentId": fact.payment_id}
    return _entry(fact, "CAPTURE", legs, fact.order_id, **paid)


def _settle(fact: Settle, fin: Fin, lane: int) -> JournalEntry:
    pricing = fin.pricing
    assert fin.rider_id is not None, "a delivered order had a rider"
    legs = [
        Leg(accounts.rider(fin.rider_id), pricing.rider_part, ORDER_EARNINGS),
        Leg(accounts.commission(lane), pricing.commission, COMMISSION),
    ]
    if fin.method == Method.CASH:
        legs.append(Leg(accounts.rider_cash(fin.rider_id), -pricing.total, CASH_COLLECTED))
        legs.append(Leg(accounts.platform(Pocket.PROMO, lane), -pricing.discount, DISCOUNT))
    else:
        legs.append(Leg(accounts.escrow(fin.order_id), -fin.escrow, ORDER_EARNINGS))
    if fin.vendor_id is not None:
        legs.append(Leg(accounts.vendor(fin.vendor_id), pricing.vendor_share, ORDER_EARNINGS))
    return _entry(fact, "SETTLE", legs, fin.order_id, rateVersion=pricing.rate_version)


def parting_of(fact: Refund, fin: Fin) -> Parting:
    """How the order's money is divided when it is called off."""
    return part(fin.pricing, fact.stage, fact.fault, has_rider=fact.rider_id is not None)


def _refund(fact: Refund, fin: Fin, lane: int) -> JournalEntry | Rejection:
    parting = parting_of(fact, fin)
    if fin.method == Method.CASH and not parting.paid:
        return Rejection("wrong_state", "nothing was paid, and nobody is owed anything")
    legs = [
        *_given_back(fin, parting, lane),
        Leg(accounts.platform(Pocket.FEES, lane), parting.platform, CANCELLATION_FEE),
    ]
    if fin.vendor_id is not None:
        legs.append(Leg(accounts.vendor(fin.vendor_id), parting.vendor, CANCELLATION_FEE))
    if fact.rider_id is not None:
        legs.append(Leg(accounts.rider(fact.rider_id), parting.rider, CANCELLATION_FEE))
    details = {
        "reason": fact.reason,
        "stage": fact.stage.value,
        "fault": fact.fault.value,
        "riderId": fact.rider_id,
        "matrix": MATRIX_VERSION,
    }
    return _entry(fact, "CANCEL", legs, fin.order_id, **details)


def _given_back(fin: Fin, parting: Parting, lane: int) -> list[Leg]:
    """Where the money of a cancelled order comes from, and what goes back where it came from."""
    pocket = accounts.platform(Pocket.GOODWILL, lane)
    if fin.method == Method.CASH:
        debtor = accounts.receivable("USER", fin.user_id)
        payer = debtor if parting.by_customer else pocket
        return [Leg(payer, -parting.paid, CANCELLATION_FEE)]
    kept = parting.paid if parting.by_customer else 0
    legs = [
        Leg(accounts.escrow(fin.order_id), -fin.escrow, REFUND),
        Leg(accounts.user(fin.user_id), parting.customer, REFUND),
        Leg(
            accounts.platform(Pocket.PROMO, lane),
            fin.escrow - parting.customer - kept,
            DISCOUNT,
        ),
    ]
    if not parting.by_customer:
        legs.append(Leg(pocket, -parting.paid, CANCELLATION_FEE))
    return legs


def _part_refund(fact: PartRefund, fin: Fin, lane: int, means: Means) -> JournalEntry | Rejection:
    amount = checked(fact.amount)
    left = fin.pricing.total - fin.refunded
    if amount > left:
        return Rejection("insufficient_funds", f"{left} of {fin.pricing.total} may still go back")
    legs = [Leg(accounts.user(fin.user_id), amount, REFUND)]
    for leg in _borne(fact, fin, lane):
        legs += _within(leg, means)
    details = {"reason": fact.reason, "borneBy": fact.borne_by.value}
    return _entry(fact, "REFUND", legs, fin.order_id, **details)


def _borne(fact: PartRefund, fin: Fin, lane: int) -> list[Leg]:
    if fact.borne_by is BorneBy.PLATFORM:
        return [Leg(accounts.platform(Pocket.GOODWILL, lane), -fact.amount, REFUND)]
    if fact.borne_by is BorneBy.VENDOR:
        return [Leg(_vendor_of(fin), -fact.amount, REFUND)]
    before, after = shared(fin, fin.shared), shared(fin, fin.shared + fact.amount)
    legs = [
        Leg(account, before.get(account, 0) - amount, REFUND) for account, amount in after.items()
    ]
    rest = -fact.amount - sum(leg.amount for leg in legs)
    promo = _promo(fin, fin.shared + fact.amount) - _promo(fin, fin.shared)
    return [
        *legs,
        Leg(accounts.platform(Pocket.PROMO, lane), promo, DISCOUNT),
        Leg(accounts.commission(lane), rest - promo, REFUND),
    ]


def shared(fin: Fin, back: int) -> dict[str, int]:
    """What vendor and rider have given of `back` francs that went back to the customer.

    By the sum of all refunds and rounded down, so that nothing drifts; a refund of everything takes
    everything. The platform gives the rest.
    """
    parts = {accounts.rider(_rider_of(fin)): fin.pricing.rider_part}
    if fin.vendor_id is not None:
        parts[accounts.vendor(fin.vendor_id)] = fin.pricing.vendor_share
    return {account: back * amount // fin.pricing.total for account, amount in parts.items()}


def _promo(fin: Fin, back: int) -> int:
    return back * fin.pricing.discount // fin.pricing.total


def _within(leg: Leg, means: Means) -> list[Leg]:
    """A debit that a wallet cannot bear is owed to us instead; a refund never fails for it."""
    kind = kind_of(leg.account)
    if kind not in accounts.OWNERS or leg.amount >= 0:
        return [leg]
    taken = min(-leg.amount, max(0, means.get(leg.account, 0)))
    debtor = accounts.receivable(*leg.account.split("#"))
    return [Leg(leg.account, -taken, leg.category), Leg(debtor, leg.amount + taken, REFUND)]


def _tip(fact: Tip, fin: Fin) -> JournalEntry | Rejection:
    amount = checked(fact.amount)
    if fact.user_id != fin.user_id:
        return Rejection("not_found", f"there is no order {fact.order_id} of yours")
    legs = [
        Leg(accounts.user(fin.user_id), -amount, TIP),
        Leg(accounts.rider(_rider_of(fin)), amount, TIP),
    ]
    return _entry(fact, "TIP", legs, fin.order_id)


def _remittance(fact: Remittance, lane: int) -> JournalEntry:
    amount = checked(fact.amount)
    legs = [
        Leg(accounts.clearing(fact.desk, lane), -amount, CASH_HANDED_IN),
        Leg(accounts.rider_cash(fact.rider_id), amount, CASH_HANDED_IN),
    ]
    return _entry(fact, "REMIT", legs)


def _netting(fact: Netting) -> JournalEntry:
    wallet = accounts.owner(fact.owner_type, fact.owner_id)
    legs = [Leg(wallet, -checked(fact.cash + fact.debt), NETTING)]
    if fact.cash:
        assert fact.owner_type == Kind.RIDER, "only riders carry cash"
        legs.append(Leg(accounts.rider_cash(fact.owner_id), checked(fact.cash), NETTING))
    if fact.debt:
        debtor = accounts.receivable(fact.owner_type, fact.owner_id)
        legs.append(Leg(debtor, checked(fact.debt), NETTING))
    return _entry(fact, "NET", legs)


def _adjustment(fact: Adjustment) -> JournalEntry | Rejection:
    if fact.maker == fact.checker:
        return Rejection("conflict", "another person than the maker must agree")
    for each in fact.corrections:
        kind = kind_of(each.account)
        if kind is Kind.ORDER or (kind is Kind.RIDERCASH and each.amount < 0):
            raise ValueError(f"{each.account} is moved by the steps of orders alone")
    legs = [Leg(each.account, each.amount, ADJUSTMENT) for each in fact.corrections]
    told = {"reason": fact.reason, "maker": fact.maker, "checker": fact.checker}
    return _entry(fact, "ADJUST", legs, **told)


def _payout(fact: PayoutPaid | PayoutReturned, lane: int) -> JournalEntry:
    amount = checked(fact.amount)
    wallet = accounts.owner(fact.owner_type, fact.owner_id)
    clearing = accounts.clearing(fact.provider, lane)
    if isinstance(fact, PayoutReturned):
        legs = [Leg(wallet, amount, PAYOUT_RETURNED), Leg(clearing, -amount, PAYOUT_RETURNED)]
        return _entry(fact, "RETURNED", legs, reason=fact.reason)
    fees = accounts.platform(Pocket.PROVIDER_FEES, lane)
    legs = [
        Leg(wallet, -amount, PAYOUT),
        Leg(clearing, amount + fact.fee, PAYOUT),
        Leg(fees, -fact.fee, PAYOUT),
    ]
    return _entry(fact, "PAID", legs, provider=fact.provider)


# In which states an order's money must be for a fact.
def _states(fact: OrderFact, fin: Fin) -> tuple[FinState, ...]:
    match fact:
        case Settle():
            return (FinState.DELIVERED,)
        case Refund():
            return (FinState.DUE if fin.method is Method.CASH else FinState.CAPTURED,)
        case PartRefund():
            return (FinState.SETTLED,)
        case Tip():
            return (FinState.DELIVERED, FinState.SETTLED)


def _not_now(fact: OrderFact, fin: Fin | None) -> Rejection | None:
    if fin is None:
        return Rejection("not_found", f"no money is kept for order {fact.order_id}")
    wanted = _states(fact, fin)
    if fin.fin_state not in wanted:
        named = " or ".join(wanted)
        return Rejection("wrong_state", f"the order's money is {fin.fin_state}, not {named}")
    return None


def _there(fin: Fin | None) -> Fin:
    assert fin is not None, "checked before"
    return fin


def _rider_of(fin: Fin) -> str:
    assert fin.rider_id is not None, "a delivered order had a rider"
    return fin.rider_id


def _vendor_of(fin: Fin) -> str:
    if fin.vendor_id is None:
        raise ValueError("a parcel has no vendor to bear a refund")
    return accounts.vendor(fin.vendor_id)
