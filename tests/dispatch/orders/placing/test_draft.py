"""Drafts of new orders: payment, places and contents from the body of a placement."""

import pytest

from dispatch.catalogue.store import Vendor
from dispatch.ids import OrderId
from dispatch.model import Order, OrderLine, OrderStatus, PaymentMethod, PaymentState, Place
from dispatch.orders.placing.draft import blank_order, payment_for, with_goods, with_parcel
from dispatch.wire.http.base import Address
from dispatch.wire.http.orders import BasketItem, GoodsOrder, PackageOrder, ParcelDetails, Recipient
from dispatch.wire.phones import Phone
from ledger.core.pricing import DEFAULT_RATES, price_goods

ADDRESS = Address(lat=4.06, lng=9.71, address="Akwa")


def a_blank_order() -> Order:
    payment = payment_for("CASH", "pay_1", "sandbox")
    pricing = price_goods(DEFAULT_RATES["FOOD"], 8_000)
    return blank_order(OrderId("ord_1"), "usr_1", pricing, payment, 5_000)


@pytest.mark.parametrize(
    ("method", "state", "payment_id"),
    [
        ("WALLET", PaymentState.CAPTURED, None),
        ("CASH", PaymentState.DUE, None),
        ("MOBILE_MONEY", PaymentState.PENDING, "pay_1"),
    ],
)
def test_only_a_wallet_has_paid_at_the_placement(
    method: str, state: PaymentState, payment_id: str | None
):
    """Mobile money waits for its provider, under the id that the provider is given."""
    payment = payment_for(method, "pay_1", "sandbox")

    assert (payment.method, payment.state) == (PaymentMethod(method), state)
    assert payment.payment_id == payment_id
    assert payment.provider == ("sandbox" if payment_id else None)


def test_a_blank_order_is_pending_and_not_written_yet():
    """Version 0; its times begin with the placement."""
    order = a_blank_order()

    assert (order.status, order.version, order.dispatch) == (OrderStatus.PENDING, 0, None)
    assert (order.created_at, order.updated_at, order.times) == (5_000, 5_000, {"PENDING": 5_000})


def test_goods_go_from_the_vendor_to_the_delivery_address():
    """With the lines that were priced and the vendor's usual preparation time."""
    vendor = Vendor(vendor_id="ven_1", location=Place(lat=4.05, lng=9.7), prep_minutes=15)
    lines = (OrderLine(item_id="ndole", name="Ndolé", quantity=2, unit_price=4_000),)
    body = GoodsOrder(
        order_type="FOOD",
        vendor_id="ven_1",
        items=[BasketItem(item_id="ndole", quantity=2)],
        delivery_address=ADDRESS,
        payment_method="CASH",
        notes="ring twice",
    )
    order = with_goods(a_blank_order(), body, vendor, lines)

    assert (order.vendor_id, order.pickup, order.items) == ("ven_1", vendor.location, lines)
    assert order.dropoff == Place(lat=4.06, lng=9.71, address="Akwa")
    assert (order.prep_minutes, order.notes) == (15, "ring twice")


def test_a_parcel_goes_from_address_to_address():
    """With its recipient, and without a vendor."""
    body = PackageOrder(
        order_type="PACKAGE",
        pickup=Address(lat=4.05, lng=9.7),
        dropoff=ADDRESS,
        package_details=ParcelDetails(category="papers", weight=2.5, is_fragile=True),
        recipient=Recipient(name="Awa", phone=Phone("+237600000000")),
        payment_method="CASH",
    )
    order = with_parcel(a_blank_order(), body)

    assert order.parcel is not None
    assert order.recipient is not None
    assert (order.parcel.weight, order.parcel.is_fragile) == (2.5, True)
    assert (order.recipient.name, order.vendor_id) == ("Awa", None)
    assert (order.pickup.lat, order.dropoff.address) == (4.05, "Akwa")
