"""Draft of a new order, from the body of a placement: pure."""

from msgspec.structs import replace

from dispatch.catalogue.store import Vendor
from dispatch.ids import OrderId
from dispatch.model import (
    Order,
    OrderLine,
    OrderPayment,
    OrderStatus,
    Parcel,
    PaymentMethod,
    PaymentState,
    Place,
    Recipient,
)
from dispatch.wire.http.base import Address
from dispatch.wire.http.orders import GoodsOrder, PackageOrder
from ledger.core.pricing import Pricing

Placement = GoodsOrder | PackageOrder


def payment_for(method: str, payment_id: str, provider: str) -> OrderPayment:
    """The payment of a new order: a wallet pays at once, the other methods later."""
    if method == PaymentMethod.WALLET:
        return OrderPayment(method=PaymentMethod.WALLET, state=PaymentState.CAPTURED)
    if method == PaymentMethod.CASH:
        return OrderPayment(method=PaymentMethod.CASH, state=PaymentState.DUE)
    return OrderPayment(
        method=PaymentMethod.MOBILE_MONEY,
        state=PaymentState.PENDING,
        provider=provider,
        payment_id=payment_id,
    )


def blank_order(
    order_id: OrderId, user_id: str, pricing: Pricing, payment: OrderPayment, now_ms: int
) -> Order:
    """An order that is not written yet; `with_goods` or `with_parcel` adds what it carries where.

    Units: Unix milliseconds.
    """
    nowhere = Place(lat=0.0, lng=0.0)
    return Order(
        order_id=order_id,
        order_type=pricing.service,
        user_id=user_id,
        status=OrderStatus.PENDING,
        pricing=pricing,
        pickup=nowhere,
        dropoff=nowhere,
        payment=payment,
        created_at=now_ms,
        updated_at=now_ms,
        version=0,
        times={OrderStatus.PENDING.value: now_ms},
        times_by={OrderStatus.PENDING.value: "user"},
        counts_as_unpaid=payment.state is not PaymentState.CAPTURED,
    )


def with_parcel(order: Order, body: PackageOrder) -> Order:
    """The draft with the parcel, places and recipient of a PACKAGE order."""
    details, recipient = body.package_details, body.recipient
    parcel = Parcel(
        category=details.category,
        weight=details.weight,
        description=details.description,
        is_fragile=details.is_fragile,
    )
    return replace(
        order,
        pickup=_place(body.pickup),
        dropoff=_place(body.dropoff),
        parcel=parcel,
        recipient=Recipient(name=recipient.name, phone=recipient.phone.e164),
        notes=body.notes,
    )


def with_goods(
    order: Order, body: GoodsOrder, vendor: Vendor, lines: tuple[OrderLine, ...]
) -> Order:
    """The draft with the lines and places of a FOOD or MART order."""
    assert vendor.location is not None, "an order from a vendor without a location is not priced"
    return replace(
        order,
        vendor_id=vendor.vendor_id,
        pickup=vendor.location,
        dropoff=_place(body.delivery_address),
        items=lines,
        prep_minutes=vendor.prep_minutes,
        notes=body.notes,
    )


def _place(address: Address) -> Place:
    return Place(lat=address.lat, lng=address.lng, address=address.address)
