"""From what happened to who is owed what: facts in, a balanced entry or a refusal out."""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.core import accounts
from ledger.core.accounts import AccountKind, PlatformAccount, kind_of
from ledger.core.cancellation_matrix import MATRIX_VERSION, CancellationSplit, split_cancellation
from ledger.core.entries import JournalEntry, Leg, balance_legs, hash_fact
from ledger.core.facts import (
    Adjustment,
    BorneBy,
    Capture,
    Fact,
    Netting,
    OrderFact,
    PartialRefund,
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
from ledger.core.money import checked_amount
from ledger.core.order_funds import FundingMethod, FundsState, OrderFunds

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

AvailableBalances = Mapping[str, int]
_NONE_AVAILABLE: AvailableBalances = {}


def plan_entry(
    fact: Fact, funds: OrderFunds | None, shard: int, available: AvailableBalances = _NONE_AVAILABLE
) -> JournalEntry | Rejection:
    """The entry of a fact.

    `fin` is the order's money, which settlements, refunds and tips depend on; `lane` says which
    lane of our own accounts to use; `means` is what a refund may take from the parties' wallets.

    Errors: Unbalanced or ValueError for facts that cannot be true.
    """
    match fact:
        case TopUp():
            return _top_up(fact, shard)
        case Capture():
            return _capture(fact, shard)
        case Settle() | Refund() | PartialRefund() | Tip():
            refused = _check_state(fact, funds)
            return refused or _plan_order_fact(fact, _require_funds(funds), shard, available)
        case Remittance():
            return _remittance(fact, shard)
        case Netting():
            return _netting(fact)
        case Adjustment():
            return _adjustment(fact)
        case PayoutPaid() | PayoutReturned():
            return _payout(fact, shard)


def _plan_order_fact(
    fact: OrderFact, funds: OrderFunds, shard: int, available: AvailableBalances
) -> JournalEntry | Rejection:
    match fact:
        case Settle():
            return _settle(fact, funds, shard)
        case Refund():
            return _refund(fact, funds, shard)
        case PartialRefund():
            return _part_refund(fact, funds, shard, available)
        case Tip():
            return _tip(fact, funds)


def _build_entry(
    fact: Fact, kind: str, legs: Sequence[Leg], order_id: str | None = None, **details: Any
) -> JournalEntry:
    return JournalEntry(
        key=entry_key(fact),
        kind=kind,
        fact_hash=hash_fact(fact),
        legs=balance_legs(legs),
        order_id=order_id,
        details=details,
    )


def _top_up(fact: TopUp, shard: int) -> JournalEntry:
    amount = checked_amount(fact.amount)
    legs = [
        Leg(accounts.clearing(fact.provider, shard), -amount, TOP_UP),
        Leg(accounts.user(fact.user_id), amount, TOP_UP),
    ]
    return _build_entry(fact, "TOPUP", legs)


def _capture(fact: Capture, shard: int) -> JournalEntry:
    total, gross = checked_amount(fact.pricing.total), fact.pricing.gross
    if fact.method == FundingMethod.WALLET:
        source = accounts.user(fact.user_id)
    else:
        if fact.provider is None or fact.payment_id is None:
            raise ValueError("mobile money comes from a provider's payment")
        source = accounts.clearing(fact.provider, shard)
    legs = [
        Leg(source, -total, ORDER_PAYMENT),
        Leg(accounts.platform(PlatformAccount.PROMO, shard), total - gross, DISCOUNT),
        Leg(accounts.escrow(fact.order_id), gross, ORDER_PAYMENT),
    ]
    paid = {"method": fact.method, "provider": fact.provider, "paymentId": fact.payment_id}
    return _build_entry(fact, "CAPTURE", legs, fact.order_id, **paid)


def _settle(fact: Settle, funds: OrderFunds, shard: int) -> JournalEntry:
    pricing = funds.pricing
    assert funds.rider_id is not None, "a delivered order had a rider"
    legs = [
        Leg(accounts.rider(funds.rider_id), pricing.rider_total, ORDER_EARNINGS),
        Leg(accounts.commission(shard), pricing.commission, COMMISSION),
    ]
    if funds.method == FundingMethod.CASH:
        legs.append(Leg(accounts.rider_cash(funds.rider_id), -pricing.total, CASH_COLLECTED))
        legs.append(
            Leg(accounts.platform(PlatformAccount.PROMO, shard), -pricing.discount, DISCOUNT)
        )
    else:
        legs.append(Leg(accounts.escrow(funds.order_id), -funds.escrow, ORDER_EARNINGS))
    if funds.vendor_id is not None:
        legs.append(Leg(accounts.vendor(funds.vendor_id), pricing.vendor_share, ORDER_EARNINGS))
    return _build_entry(fact, "SETTLE", legs, funds.order_id, rateVersion=pricing.rate_version)


def cancellation_split(fact: Refund, funds: OrderFunds) -> CancellationSplit:
    """How the order's money is divided when it is called off."""
    return split_cancellation(
        funds.pricing, fact.stage, fact.fault, has_rider=fact.rider_id is not None
    )


def _refund(fact: Refund, funds: OrderFunds, shard: int) -> JournalEntry | Rejection:
    parting = cancellation_split(fact, funds)
    if funds.method == FundingMethod.CASH and not parting.compensation:
        return Rejection("wrong_state", "nothing was paid, and nobody is owed anything")
    legs = [
        *_repayment_legs(funds, parting, shard),
        Leg(accounts.platform(PlatformAccount.FEES, shard), parting.platform, CANCELLATION_FEE),
    ]
    if funds.vendor_id is not None:
        legs.append(Leg(accounts.vendor(funds.vendor_id), parting.vendor, CANCELLATION_FEE))
    if fact.rider_id is not None:
        legs.append(Leg(accounts.rider(fact.rider_id), parting.rider, CANCELLATION_FEE))
    details = {
        "reason": fact.reason,
        "stage": fact.stage.value,
        "fault": fact.fault.value,
        "riderId": fact.rider_id,
        "matrix": MATRIX_VERSION,
    }
    return _build_entry(fact, "CANCEL", legs, funds.order_id, **details)


def _repayment_legs(funds: OrderFunds, split: CancellationSplit, shard: int) -> list[Leg]:
    """Where the money of a cancelled order comes from, and what goes back where it came from."""
    pocket = accounts.platform(PlatformAccount.GOODWILL, shard)
    if funds.method == FundingMethod.CASH:
        debtor = accounts.receivable("USER", funds.user_id)
        payer = debtor if split.is_customer_fault else pocket
        return [Leg(payer, -split.compensation, CANCELLATION_FEE)]
    kept = split.compensation if split.is_customer_fault else 0
    legs = [
        Leg(accounts.escrow(funds.order_id), -funds.escrow, REFUND),
        Leg(accounts.user(funds.user_id), split.customer, REFUND),
        Leg(
            accounts.platform(PlatformAccount.PROMO, shard),
            funds.escrow - split.customer - kept,
            DISCOUNT,
        ),
    ]
    if not split.is_customer_fault:
        legs.append(Leg(pocket, -split.compensation, CANCELLATION_FEE))
    return legs


def _part_refund(
    fact: PartialRefund, funds: OrderFunds, shard: int, available: AvailableBalances
) -> JournalEntry | Rejection:
    amount = checked_amount(fact.amount)
    left = funds.pricing.total - funds.refunded
    if amount > left:
        return Rejection("insufficient_funds", f"{left} of {funds.pricing.total} may still go back")
    legs = [Leg(accounts.user(funds.user_id), amount, REFUND)]
    for leg in _bearer_legs(fact, funds, shard):
        legs += _limit_to_available(leg, available)
    details = {"reason": fact.reason, "borneBy": fact.borne_by.value}
    return _build_entry(fact, "REFUND", legs, funds.order_id, **details)


def _bearer_legs(fact: PartialRefund, funds: OrderFunds, shard: int) -> list[Leg]:
    if fact.borne_by is BorneBy.PLATFORM:
        return [Leg(accounts.platform(PlatformAccount.GOODWILL, shard), -fact.amount, REFUND)]
    if fact.borne_by is BorneBy.VENDOR:
        return [Leg(_require_vendor_account(funds), -fact.amount, REFUND)]
    before, after = (
        bearer_shares(funds, funds.shared),
        bearer_shares(funds, funds.shared + fact.amount),
    )
    legs = [
        Leg(account, before.get(account, 0) - amount, REFUND) for account, amount in after.items()
    ]
    rest = -fact.amount - sum(leg.amount for leg in legs)
    promo = _discount_share(funds, funds.shared + fact.amount) - _discount_share(
        funds, funds.shared
    )
    return [
        *legs,
        Leg(accounts.platform(PlatformAccount.PROMO, shard), promo, DISCOUNT),
        Leg(accounts.commission(shard), rest - promo, REFUND),
    ]


def bearer_shares(funds: OrderFunds, refunded: int) -> dict[str, int]:
    """What vendor and rider have given of `back` francs that went back to the customer.

    By the sum of all refunds and rounded down, so that nothing drifts; a refund of everything takes
    everything. The platform gives the rest.
    """
    parts = {accounts.rider(_require_rider_id(funds)): funds.pricing.rider_total}
    if funds.vendor_id is not None:
        parts[accounts.vendor(funds.vendor_id)] = funds.pricing.vendor_share
    return {account: refunded * amount // funds.pricing.total for account, amount in parts.items()}


def _discount_share(funds: OrderFunds, refunded: int) -> int:
    return refunded * funds.pricing.discount // funds.pricing.total


def _limit_to_available(leg: Leg, available: AvailableBalances) -> list[Leg]:
    """A debit that a wallet cannot bear is owed to us instead; a refund never fails for it."""
    kind = kind_of(leg.account)
    if kind not in accounts.OWNERS or leg.amount >= 0:
        return [leg]
    taken = min(-leg.amount, max(0, available.get(leg.account, 0)))
    debtor = accounts.receivable(*leg.account.split("#"))
    return [Leg(leg.account, -taken, leg.category), Leg(debtor, leg.amount + taken, REFUND)]


def _tip(fact: Tip, funds: OrderFunds) -> JournalEntry | Rejection:
    amount = checked_amount(fact.amount)
    if fact.user_id != funds.user_id:
        return Rejection("not_found", f"there is no order {fact.order_id} of yours")
    legs = [
        Leg(accounts.user(funds.user_id), -amount, TIP),
        Leg(accounts.rider(_require_rider_id(funds)), amount, TIP),
    ]
    return _build_entry(fact, "TIP", legs, funds.order_id)


def _remittance(fact: Remittance, shard: int) -> JournalEntry:
    amount = checked_amount(fact.amount)
    legs = [
        Leg(accounts.clearing(fact.desk, shard), -amount, CASH_HANDED_IN),
        Leg(accounts.rider_cash(fact.rider_id), amount, CASH_HANDED_IN),
    ]
    return _build_entry(fact, "REMIT", legs)


def _netting(fact: Netting) -> JournalEntry:
    wallet = accounts.owner(fact.owner_type, fact.owner_id)
    legs = [Leg(wallet, -checked_amount(fact.cash + fact.debt), NETTING)]
    if fact.cash:
        assert fact.owner_type == AccountKind.RIDER, "only riders carry cash"
        legs.append(Leg(accounts.rider_cash(fact.owner_id), checked_amount(fact.cash), NETTING))
    if fact.debt:
        debtor = accounts.receivable(fact.owner_type, fact.owner_id)
        legs.append(Leg(debtor, checked_amount(fact.debt), NETTING))
    return _build_entry(fact, "NET", legs)


def _adjustment(fact: Adjustment) -> JournalEntry | Rejection:
    if fact.maker == fact.checker:
        return Rejection("conflict", "another person than the maker must agree")
    for each in fact.corrections:
        kind = kind_of(each.account)
        if kind is AccountKind.ORDER or (kind is AccountKind.RIDERCASH and each.amount < 0):
            raise ValueError(f"{each.account} is moved by the steps of orders alone")
    legs = [Leg(each.account, each.amount, ADJUSTMENT) for each in fact.corrections]
    told = {"reason": fact.reason, "maker": fact.maker, "checker": fact.checker}
    return _build_entry(fact, "ADJUST", legs, **told)


def _payout(fact: PayoutPaid | PayoutReturned, shard: int) -> JournalEntry:
    amount = checked_amount(fact.amount)
    wallet = accounts.owner(fact.owner_type, fact.owner_id)
    clearing = accounts.clearing(fact.provider, shard)
    if isinstance(fact, PayoutReturned):
        legs = [Leg(wallet, amount, PAYOUT_RETURNED), Leg(clearing, -amount, PAYOUT_RETURNED)]
        return _build_entry(fact, "RETURNED", legs, reason=fact.reason)
    fees = accounts.platform(PlatformAccount.PROVIDER_FEES, shard)
    legs = [
        Leg(wallet, -amount, PAYOUT),
        Leg(clearing, amount + fact.fee, PAYOUT),
        Leg(fees, -fact.fee, PAYOUT),
    ]
    return _build_entry(fact, "PAID", legs, provider=fact.provider)


# In which states an order's money must be for a fact.
def _required_states(fact: OrderFact, funds: OrderFunds) -> tuple[FundsState, ...]:
    match fact:
        case Settle():
            return (FundsState.DELIVERED,)
        case Refund():
            return (FundsState.DUE if funds.method is FundingMethod.CASH else FundsState.CAPTURED,)
        case PartialRefund():
            return (FundsState.SETTLED,)
        case Tip():
            return (FundsState.DELIVERED, FundsState.SETTLED)


def _check_state(fact: OrderFact, funds: OrderFunds | None) -> Rejection | None:
    if funds is None:
        return Rejection("not_found", f"no money is kept for order {fact.order_id}")
    wanted = _required_states(fact, funds)
    if funds.funds_state not in wanted:
        named = " or ".join(wanted)
        return Rejection("wrong_state", f"the order's money is {funds.funds_state}, not {named}")
    return None


def _require_funds(funds: OrderFunds | None) -> OrderFunds:
    assert funds is not None, "checked before"
    return funds


def _require_rider_id(funds: OrderFunds) -> str:
    assert funds.rider_id is not None, "a delivered order had a rider"
    return funds.rider_id


def _require_vendor_account(funds: OrderFunds) -> str:
    if funds.vendor_id is None:
        raise ValueError("a parcel has no vendor to bear a refund")
    return accounts.vendor(funds.vendor_id)
