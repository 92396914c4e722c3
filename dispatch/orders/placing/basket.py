"""Basket rules: what an order may contain, and its price from the server's catalogue: pure."""

from collections.abc import Mapping, Sequence

from dispatch.catalogue.area_rule import check_place
from dispatch.catalogue.store import CatalogueItem, Vendor
from dispatch.errors import Refusal, Refused
from dispatch.model import OrderLine, Place
from dispatch.service_area import ServiceArea
from dispatch.wire.http.orders import BasketItem, GoodsOrder, PackageOrder
from ledger.core.money import AMOUNT_MAX
from ledger.core.pricing import (
    Pricing,
    Rates,
    price_goods,
    price_package,
    with_tip,
)
from matching.geo import haversine_m

# Items of an order whose stock is counted; each is one write of the order's transaction.
# Source: DynamoDB, a transaction has at most 100 items; the order, its money and its outbox entry
# take fewer than 20.
COUNTED_LINES_MAX = 80
# Pieces of all lines together. Source: chosen; two full lines.
PIECES_MAX = 200

Lines = tuple[OrderLine, ...]


def price_goods_order(
    body: GoodsOrder,
    vendor: Vendor | None,
    items: Mapping[str, CatalogueItem],
    rates: Rates,
    area: ServiceArea,
) -> tuple[Lines, Pricing]:
    """Check a FOOD or MART order and price it; lines of the same item are merged.

    Errors: Refused, in this order: NOT_FOUND, SERVICE_DISABLED, VENDOR_CLOSED, OUT_OF_AREA,
        UNKNOWN_ITEM, ITEM_UNAVAILABLE, BELOW_MINIMUM, MALFORMED for an order above the limits.
    Units: whole XAF.
    """
    assert rates.service == body.order_type
    # A vendor that lists items exists, even before it has saved a profile.
    if vendor is None and not items:
        raise Refused(Refusal.NOT_FOUND, f"there is no vendor {body.vendor_id}")
    _check_enabled(rates)
    check_place(area, "pickup", _location_of_open(body, vendor))
    check_place(area, "dropoff", body.delivery_address)
    wanted = _merge_items(body.items)
    _check_listed(wanted, items)
    _check_available(wanted, items)
    lines = tuple(_order_line(items[item_id], quantity) for item_id, quantity in wanted.items())
    pricing = price_goods(rates, sum(line.quantity * line.unit_price for line in lines))
    pricing = with_tip(pricing, body.tip)
    _check_total(pricing, lines)
    _check_minimum(pricing, rates)
    return lines, pricing


def price_package_order(body: PackageOrder, rates: Rates, area: ServiceArea) -> Pricing:
    """Check a parcel and price it by the straight line from pickup to dropoff.

    Errors: Refused SERVICE_DISABLED, OUT_OF_AREA, TOO_HEAVY, in this order.
    Units: kilograms, whole XAF.
    """
    assert rates.service == "PACKAGE"
    _check_enabled(rates)
    check_place(area, "pickup", body.pickup)
    check_place(area, "dropoff", body.dropoff)
    parcel = body.package_details
    if parcel.weight > rates.max_weight_kg:
        raise Refused(
            Refusal.TOO_HEAVY,
            f"a parcel may weigh at most {rates.max_weight_kg:g} kg",
            {"weight": parcel.weight, "maxWeightKg": rates.max_weight_kg},
        )
    metres = haversine_m(body.pickup.lat, body.pickup.lng, body.dropoff.lat, body.dropoff.lng)
    pricing = with_tip(price_package(rates, round(metres), fragile=parcel.is_fragile), body.tip)
    _check_total(pricing, ())
    return pricing


def _check_enabled(rates: Rates) -> None:
    if not rates.enabled:
        raise Refused(
            Refusal.SERVICE_DISABLED, f"{rates.service} is not available yet", {"comingSoon": True}
        )


def _location_of_open(body: GoodsOrder, vendor: Vendor | None) -> Place:
    """Where an open vendor is. Errors: Refused VENDOR_CLOSED."""
    if vendor is None or not vendor.online:
        raise Refused(Refusal.VENDOR_CLOSED, "the vendor is closed")
    if vendor.location is None:
        raise Refused(Refusal.VENDOR_CLOSED, "the vendor has no location yet")
    if body.order_type not in vendor.services:
        raise Refused(Refusal.VENDOR_CLOSED, f"the vendor does not sell {body.order_type}")
    return vendor.location


def _merge_items(wanted: Sequence[BasketItem]) -> dict[str, int]:
    quantities: dict[str, int] = {}
    for each in wanted:
        quantities[each.item_id] = quantities.get(each.item_id, 0) + each.quantity
    return quantities


def _check_listed(wanted: Mapping[str, int], items: Mapping[str, CatalogueItem]) -> None:
    unknown = [item_id for item_id in wanted if item_id not in items]
    if unknown:
        raise Refused(
            Refusal.UNKNOWN_ITEM,
            f"the vendor does not list {', '.join(unknown[:3])}",
            {"itemIds": unknown},
        )


def _check_available(wanted: Mapping[str, int], items: Mapping[str, CatalogueItem]) -> None:
    missing = [
        item_id
        for item_id, quantity in wanted.items()
        if not _is_in_stock(items[item_id], quantity)
    ]
    if missing:
        names = ", ".join(items[item_id].name for item_id in missing[:3])
        raise Refused(
            Refusal.ITEM_UNAVAILABLE,
            f"not available in that quantity: {names}",
            {"itemIds": missing, "items": [_availability(items[item_id]) for item_id in missing]},
        )


def _is_in_stock(item: CatalogueItem, quantity: int) -> bool:
    return item.available and (item.stock is None or item.stock >= quantity)


def _availability(item: CatalogueItem) -> dict[str, object]:
    availability: dict[str, object] = {"itemId": item.item_id, "available": item.available}
    if item.stock is not None:
        availability["stock"] = item.stock
    return availability


def _order_line(item: CatalogueItem, quantity: int) -> OrderLine:
    return OrderLine(
        item_id=item.item_id,
        name=item.name,
        quantity=quantity,
        unit_price=item.price,
        stocked=item.stock is not None,
    )


def _check_total(pricing: Pricing, lines: Lines) -> None:
    if pricing.total > AMOUNT_MAX:
        raise Refused(Refusal.MALFORMED, f"an order may cost at most {AMOUNT_MAX} XAF")
    if sum(line.quantity for line in lines) > PIECES_MAX:
        raise Refused(Refusal.MALFORMED, f"an order may have at most {PIECES_MAX} pieces")
    if sum(line.stocked for line in lines) > COUNTED_LINES_MAX:
        raise Refused(
            Refusal.MALFORMED,
            f"an order may have at most {COUNTED_LINES_MAX} items whose stock is counted",
        )


def _check_minimum(pricing: Pricing, rates: Rates) -> None:
    if pricing.subtotal < rates.min_order_amount:
        raise Refused(
            Refusal.BELOW_MINIMUM,
            f"the items must come to at least {rates.min_order_amount} XAF",
            {"minOrderAmount": rates.min_order_amount, "subtotal": pricing.subtotal},
        )
