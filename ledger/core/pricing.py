"""Order prices: total, commission and the shares of vendor and rider, all in integers."""

from typing import Literal

import msgspec

from ledger.core.money import split

Service = Literal["FOOD", "MART", "PACKAGE"]

METRES_PER_KM = 1000
# The smallest price a customer pays, whatever the discount. Units: whole XAF.
# Source: the smallest amount that can be posted.
PAYABLE_MIN = 1


class Rates(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Price list of one service, as configured. Units: whole XAF, basis points, kilograms.

    Source: docs/contract.md, business rules.
    """

    service: Service
    enabled: bool
    commission_bps: int
    delivery_fee: int = 0
    min_order_amount: int = 0
    base_fee: int = 0
    fee_per_km: int = 0
    fragile_fee: int = 0
    max_weight_kg: float = 50.0
    version: int = 1


DEFAULT_RATES: dict[Service, Rates] = {
    "FOOD": Rates(
        service="FOOD",
        enabled=True,
        commission_bps=1500,
        delivery_fee=1500,
        min_order_amount=2000,
    ),
    "MART": Rates(
        service="MART",
        enabled=False,
        commission_bps=1000,
        delivery_fee=2000,
        min_order_amount=5000,
    ),
    "PACKAGE": Rates(
        service="PACKAGE",
        enabled=False,
        commission_bps=2000,
        base_fee=2000,
        fee_per_km=500,
        fragile_fee=1000,
        max_weight_kg=50.0,
    ),
}


class Pricing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Price of an order and its split, fixed at placement.

    Units: whole XAF, metres, basis points.
    """

    service: Service
    subtotal: int
    delivery_fee: int
    total: int
    commission: int
    vendor_share: int
    rider_share: int
    commission_bps: int
    rate_version: int
    distance_m: int = 0
    currency: str = "XAF"
    # What the customer adds for the rider; free of commission.
    tip: int = 0
    # What the platform pays in the customer's place; not part of `total`.
    discount: int = 0

    @property
    def gross(self) -> int:
        """What is split in the end, whoever paid it. Units: whole XAF."""
        return self.total + self.discount

    @property
    def rider_total(self) -> int:
        """What the rider gets in the end. Units: whole XAF."""
        return self.rider_share + self.tip


def price_goods(rates: Rates, subtotal: int) -> Pricing:
    """Price of a FOOD or MART order.

    Units: whole XAF. The platform takes `subtotal * bps // 10000`, the vendor the rest.
    """
    assert subtotal >= 0
    commission, vendor_share = split(subtotal, rates.commission_bps)
    return _check_split(
        Pricing(
            service=rates.service,
            subtotal=subtotal,
            delivery_fee=rates.delivery_fee,
            total=subtotal + rates.delivery_fee,
            commission=commission,
            vendor_share=vendor_share,
            rider_share=rates.delivery_fee,
            commission_bps=rates.commission_bps,
            rate_version=rates.version,
        )
    )


def price_package(rates: Rates, distance_m: int, *, fragile: bool) -> Pricing:
    """Price of a PACKAGE order by distance.

    Units: metres, whole XAF. Rounding: half up to a whole XAF, in integers.
    """
    assert distance_m >= 0
    by_distance = (distance_m * rates.fee_per_km + METRES_PER_KM // 2) // METRES_PER_KM
    fee = rates.base_fee + by_distance + (rates.fragile_fee if fragile else 0)
    commission, rider_share = split(fee, rates.commission_bps)
    return _check_split(
        Pricing(
            service=rates.service,
            subtotal=0,
            delivery_fee=fee,
            total=fee,
            commission=commission,
            vendor_share=0,
            rider_share=rider_share,
            commission_bps=rates.commission_bps,
            rate_version=rates.version,
            distance_m=distance_m,
        )
    )


def with_tip(pricing: Pricing, tip: int) -> Pricing:
    """The price with a tip, all of which is the rider's. Units: whole XAF."""
    assert tip >= 0
    assert not pricing.tip
    return _check_split(msgspec.structs.replace(pricing, tip=tip, total=pricing.total + tip))


def with_discount(pricing: Pricing, discount: int) -> Pricing:
    """The price with a discount that the platform pays; the other parties' shares stay whole.

    The discount covers no tip and leaves at least PAYABLE_MIN to pay, since nothing can be captured
    of zero. Units: whole XAF.
    """
    assert discount >= 0
    assert not pricing.discount
    applied = min(discount, pricing.total - pricing.tip - PAYABLE_MIN)
    if applied <= 0:
        return pricing
    return _check_split(
        msgspec.structs.replace(pricing, discount=applied, total=pricing.total - applied)
    )


def _check_split(pricing: Pricing) -> Pricing:
    parts = pricing.commission + pricing.vendor_share + pricing.rider_total
    assert parts == pricing.gross, "the parts do not sum to the whole"
    assert min(pricing.commission, pricing.vendor_share, pricing.rider_share) >= 0
    return pricing
