"""What can happen to money: one struct a fact, and the key under which its entry is kept."""

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
    """Whose money a refund after the settlement is."""

    # All who had a part of the order, each by his part.
    PARTIES = "PARTIES"
    VENDOR = "VENDOR"
    PLATFORM = "PLATFORM"


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
    """A delivered order's money goes to those who earned it; everything else is in its FUNDS."""

    order_id: str


class Refund(msgspec.Struct, frozen=True):
    """An order is called off before delivery, at a stage and by somebody's fault.

    The matrix of `cancellation_matrix` says who is paid for what he had done by then; `rider_id` is
    the rider who was on his way.
    """

    order_id: str
    reason: str
    stage: Stage = Stage.PENDING
    fault: Fault = Fault.PLATFORM
    rider_id: str | None = None


class PartialRefund(msgspec.Struct, frozen=True):
    """A customer gets money back for an order that was settled. Units: whole XAF."""

    order_id: str
    refund_id: str
    amount: int
    reason: str
    borne_by: BorneBy = BorneBy.PARTIES


class Tip(msgspec.Struct, frozen=True):
    """A customer thanks the rider of a delivered order, out of his wallet. Units: whole XAF."""

    order_id: str
    tip_id: str
    user_id: str
    amount: int


class Remittance(msgspec.Struct, frozen=True):
    """A rider handed in cash that he had collected. Units: whole XAF.

    `desk` is where: our own, or an agent's or provider's.
    """

    rider_id: str
    remittance_id: str
    amount: int
    desk: str


class Netting(msgspec.Struct, frozen=True):
    """What an owner owes us is taken from his wallet before he draws from it. Units: whole XAF.

    `cash` is what a rider has in hand, `debt` what a refund could not take from the wallet.
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
    """Two people agree that the books were wrong, or that something was lost."""

    adjustment_id: str
    corrections: tuple[AdjustmentLeg, ...]
    reason: str
    maker: str
    checker: str


class PayoutPaid(msgspec.Struct, frozen=True):
    """A provider has paid out of a wallet; `fee` is what he took from us. Units: whole XAF."""

    payout_id: str
    owner_type: OwnerType
    owner_id: str
    amount: int
    provider: str
    fee: int = 0


class PayoutReturned(msgspec.Struct, frozen=True):
    """A payout that was paid came back. Units: whole XAF."""

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
    | PayoutReturned
)
# Facts that depend on the order's money as it stands.
OrderFact = Settle | Refund | PartialRefund | Tip


class Rejection(msgspec.Struct, frozen=True):
    """Why a fact cannot become an entry."""

    code: RejectionCode
    message: str


def entry_key(fact: Fact) -> Key:
    """Where the entry of a fact is kept: one fact, one key, one entry for ever."""
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
        case PayoutPaid():
            return Key(payout_pk(fact.payout_id), "JE#PAID")
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
    """The partition of one payment at a provider."""
    return f"PAYMENT#{accounts.checked_id(provider)}#{accounts.checked_id(payment_id)}"


def payout_pk(payout_id: str) -> str:
    """The partition of one payout."""
    return f"PAYOUT#{accounts.checked_id(payout_id)}"


def adjustment_pk(adjustment_id: str) -> str:
    """The partition of one adjustment."""
    return f"ADJUSTMENT#{accounts.checked_id(adjustment_id)}"
