"""Cancellation matrix: what each party receives when an order is cancelled, by stage and fault."""

from enum import StrEnum
from typing import NamedTuple

from ledger.core.money import split
from ledger.core.pricing import Pricing

# Increased with every change of the table; each cancellation entry records its version.
MATRIX_VERSION = 1


class Stage(StrEnum):
    """How far an order had come: the order statuses in which it can be cancelled."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    PREPARING = "PREPARING"
    READY = "READY"
    IN_TRANSIT = "IN_TRANSIT"


class Fault(StrEnum):
    """Whose fault the cancellation is."""

    CUSTOMER = "CUSTOMER"
    VENDOR = "VENDOR"
    RIDER = "RIDER"
    PLATFORM = "PLATFORM"


class CancellationTerms(NamedTuple):
    """Share of its part of the order that each party still receives. Units: basis points."""

    vendor_bps: int = 0
    rider_bps: int = 0
    platform_bps: int = 0


FREE = CancellationTerms()
_ALL_FREE = dict.fromkeys(Fault, FREE)

# At the customer's fault the customer pays these shares; otherwise the platform does.
# Source: chosen, version 1: half of the goods' price is spent once the kitchen works, all of it
# once the goods are ready; a rider who waits at the pickup has done half of its work.
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
    """Division of a cancelled order's money. Units: whole XAF.

    `customer` is what the customer gets back. Vendor, rider and platform get the other amounts, out
    of the customer's payment where it is the customer's fault and from the platform otherwise.
    """

    customer: int
    vendor: int
    rider: int
    platform: int
    is_customer_fault: bool

    @property
    def compensation(self) -> int:
        """Paid to the parties who had already worked. Units: whole XAF."""
        return self.vendor + self.rider + self.platform


def split_cancellation(
    pricing: Pricing, stage: Stage, fault: Fault, *, has_rider: bool
) -> CancellationSplit:
    """Divide a cancelled order's money; without an assigned rider the rider's part is zero.

    Units: whole XAF.
    """
    terms = MATRIX[stage][fault]
    vendor, _ = split(pricing.vendor_share, terms.vendor_bps)
    rider, _ = split(pricing.rider_share, terms.rider_bps if has_rider else 0)
    platform, _ = split(pricing.commission, terms.platform_bps)
    is_customer_fault = fault is Fault.CUSTOMER
    kept = vendor + rider + platform if is_customer_fault else 0
    customer = max(0, pricing.total - kept)
    return CancellationSplit(customer, vendor, rider, platform, is_customer_fault)
