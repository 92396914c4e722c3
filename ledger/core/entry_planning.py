"""Planning of journal entries: a fact in, a balanced entry or a rejection out."""

from ledger.core import accounts
from ledger.core import line_categories as categories
from ledger.core.accounts import AccountKind, PlatformAccount, kind_of
from ledger.core.entries import JournalEntry, Leg, build_entry
from ledger.core.facts import (
    Adjustment,
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
from ledger.core.money import checked_amount
from ledger.core.order_entries import (
    NONE_AVAILABLE,
    AvailableBalances,
    limit_to_available,
    plan_order_entry,
)
from ledger.core.order_funds import OrderFunds, PaymentMethod


def plan_entry(
    fact: Fact, funds: OrderFunds | None, shard: int, available: AvailableBalances = NONE_AVAILABLE
) -> JournalEntry | Rejection:
    """The journal entry of a fact.

    `funds` are the order's funds, which settlements, refunds and tips depend on; `shard` is the
    shard of the platform's accounts to use; `available` is what a refund, or a payout paid late,
    may take from wallets.

    Units: whole XAF.

    Errors: UnbalancedEntry or ValueError for facts that cannot be true.
    """
    match fact:
        case TopUp():
            return _top_up(fact, shard)
        case Capture():
            return _capture(fact, shard)
        case Settle() | Refund() | PartialRefund() | Tip():
            return plan_order_entry(fact, funds, shard, available)
        case Remittance():
            return _remittance(fact, shard)
        case Netting():
            return _netting(fact)
        case Adjustment():
            return _adjustment(fact)
        case PayoutPaid() | PayoutReturned():
            return _payout(fact, shard)
        case PayoutPaidLate():
            return _late_payout(fact, shard, available)


def _top_up(fact: TopUp, shard: int) -> JournalEntry:
    amount = checked_amount(fact.amount)
    legs = [
        Leg(accounts.clearing(fact.provider, shard), -amount, categories.TOP_UP),
        Leg(accounts.user(fact.user_id), amount, categories.TOP_UP),
    ]
    return build_entry(fact, "TOPUP", legs)


def _capture(fact: Capture, shard: int) -> JournalEntry:
    total, gross = checked_amount(fact.pricing.total), fact.pricing.gross
    if fact.method == PaymentMethod.WALLET:
        source = accounts.user(fact.user_id)
    else:
        if fact.provider is None or fact.payment_id is None:
            raise ValueError("a mobile money capture needs a provider and a payment id")
        source = accounts.clearing(fact.provider, shard)
    legs = [
        Leg(source, -total, categories.ORDER_PAYMENT),
        Leg(accounts.platform(PlatformAccount.PROMO, shard), total - gross, categories.DISCOUNT),
        Leg(accounts.escrow(fact.order_id), gross, categories.ORDER_PAYMENT),
    ]
    details = {"method": fact.method, "provider": fact.provider, "paymentId": fact.payment_id}
    return build_entry(fact, "CAPTURE", legs, fact.order_id, **details)


def _remittance(fact: Remittance, shard: int) -> JournalEntry:
    amount = checked_amount(fact.amount)
    legs = [
        Leg(accounts.clearing(fact.desk, shard), -amount, categories.CASH_HANDED_IN),
        Leg(accounts.rider_cash(fact.rider_id), amount, categories.CASH_HANDED_IN),
    ]
    return build_entry(fact, "REMIT", legs)


def _netting(fact: Netting) -> JournalEntry:
    wallet = accounts.owner(fact.owner_type, fact.owner_id)
    legs = [Leg(wallet, -checked_amount(fact.cash + fact.debt), categories.NETTING)]
    if fact.cash:
        assert fact.owner_type == AccountKind.RIDER, "only riders carry cash"
        legs.append(
            Leg(accounts.rider_cash(fact.owner_id), checked_amount(fact.cash), categories.NETTING)
        )
    if fact.debt:
        debtor = accounts.receivable(fact.owner_type, fact.owner_id)
        legs.append(Leg(debtor, checked_amount(fact.debt), categories.NETTING))
    return build_entry(fact, "NET", legs)


def _adjustment(fact: Adjustment) -> JournalEntry | Rejection:
    if fact.maker == fact.checker:
        return Rejection(
            "conflict", "an adjustment must be approved by another person than its maker"
        )
    for each in fact.corrections:
        kind = kind_of(each.account)
        if kind is AccountKind.ORDER or (kind is AccountKind.RIDERCASH and each.amount < 0):
            raise ValueError(f"{each.account} cannot be adjusted: only orders move it")
    legs = [Leg(each.account, each.amount, categories.ADJUSTMENT) for each in fact.corrections]
    details = {"reason": fact.reason, "maker": fact.maker, "checker": fact.checker}
    return build_entry(fact, "ADJUST", legs, **details)


def _payout(fact: PayoutPaid | PayoutReturned, shard: int) -> JournalEntry:
    amount = checked_amount(fact.amount)
    wallet = accounts.owner(fact.owner_type, fact.owner_id)
    clearing = accounts.clearing(fact.provider, shard)
    if isinstance(fact, PayoutReturned):
        legs = [
            Leg(wallet, amount, categories.PAYOUT_RETURNED),
            Leg(clearing, -amount, categories.PAYOUT_RETURNED),
        ]
        return build_entry(fact, "RETURNED", legs, reason=fact.reason)
    fees = accounts.platform(PlatformAccount.PROVIDER_FEES, shard)
    legs = [
        Leg(wallet, -amount, categories.PAYOUT),
        Leg(clearing, amount + fact.fee, categories.PAYOUT),
        Leg(fees, -fact.fee, categories.PAYOUT),
    ]
    return build_entry(fact, "PAID", legs, provider=fact.provider)


def _late_payout(fact: PayoutPaidLate, shard: int, available: AvailableBalances) -> JournalEntry:
    amount = checked_amount(fact.amount)
    wallet = Leg(
        accounts.owner(fact.owner_type, fact.owner_id), -amount, categories.PAYOUT_PAID_LATE
    )
    fees = accounts.platform(PlatformAccount.PROVIDER_FEES, shard)
    legs = [
        *limit_to_available(wallet, available),
        Leg(accounts.clearing(fact.provider, shard), amount + fact.fee, categories.PAYOUT),
        Leg(fees, -fact.fee, categories.PAYOUT),
    ]
    return build_entry(fact, "PAID", legs, provider=fact.provider, isLate=True)
