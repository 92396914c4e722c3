"""Bodies of the order endpoints: place or quote, cancel, rate, tip."""

from typing import Annotated, Literal

from msgspec import Meta

from dispatch.wire.commands import ORDER_LINES_MAX, FaultParty, Id, Reason
from dispatch.wire.http.base import (
    Address,
    DisplayName,
    Note,
    PaymentMethodName,
    PromoCode,
    Request,
    TipAmount,
)
from dispatch.wire.phones import Phone


class BasketItem(Request, frozen=True, kw_only=True):
    """A catalogue item and its quantity; the price is the server's."""

    item_id: Id
    # Source: chosen; a party orders dozens, and nobody holds back a shop's whole stock.
    quantity: Annotated[int, Meta(ge=1, le=100)]


class GoodsOrder(Request, frozen=True, kw_only=True):
    """A FOOD or MART order. Units: whole XAF."""

    order_type: Literal["FOOD", "MART"]
    vendor_id: Id
    items: Annotated[list[BasketItem], Meta(min_length=1, max_length=ORDER_LINES_MAX)]
    delivery_address: Address
    payment_method: PaymentMethodName
    notes: Note | None = None
    tip: TipAmount = 0
    promo_code: PromoCode | None = None


class ParcelDetails(Request, frozen=True, kw_only=True):
    """The contents of a parcel. Units: kilograms."""

    category: Annotated[str, Meta(min_length=1, max_length=60)]
    weight: Annotated[float, Meta(gt=0, le=10_000)]
    description: Note = ""
    is_fragile: bool = False


class Recipient(Request, frozen=True, kw_only=True):
    """The person who receives the parcel."""

    name: DisplayName
    phone: Phone


class PackageOrder(Request, frozen=True, kw_only=True):
    """A PACKAGE order. Units: whole XAF."""

    order_type: Literal["PACKAGE"]
    pickup: Address
    dropoff: Address
    package_details: ParcelDetails
    recipient: Recipient
    payment_method: PaymentMethodName
    notes: Note | None = None
    tip: TipAmount = 0
    promo_code: PromoCode | None = None


class CancelOrderBody(Request, frozen=True, kw_only=True):
    """Cancel an order; only operators may name the party at fault."""

    reason: Reason | None = None
    fault: FaultParty | None = None


class Rating(Request, frozen=True, kw_only=True):
    """Rate a delivered order, one to five."""

    rating: Annotated[int, Meta(ge=1, le=5)]
    comment: Note | None = None


class Tip(Request, frozen=True, kw_only=True):
    """A tip for the rider of a delivered order. Units: whole XAF."""

    amount: Annotated[int, Meta(ge=1, le=1_000_000)]
