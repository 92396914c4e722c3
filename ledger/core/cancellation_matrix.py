"""What calling an order off costs, and whom: a table of state and fault, and its use."""

from enum import StrEnum
from typing import NamedTuple

from ledger.core.money import split
from ledger.core.pricing import Pricing

# Counted up with every change of the table; an entry says by which it was made.
MATRIX_VERSION = 1


class Stage(StrEnum):
    """How far an order had come; the statuses of the contract in which it can be called off."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    PREPARING = "PREPARING"
    READY = "READY"
    IN_TRANSIT = "IN_TRANSIT"


class Fault(StrEnum):
    """At whose door it lies."""

    CUSTOMER = "CUSTOMER"
    VENDOR = "VENDOR"
    RIDER = "RIDER"
    PLATFORM = "PLATFORM"


class CancellationTerms(NamedTuple):
    """Which part of what he would have earned each gets all the same. Units: basis points."""

    vendor_bps: int = 0
    rider_bps: int = 0
    platform_bps: int = 0


FREE = CancellationTerms()
_ALL_FREE = dict.fromkeys(Fault, FREE)

# What a customer is at fault for he pays himself; everything else is the platform's to pay.
# Source: half of the goods' price is spent once a kitchen works, all of it once it is done; a rider
# who waits at the counter has made half of his way. The house's choice, version 1.
MATRIX: dict[Stage, dict[Fault, CancellationTerms]] = {
    Stage.PENDING: _ALL_FREE,
    Stage.ACCEPTED: _ALL_FREE,
    Stage.PREPARING: {
        Fault.CUSTOMER: CancellationTerms(vendor_bps=5_000),
        Fault.VENDOR: FREE,
        Fault.RIDER: CancellationTerms(vendor_bps=5_000),
        Fault.PLATFORM: CancellationTerms(vendor_bps=5_000),
    },
    Stage.READY: {
        Fault.CUSTOMER: CancellationTerms(vendor_bps=10_000, rider_bps=5_000),
        Fault.VENDOR: CancellationTerms(rider_bps=5_000),
        Fault.RIDER: CancellationTerms(vendor_bps=10_000),
        Fault.PLATFORM: CancellationTerms(vendor_bps=10_000, rider_bps=5_000),
    },
    Stage.IN_TRANSIT: {
        Fault.CUSTOMER: CancellationTerms(10_000, 10_000, 10_000),
        Fault.VENDOR: CancellationTerms(rider_bps=10_000),
        Fault.RIDER: CancellationTerms(vendor_bps=10_000),
        Fault.PLATFORM: CancellationTerms(vendor_bps=10_000, rider_bps=10_000),
    },
}


class CancellationSplit(NamedTuple):
    """How an order that is called off is divided. Units: whole XAF.

    The customer gets `customer` back of what he paid; vendor, rider and platform get theirs, out of
    his money where he is at fault and out of the platform's where not.
    """

    customer: int
    vendor: int
    rider: int
    platform: int
    is_customer_fault: bool

    @property
    def compensation(self) -> int:
        """What is paid to those who had worked already."""
        return self.vendor + self.rider + self.platform


def split_cancellation(
    pricing: Pricing, stage: Stage, fault: Fault, *, has_rider: bool
) -> CancellationSplit:
    """Divide an order that is called off; a rider nobody had sent gets nothing."""
    terms = MATRIX[stage][fault]
    vendor, _ = split(pricing.vendor_share, terms.vendor_bps)
    rider, _ = split(pricing.rider_share, terms.rider_bps if has_rider else 0)
    platform, _ = split(pricing.commission, terms.platform_bps)
    by_customer = fault is Fault.CUSTOMER
    kept = vendor + rider + platform if by_customer else 0
    return CancellationSplit(max(0, pricing.total - kept), vendor, rider, platform, by_customer)
