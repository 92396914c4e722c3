"""Basket rules: what an order may contain and what it costs."""

from contextlib import nullcontext

import msgspec
import pytest
from msgspec.structs import replace

from dispatch.catalogue.store import CatalogueItem, Vendor
from dispatch.errors import Refused
from dispatch.model import OrderLine, Place
from dispatch.orders.placing.basket import COUNTED_LINES_MAX, price_goods_order, price_package_order
from dispatch.service_area import Circle, ServiceArea
from dispatch.wire.http.base import Address
from dispatch.wire.http.orders import GoodsOrder, PackageOrder
from dispatch.wire.phones import PhoneNumbers
from ledger.core.pricing import DEFAULT_RATES, Rates

FOOD = DEFAULT_RATES["FOOD"]
DOUALA = ServiceArea((Circle(4.0511, 9.7679, 50.0),))
MART = replace(DEFAULT_RATES["MART"], enabled=True)
PACKAGE = replace(DEFAULT_RATES["PACKAGE"], enabled=True)
OPEN_VENDOR = Vendor(
    vendor_id="ven_1", name="Chez Ada", location=Place(lat=4.05, lng=9.7), online=True
)
ITEMS = {
    "ndole": CatalogueItem(item_id="ndole", vendor_id="ven_1", name="Ndolé", price=2500),
    "juice": CatalogueItem(item_id="juice", vendor_id="ven_1", name="Juice", price=700, stock=3),
    "soya": CatalogueItem(
        item_id="soya", vendor_id="ven_1", name="Soya", price=1000, available=False
    ),
}


def goods_order(*wanted: tuple[str, int], kind: str = "FOOD") -> GoodsOrder:
    return msgspec.convert(
        {
            "orderType": kind,
            "vendorId": "ven_1",
            "items": [{"itemId": item, "quantity": quantity} for item, quantity in wanted],
            "deliveryAddress": {"lat": 4.06, "lng": 9.71, "address": "Akwa"},
            "paymentMethod": "WALLET",
        },
        GoodsOrder,
    )


def package_order(
    weight: float = 2.0, *, fragile: bool = False, dropoff: tuple[float, float] = (4.06, 9.71)
) -> PackageOrder:
    return msgspec.convert(
        {
            "orderType": "PACKAGE",
            "pickup": {"lat": 4.05, "lng": 9.7},
            "dropoff": {"lat": dropoff[0], "lng": dropoff[1]},
            "packageDetails": {"category": "papers", "weight": weight, "isFragile": fragile},
            "recipient": {"name": "Eto", "phone": "+237 600 00 00 00"},
            "paymentMethod": "CASH",
        },
        PackageOrder,
        dec_hook=PhoneNumbers("CM").decode,
    )


def test_prices_come_from_the_catalogue() -> None:
    """Each line has the server's price; the commission is a part of the subtotal alone."""
    lines, pricing = price_goods_order(
        goods_order(("ndole", 2), ("juice", 1)), OPEN_VENDOR, ITEMS, FOOD, DOUALA
    )

    assert lines == (
        OrderLine(item_id="ndole", name="Ndolé", quantity=2, unit_price=2500),
        OrderLine(item_id="juice", name="Juice", quantity=1, unit_price=700, stocked=True),
    )
    assert (pricing.subtotal, pricing.delivery_fee, pricing.total) == (5700, 1500, 7200)
    assert (pricing.commission, pricing.vendor_share, pricing.rider_share) == (855, 4845, 1500)


def test_the_same_item_twice_is_one_line() -> None:
    """Duplicate lines are added up, so that the stock is reserved once for all of them."""
    lines, pricing = price_goods_order(
        goods_order(("juice", 1), ("juice", 2)), OPEN_VENDOR, ITEMS, FOOD, DOUALA
    )

    assert [(line.item_id, line.quantity) for line in lines] == [("juice", 3)]
    assert pricing.subtotal == 2100


def test_duplicates_cannot_exceed_the_stock() -> None:
    """Two lines that each fit the stock are refused where their sum does not."""
    with pytest.raises(Refused) as refused:
        price_goods_order(goods_order(("juice", 2), ("juice", 2)), OPEN_VENDOR, ITEMS, FOOD, DOUALA)

    assert refused.value.code == "item_unavailable"
    assert refused.value.details == {
        "itemIds": ["juice"],
        "items": [{"itemId": "juice", "available": True, "stock": 3}],
    }


CLOSED_VENDOR = replace(OPEN_VENDOR, online=False)
VENDOR_WITHOUT_LOCATION = replace(OPEN_VENDOR, location=None)
PARIS_VENDOR = replace(OPEN_VENDOR, location=Place(lat=48.8566, lng=2.3522))
FOOD_VENDOR = replace(OPEN_VENDOR, services=("FOOD",))
FOOD_DISABLED = replace(FOOD, enabled=False)


@pytest.mark.parametrize(
    ("wanted", "vendor", "items", "rates", "code"),
    [
        ([("ndole", 1)], None, {}, FOOD, "not_found"),
        ([("ndole", 1)], None, {}, FOOD_DISABLED, "not_found"),
        ([("ndole", 1)], OPEN_VENDOR, ITEMS, FOOD_DISABLED, "service_disabled"),
        ([("ghost", 1)], CLOSED_VENDOR, ITEMS, FOOD_DISABLED, "service_disabled"),
        ([("ndole", 1)], None, ITEMS, FOOD, "vendor_closed"),
        ([("ndole", 1)], CLOSED_VENDOR, ITEMS, FOOD, "vendor_closed"),
        ([("ndole", 1)], VENDOR_WITHOUT_LOCATION, ITEMS, FOOD, "vendor_closed"),
        ([("ghost", 1)], CLOSED_VENDOR, ITEMS, FOOD, "vendor_closed"),
        ([("ghost", 1)], PARIS_VENDOR, {}, FOOD, "out_of_area"),
        ([("ghost", 1)], OPEN_VENDOR, {}, FOOD, "unknown_item"),
        ([("ghost", 1), ("soya", 1)], OPEN_VENDOR, ITEMS, FOOD, "unknown_item"),
        ([("soya", 1)], OPEN_VENDOR, ITEMS, FOOD, "item_unavailable"),
        ([("juice", 4)], OPEN_VENDOR, ITEMS, FOOD, "item_unavailable"),
        ([("juice", 2)], OPEN_VENDOR, ITEMS, FOOD, "below_minimum"),
    ],
)
def test_each_fault_has_its_own_code(
    wanted: list[tuple[str, int]],
    vendor: Vendor | None,
    items: dict[str, CatalogueItem],
    rates: Rates,
    code: str,
) -> None:
    """An order is refused with the code of its fault; of two faults the earlier one counts."""
    with pytest.raises(Refused) as refused:
        price_goods_order(goods_order(*wanted), vendor, items, rates, DOUALA)

    assert refused.value.code == code


def test_a_food_vendor_is_closed_for_mart() -> None:
    """A vendor that sells only FOOD is closed for MART."""
    with pytest.raises(Refused) as refused:
        price_goods_order(goods_order(("ndole", 9), kind="MART"), FOOD_VENDOR, ITEMS, MART, DOUALA)

    assert refused.value.code == "vendor_closed"


def test_the_minimum_is_enough() -> None:
    """A subtotal of the minimum is accepted; one franc less is refused with both amounts."""
    exact = {"a": CatalogueItem(item_id="a", vendor_id="ven_1", name="A", price=2000)}
    short = {"a": CatalogueItem(item_id="a", vendor_id="ven_1", name="A", price=1999)}

    _, pricing = price_goods_order(goods_order(("a", 1)), OPEN_VENDOR, exact, FOOD, DOUALA)
    with pytest.raises(Refused) as refused:
        price_goods_order(goods_order(("a", 1)), OPEN_VENDOR, short, FOOD, DOUALA)

    assert pricing.total == 3500
    assert refused.value.details == {"minOrderAmount": 2000, "subtotal": 1999}


def test_an_order_fits_the_ledger() -> None:
    """An order above the largest amount of the ledger is refused."""
    gold = {
        f"g{i}": CatalogueItem(item_id=f"g{i}", vendor_id="ven_1", name="Gold", price=10**11)
        for i in range(11)
    }
    with pytest.raises(Refused) as refused:
        price_goods_order(
            goods_order(*((item, 11) for item in gold)), OPEN_VENDOR, gold, FOOD, DOUALA
        )

    assert refused.value.code == "malformed"


@pytest.mark.parametrize(("quantities", "is_refused"), [((100, 100), False), ((100, 100, 1), True)])
def test_an_order_has_a_bounded_number_of_pieces(
    quantities: tuple[int, ...], is_refused: bool
) -> None:
    """Counted or not; nobody holds back a whole shop."""
    rice = {
        f"r{i}": CatalogueItem(item_id=f"r{i}", vendor_id="ven_1", name="Rice", price=100)
        for i in range(len(quantities))
    }
    body = goods_order(*zip(rice, quantities, strict=True))
    expected = pytest.raises(Refused, match="at most 200 pieces") if is_refused else nullcontext()
    with expected:
        price_goods_order(body, OPEN_VENDOR, rice, FOOD, DOUALA)


def test_an_order_fits_one_transaction() -> None:
    """More counted items than one transaction can reserve are refused."""
    many = {
        f"i{i}": CatalogueItem(item_id=f"i{i}", vendor_id="ven_1", name="I", price=100, stock=9)
        for i in range(COUNTED_LINES_MAX + 1)
    }
    fit = list(many)[:COUNTED_LINES_MAX]

    lines, _ = price_goods_order(
        goods_order(*((item, 1) for item in fit)), OPEN_VENDOR, many, FOOD, DOUALA
    )
    with pytest.raises(Refused) as refused:
        price_goods_order(
            goods_order(*((item, 1) for item in many)), OPEN_VENDOR, many, FOOD, DOUALA
        )

    assert len(lines) == COUNTED_LINES_MAX
    assert refused.value.code == "malformed"


@pytest.mark.parametrize(
    ("fragile", "dropoff", "metres", "total"),
    [
        # One hundredth of a degree of latitude is 1112 m on a sphere of 6371.0088 km.
        (False, (4.06, 9.7), 1112, 2000 + 556),
        (True, (4.06, 9.7), 1112, 3000 + 556),
        (False, (4.05, 9.7), 0, 2000),
    ],
)
def test_a_parcel_is_priced_by_distance(
    fragile: bool, dropoff: tuple[float, float], metres: int, total: int
) -> None:
    """A parcel costs the base fee, its kilometres to the metre, and a surcharge if fragile."""
    pricing = price_package_order(package_order(fragile=fragile, dropoff=dropoff), PACKAGE, DOUALA)

    assert (pricing.distance_m, pricing.total, pricing.delivery_fee) == (metres, total, total)
    assert pricing.commission == total * 2000 // 10_000
    assert pricing.commission + pricing.rider_share == total


@pytest.mark.parametrize(
    ("weight", "rates", "code"),
    [
        (50.1, PACKAGE, "too_heavy"),
        (50.1, DEFAULT_RATES["PACKAGE"], "service_disabled"),
        (1.0, DEFAULT_RATES["PACKAGE"], "service_disabled"),
        (1.0, replace(PACKAGE, fee_per_km=1_000_000_000_000), "malformed"),
    ],
)
def test_a_parcel_may_be_refused(weight: float, rates: Rates, code: str) -> None:
    """A disabled service comes before the faults of the parcel."""
    with pytest.raises(Refused) as refused:
        price_package_order(package_order(weight), rates, DOUALA)

    assert refused.value.code == code


def test_the_heaviest_parcel_is_accepted() -> None:
    """The limit itself is allowed."""
    assert price_package_order(package_order(50.0), PACKAGE, DOUALA).total > 2000


PARIS, SWAPPED, NULL_ISLAND = (48.8566, 2.3522), (9.71, 4.06), (0.0, 0.0)


@pytest.mark.parametrize("end", ["pickup", "dropoff"])
@pytest.mark.parametrize("point", [PARIS, SWAPPED, NULL_ISLAND])
def test_both_ends_of_a_parcel_are_in_the_area(end: str, point: tuple[float, float]) -> None:
    """A parcel from or to a place that is not served is refused, and the end is named."""
    place = Address(lat=point[0], lng=point[1])
    body = replace(package_order(weight=999), **{end: place})
    with pytest.raises(Refused) as refused:
        price_package_order(body, PACKAGE, DOUALA)

    assert refused.value.code == "out_of_area"
    assert refused.value.details is not None
    assert refused.value.details["end"] == end


@pytest.mark.parametrize("point", [PARIS, SWAPPED, NULL_ISLAND])
def test_goods_are_delivered_in_the_area(point: tuple[float, float]) -> None:
    """Goods for an address that is not served are refused, and the end is named."""
    body = replace(goods_order(("ndole", 1)), delivery_address=Address(lat=point[0], lng=point[1]))
    with pytest.raises(Refused) as refused:
        price_goods_order(body, OPEN_VENDOR, ITEMS, FOOD, DOUALA)

    assert refused.value.code == "out_of_area"
    assert refused.value.details is not None
    assert refused.value.details["end"] == "dropoff"
