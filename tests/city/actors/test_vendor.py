"""Vendors of the simulated city on a fake server."""

from dataclasses import replace

import pytest

from city.actors.city import City
from city.actors.vendor import MENU_ITEMS, Vendor, make_shop
from tests.city.actors.running import run_city_until, running, wait_until
from tests.city.fake_server import FakeServer


@pytest.mark.slow
async def test_rejected_orders_reach_their_customers(city: City):
    """Where all vendors reject, customers get the rejections and no order is accepted."""
    city.behaviour = replace(city.behaviour, reject_chance=1.0)
    await run_city_until(city, lambda: city.counters.counts["orders_rejected_by_vendors"] >= 6)
    assert city.counters.counts["orders_accepted"] == 0


def test_the_seed_decides_the_shops(city: City):
    """The same seed makes the same shop, another seed another one."""
    shops = [make_shop(city, 3, "FOOD") for _ in range(2)]
    other = make_shop(replace(city, seed=8), 3, "FOOD")
    assert shops[0] == shops[1]
    assert shops[0] != other


async def test_a_vendor_publishes_its_catalogue_before_it_opens(
    city: City, fake_server: FakeServer
):
    """When the shop is open all its items are in the catalogue, at the shop's prices."""
    shop = make_shop(city, 0, "FOOD")
    async with running(Vendor(city, shop).run()):
        await wait_until(lambda: shop.vendor_id in city.open_shops)
    items = fake_server.items[shop.vendor_id]["items"]
    assert {name: item["price"] for name, item in items.items()} == shop.menu
    assert len(items) == MENU_ITEMS


async def test_orders_placed_while_the_shop_was_away_are_fetched(
    city: City, fake_server: FakeServer
):
    """A vendor that starts with a PENDING order accepts, prepares and readies it."""
    shop = make_shop(city, 0, "FOOD")
    place = {"lat": 4.05, "lng": 9.71}
    fake_server.items[shop.vendor_id] = {"location": place, "items": {}}
    body = {
        "orderType": "FOOD", "vendorId": shop.vendor_id, "items": [], "deliveryAddress": place,
        "paymentMethod": "CASH",
    }  # fmt: skip
    order = fake_server.place_order("usr_1", body)
    async with running(Vendor(city, shop).run()):
        await wait_until(lambda: order["status"] == "READY")
    assert fake_server.command_counts["accept_order"] == 1
    assert not city.counters.errors
