"""Journal entries of orders: settlement, cancellation, partial refund and tip."""

from collections.abc import Mapping

from ledger.core import accounts
from ledger.core import line_categories as categories
from ledger.core.accounts import PlatformAccount, kind_of
from ledger.core.cancellation_matrix import MATRIX_VERSION, CancellationSplit, split_cancellation
from ledger.core.entries import JournalEntry, Leg, build_entry
from ledger.core.facts import (
    BorneBy,
    OrderFact,
    PartialRefund,
    Refund,
    Rejection,
    Settle,
    Tip,
)
from ledger.core.money import checked_amount
from ledger.core.order_funds import FundsState, OrderFunds, PaymentMethod

# What a refund may take from each wallet, by account. Units: whole XAF.
AvailableBalances = Mapping[str, int]
NONE_AVAILABLE: AvailableBalances = {}


def plan_order_entry(
    fact: OrderFact, funds: OrderFunds | None, shard: int, available: AvailableBalances
) -> JournalEntry | Rejection:
    """The journal entry of a fact about an order whose funds are given; see `plan_entry`.

    Units: whole XAF.
    """
    if funds is None:
        return Rejection("not_found", f"order {fact.order_id} has no funds")
    rejection = _check_state(fact, funds)
    if rejection is not None:
        return rejection
    match fact:
        case Settle():
            return _settle(fact, funds, shard)
        case Refund():
            return _refund(fact, funds, shard)
        case PartialRefund():
            return _part_refund(fact, funds, shard, available)
        case Tip():
            return _tip(fact, funds)


def _settle(fact: Settle, funds: OrderFunds, shard: int) -> JournalEntry:
    pricing = funds.pricing
    assert funds.rider_id is not None, "a delivered order had a rider"
    legs = [
        Leg(accounts.rider(funds.rider_id), pricing.rider_total, categories.ORDER_EARNINGS),
        Leg(accounts.commission(shard), pricing.commission, categories.COMMISSION),
    ]
    if funds.method == PaymentMethod.CASH:
        legs += _cash_legs(funds, shard)
    else:
        legs.append(Leg(accounts.escrow(funds.order_id), -funds.escrow, categories.ORDER_EARNINGS))
    if funds.vendor_id is not None:
        legs.append(
            Leg(accounts.vendor(funds.vendor_id), pricing.vendor_share, categories.ORDER_EARNINGS)
        )
    details: dict[str, int | str | None] = {"rateVersion": pricing.rate_version}
    if funds.cash_collected not in (None, pricing.total):
        details["cashCollected"] = funds.cash_collected
    return build_entry(fact, "SETTLE", legs, funds.order_id, **details)


def _cash_legs(funds: OrderFunds, shard: int) -> list[Leg]:
    """Legs of what the customer paid in cash, or owes, and of the discount.

    What the rider owes may differ from the price: the customer owes the rest, or is credited with
    it.
    """
    assert funds.rider_id is not None, "a delivered order had a rider"
    owed, pricing = funds.rider_owes, funds.pricing
    legs = [
        Leg(accounts.rider_cash(funds.rider_id), -owed, categories.CASH_COLLECTED),
        Leg(
            accounts.platform(PlatformAccount.PROMO, shard), -pricing.discount, categories.DISCOUNT
        ),
    ]
    if owed < pricing.total:
        debtor = accounts.receivable("USER", funds.user_id)
        legs.append(Leg(debtor, owed - pricing.total, categories.CASH_SHORTAGE))
    if owed > pricing.total:
        customer = accounts.user(funds.user_id)
        legs.append(Leg(customer, owed - pricing.total, categories.CASH_OVERPAID))
    return legs


def cancellation_split(fact: Refund, funds: OrderFunds) -> CancellationSplit:
    """Division of the order's money by the cancellation matrix. Units: whole XAF."""
    return split_cancellation(
        funds.pricing, fact.stage, fact.fault, has_rider=fact.rider_id is not None
    )


def _refund(fact: Refund, funds: OrderFunds, shard: int) -> JournalEntry | Rejection:
    split = cancellation_split(fact, funds)
    if funds.method == PaymentMethod.CASH and not split.compensation:
        return Rejection("wrong_state", "nothing was paid, and nobody is owed compensation")
    legs = [
        *_repayment_legs(funds, split, shard),
        Leg(
            accounts.platform(PlatformAccount.FEES, shard),
            split.platform,
            categories.CANCELLATION_FEE,
        ),
    ]
    if funds.vendor_id is not None:
        legs.append(
            Leg(accounts.vendor(funds.vendor_id), split.vendor, categories.CANCELLATION_FEE)
        )
    if fact.rider_id is not None:
        legs.append(Leg(accounts.rider(fact.rider_id), split.rider, categories.CANCELLATION_FEE))
    details = {
        "reason": fact.reason,
        "stage": fact.stage.value,
        "fault": fact.fault.value,
        "riderId": fact.rider_id,
        "matrix": MATRIX_VERSION,
    }
    return build_entry(fact, "CANCEL", legs, funds.order_id, **details)


def _repayment_legs(funds: OrderFunds, split: CancellationSplit, shard: int) -> list[Leg]:
    """Legs that empty the escrow, pay the customer back and pay for the compensation."""
    goodwill = accounts.platform(PlatformAccount.GOODWILL, shard)
    if funds.method == PaymentMethod.CASH:
        debtor = accounts.receivable("USER", funds.user_id)
        payer = debtor if split.is_customer_fault else goodwill
        return [Leg(payer, -split.compensation, categories.CANCELLATION_FEE)]
    kept = split.compensation if split.is_customer_fault else 0
    legs = [
        Leg(accounts.escrow(funds.order_id), -funds.escrow, categories.REFUND),
        Leg(accounts.user(funds.user_id), split.customer, categories.REFUND),
        Leg(
            accounts.platform(PlatformAccount.PROMO, shard),
            funds.escrow - split.customer - kept,
            categories.DISCOUNT,
        ),
    ]
    if not split.is_customer_fault:
        legs.append(Leg(goodwill, -split.compensation, categories.CANCELLATION_FEE))
    return legs


def _part_refund(
    fact: PartialRefund, funds: OrderFunds, shard: int, available: AvailableBalances
) -> JournalEntry | Rejection:
    amount = checked_amount(fact.amount)
    left = funds.pricing.total - funds.refunded
    if amount > left:
        return Rejection(
            "insufficient_funds", f"{left} of {funds.pricing.total} can still be refunded"
        )
    legs = [Leg(accounts.user(funds.user_id), amount, categories.REFUND)]
    for leg in _bearer_legs(fact, funds, shard):
        legs += limit_to_available(leg, available)
    details = {"reason": fact.reason, "borneBy": fact.borne_by.value}
    return build_entry(fact, "REFUND", legs, funds.order_id, **details)


def _bearer_legs(fact: PartialRefund, funds: OrderFunds, shard: int) -> list[Leg]:
    if fact.borne_by is BorneBy.PLATFORM:
        return [
            Leg(accounts.platform(PlatformAccount.GOODWILL, shard), -fact.amount, categories.REFUND)
        ]
    if fact.borne_by is BorneBy.VENDOR:
        return [Leg(_require_vendor_account(funds), -fact.amount, categories.REFUND)]
    before, after = (
        bearer_shares(funds, funds.shared),
        bearer_shares(funds, funds.shared + fact.amount),
    )
    legs = [
        Leg(account, before.get(account, 0) - amount, categories.REFUND)
        for account, amount in after.items()
    ]
    rest = -fact.amount - sum(leg.amount for leg in legs)
    promo = _discount_share(funds, funds.shared + fact.amount) - _discount_share(
        funds, funds.shared
    )
    return [
        *legs,
        Leg(accounts.platform(PlatformAccount.PROMO, shard), promo, categories.DISCOUNT),
        Leg(accounts.commission(shard), rest - promo, categories.REFUND),
    ]


def bearer_shares(funds: OrderFunds, refunded: int) -> dict[str, int]:
    """What vendor and rider have borne of `refunded` XAF, by account. Units: whole XAF.

    Computed from the sum of all refunds and rounded down, so that roundings do not add up; a refund
    of everything takes everything. The platform bears the rest.
    """
    shares = {accounts.rider(_require_rider_id(funds)): funds.pricing.rider_total}
    if funds.vendor_id is not None:
        shares[accounts.vendor(funds.vendor_id)] = funds.pricing.vendor_share
    return {account: refunded * share // funds.pricing.total for account, share in shares.items()}


def _discount_share(funds: OrderFunds, refunded: int) -> int:
    return refunded * funds.pricing.discount // funds.pricing.total


def limit_to_available(leg: Leg, available: AvailableBalances) -> list[Leg]:
    """Turn what a wallet cannot bear into a debt of its owner, so that the fact never fails.

    Units: whole XAF.
    """
    kind = kind_of(leg.account)
    if kind not in accounts.OWNERS or leg.amount >= 0:
        return [leg]
    taken = min(-leg.amount, max(0, available.get(leg.account, 0)))
    debtor = accounts.receivable(*leg.account.split("#"))
    return [
        Leg(leg.account, -taken, leg.category),
        Leg(debtor, leg.amount + taken, leg.category),
    ]


def _tip(fact: Tip, funds: OrderFunds) -> JournalEntry | Rejection:
    amount = checked_amount(fact.amount)
    if fact.user_id != funds.user_id:
        return Rejection("not_found", f"order {fact.order_id} is not yours")
    legs = [
        Leg(accounts.user(funds.user_id), -amount, categories.TIP),
        Leg(accounts.rider(_require_rider_id(funds)), amount, categories.TIP),
    ]
    return build_entry(fact, "TIP", legs, funds.order_id)


def _required_states(fact: OrderFact, funds: OrderFunds) -> tuple[FundsState, ...]:
    """States of the order's funds in which a fact can be posted."""
    match fact:
        case Settle():
            return (FundsState.DELIVERED,)
        case Refund():
            return (FundsState.DUE if funds.method is PaymentMethod.CASH else FundsState.CAPTURED,)
        case PartialRefund():
            return (FundsState.SETTLED,)
        case Tip():
            return (FundsState.DELIVERED, FundsState.SETTLED)


def _check_state(fact: OrderFact, funds: OrderFunds) -> Rejection | None:
    wanted = _required_states(fact, funds)
    if funds.funds_state not in wanted:
        names = " or ".join(wanted)
        return Rejection("wrong_state", f"the order's funds are {funds.funds_state}, not {names}")
    return None


def _require_rider_id(funds: OrderFunds) -> str:
    assert funds.rider_id is not None, "a delivered order had a rider"
    return funds.rider_id


def _require_vendor_account(funds: OrderFunds) -> str:
    if funds.vendor_id is None:
        raise ValueError("a PACKAGE order has no vendor to bear a refund")
    return accounts.vendor(funds.vendor_id)
