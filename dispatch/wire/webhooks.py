"""Webhook events of payment and payout providers: signed, each about one payment or payout."""

from typing import Annotated

import msgspec
from msgspec import Meta

from dispatch.wire.commands import Amount, Id
from dispatch.wire.texts import printable

PAYMENT_SUCCEEDED = "payment.succeeded"
PAYMENT_FAILED = "payment.failed"
PAYOUT_PAID = "payout.paid"
PAYOUT_FAILED = "payout.failed"
PAYOUT_RETURNED = "payout.returned"
# The types that mean something here; events of others are ignored, whatever their shape.
PAYMENT_EVENTS = frozenset({PAYMENT_SUCCEEDED, PAYMENT_FAILED})
PAYOUT_EVENTS = frozenset({PAYOUT_PAID, PAYOUT_FAILED, PAYOUT_RETURNED})
# Characters of a type that an answer repeats. Source: chosen; far longer than any in use.
TYPE_CHARS_MAX = 100


class PaymentReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The payment of an event; unknown fields are ignored. Units: whole XAF."""

    payment_id: Id
    amount: Amount
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", max_length=3)]
    reason: Annotated[str, Meta(max_length=500)] | None = None

    def __post_init__(self) -> None:
        """Make the reason printable."""
        if self.reason is not None:
            msgspec.structs.force_setattr(self, "reason", printable(self.reason))


class PaymentEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event about a payment. Source: Standard Webhooks, payload structure."""

    type: Annotated[str, Meta(min_length=1, max_length=TYPE_CHARS_MAX)]
    data: PaymentReport


class PayoutReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The payout of an event, with the reference and amount of the request. Units: whole XAF."""

    payout_id: Id
    reference: Annotated[str, Meta(min_length=1, max_length=100)]
    amount: Amount
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", max_length=3)]
    fee: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    reason: Annotated[str, Meta(max_length=200)] | None = None

    def __post_init__(self) -> None:
        """Make the reason printable."""
        if self.reason is not None:
            msgspec.structs.force_setattr(self, "reason", printable(self.reason))


class PayoutEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event about a payout. Source: Standard Webhooks, payload structure."""

    type: Annotated[str, Meta(min_length=1, max_length=TYPE_CHARS_MAX)]
    data: PayoutReport
