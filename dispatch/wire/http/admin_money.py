"""Bodies of the operators' money endpoints: payouts, refunds, cash, adjustments, wallets."""

from typing import Annotated, Literal

from msgspec import Meta

from dispatch.wire.commands import Id, Reason
from dispatch.wire.http.base import LargeAmount, OperatorRequest, ProviderName, RequiredText


class PayoutOutcome(OperatorRequest, frozen=True, kw_only=True):
    """The outcome of a payout that was carried out by hand, or that came back. Units: whole XAF."""

    status: Literal["PAID", "FAILED", "RETURNED"]
    fee: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    reason: Reason = ""


class PayoutGate(OperatorRequest, frozen=True, kw_only=True):
    """Stop payouts, or let them continue."""

    stopped: bool
    reason: RequiredText


class RefundBody(OperatorRequest, frozen=True, kw_only=True):
    """Refund a part of a settled order, and who bears the cost. Units: whole XAF."""

    amount: LargeAmount
    reason: RequiredText
    borne_by: Literal["PARTIES", "VENDOR", "PLATFORM"] = "PARTIES"


class RemittanceBody(OperatorRequest, frozen=True, kw_only=True):
    """Cash that a rider handed in; a `reference` counts once. Units: whole XAF."""

    amount: LargeAmount
    desk: ProviderName = "cashdesk"
    reference: Id | None = None


class ShortageBody(OperatorRequest, frozen=True, kw_only=True):
    """Cash that a rider cannot hand in, and who bears the loss. Units: whole XAF."""

    amount: LargeAmount
    charge: Literal["PLATFORM", "RIDER", "CUSTOMER"]
    reason: RequiredText
    customer_id: Id | None = None


class AdjustmentLegBody(OperatorRequest, frozen=True, kw_only=True):
    """One leg of an adjustment: a credit above zero, a debit below. Units: whole XAF."""

    account: Annotated[str, Meta(min_length=3, max_length=150)]
    amount: Annotated[int, Meta(ge=-1_000_000_000_000, le=1_000_000_000_000)]


class AdjustmentBody(OperatorRequest, frozen=True, kw_only=True):
    """An adjustment of the books, written by hand; its legs sum to zero."""

    legs: Annotated[list[AdjustmentLegBody], Meta(min_length=2, max_length=10)]
    reason: RequiredText


class WalletStatusChange(OperatorRequest, frozen=True, kw_only=True):
    """Freeze, unfreeze or close a wallet."""

    status: Literal["ACTIVE", "FROZEN", "CLOSED"]
    reason: RequiredText
