"""Facts about money: one struct per kind of event, and the key of its journal entry."""

from enum import StrEnum
from typing import Literal

import msgspec

from ledger.core import accounts
from ledger.core.cancellation_matrix import Fault, Stage
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import Key

RejectionCode = Literal["insufficient_funds", "frozen", "conflict", "wrong_state", "not_found"]
OwnerType = Literal["USER", "VENDOR", "RIDER"]


class BorneBy(StrEnum):
    """Who pays a refund after the settlement."""

    # Vendor, rider and platform, each in proportion to its part of the order.
    PARTIES = "PARTIES"
    VENDOR = "VENDOR"
    PLATFORM = "PLATFORM"


class TopUp(msgspec.Struct, frozen=True):
    """A provider confirmed that a customer paid into its wallet. Units: whole XAF."""

    user_id: str
    amount: int
    provider: str
    payment_id: str


class Capture(msgspec.Struct, frozen=True):
    """A customer paid for an order, from the wallet or through a provider. Units: whole XAF."""

    order_id: str
    user_id: str
    vendor_id: str | None
    method: Literal["WALLET", "MOBILE_MONEY"]
    pricing: Pricing
    payment_id: str | None = None
    provider: str | None = None


class Settle(msgspec.Struct, frozen=True):
    """A delivered order's money is split between its parties; all amounts are in its FUNDS item."""

    order_id: str


class Refund(msgspec.Struct, frozen=True):
    """An order is cancelled before delivery, at a stage and by somebody's fault.

    `cancellation_matrix` says who is paid for the work done until then; `rider_id` is the assigned
    rider.
    """

    order_id: str
    reason: str
    stage: Stage = Stage.PENDING
    fault: Fault = Fault.PLATFORM
    rider_id: str | None = None


class PartialRefund(msgspec.Struct, frozen=True):
    """A customer gets money back for a settled order. Units: whole XAF."""

    order_id: str
    refund_id: str
    amount: int
    reason: str
    borne_by: BorneBy = BorneBy.PARTIES


class Tip(msgspec.Struct, frozen=True):
    """A customer tips the rider of a delivered order from the wallet. Units: whole XAF."""

    order_id: str
    tip_id: str
    user_id: str
    amount: int


class Remittance(msgspec.Struct, frozen=True):
    """A rider handed in collected cash. Units: whole XAF.

    `desk` is where: the platform's own cash desk, or an agent or provider.
    """

    rider_id: str
    remittance_id: str
    amount: int
    desk: str


class Netting(msgspec.Struct, frozen=True):
    """An owner's debts are deducted from its wallet before a payout. Units: whole XAF.

    `cash` is the cash that a rider has not remitted, `debt` what a refund could not take.
    """

    payout_id: str
    owner_type: OwnerType
    owner_id: str
    cash: int
    debt: int


class AdjustmentLeg(msgspec.Struct, frozen=True):
    """One leg of an adjustment, as its maker wrote it. Units: whole XAF."""

    account: str
    amount: int


class Adjustment(msgspec.Struct, frozen=True):
    """A correction of the books, or a loss, that two people agreed on. Units: whole XAF."""

    adjustment_id: str
    corrections: tuple[AdjustmentLeg, ...]
    reason: str
    maker: str
    checker: str


class PayoutPaid(msgspec.Struct, frozen=True):
    """A provider has paid a payout; `fee` is what it charged the platform. Units: whole XAF."""

    payout_id: str
    owner_type: OwnerType
    owner_id: str
    amount: int
    provider: str
    fee: int = 0


class PayoutPaidLate(msgspec.Struct, frozen=True):
    """A provider has paid a payout that was booked as failed. Units: whole XAF.

    Its hold is released by then: the owner's wallet pays as far as it can, and the rest is the
    owner's debt.
    """

    payout_id: str
    owner_type: OwnerType
    owner_id: str
    amount: int
    provider: str
    fee: int = 0


class PayoutReturned(msgspec.Struct, frozen=True):
    """A paid payout came back. Units: whole XAF."""

    payout_id: str
    owner_type: OwnerType
    owner_id: str
    amount: int
    provider: str
    reason: str


Fact = (
    TopUp
    | Capture
    | Settle
    | Refund
    | PartialRefund
    | Tip
    | Remittance
    | Netting
    | Adjustment
    | PayoutPaid
    | PayoutPaidLate
    | PayoutReturned
)
# Facts that depend on the current state of the order's funds.
OrderFact = Settle | Refund | PartialRefund | Tip


class Rejection(msgspec.Struct, frozen=True):
    """Why a fact cannot become an entry."""

    code: RejectionCode
    message: str


def entry_key(fact: Fact) -> Key:
    """Key of a fact's entry: one fact, one key, one entry."""
    match fact:
        case TopUp():
            return Key(payment_pk(fact.provider, fact.payment_id), "JE#TOPUP")
        case Capture() | Settle() | Refund() | PartialRefund() | Tip():
            return Key(accounts.escrow(fact.order_id), _order_sort_key(fact))
        case Remittance():
            return Key(f"REMITTANCE#{accounts.checked_id(fact.remittance_id)}", "JE#REMIT")
        case Adjustment():
            return Key(adjustment_pk(fact.adjustment_id), "JE#ADJUST")
        case Netting():
            return Key(payout_pk(fact.payout_id), "JE#NET")
        case PayoutPaid() | PayoutPaidLate():
            # One key: a payout is paid once, whenever that is reported.
            return paid_entry_key(fact.payout_id)
        case PayoutReturned():
            return Key(payout_pk(fact.payout_id), "JE#RETURNED")


def _order_sort_key(fact: Capture | Settle | Refund | PartialRefund | Tip) -> str:
    match fact:
        case Capture():
            return "JE#CAPTURE"
        case Settle():
            return "JE#SETTLE"
        case Refund():
            return "JE#CANCEL"
        case PartialRefund():
            return f"JE#REFUND#{accounts.checked_id(fact.refund_id)}"
        case Tip():
            return f"JE#TIP#{accounts.checked_id(fact.tip_id)}"


def payment_pk(provider: str, payment_id: str) -> str:
    """Partition of one payment at a provider."""
    return f"PAYMENT#{accounts.checked_id(provider)}#{accounts.checked_id(payment_id)}"


def payout_pk(payout_id: str) -> str:
    """Partition of one payout."""
    return f"PAYOUT#{accounts.checked_id(payout_id)}"


def paid_entry_key(payout_id: str) -> Key:
    """Key of the entry of a paid payout."""
    return Key(payout_pk(payout_id), "JE#PAID")


def adjustment_pk(adjustment_id: str) -> str:
    """Partition of one adjustment."""
    return f"ADJUSTMENT#{accounts.checked_id(adjustment_id)}"
