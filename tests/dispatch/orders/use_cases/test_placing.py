"""Placing orders: prices, money, stock and what a repetition does."""

import asyncio

import pytest

from dispatch.errors import Refusal
from dispatch.storage.paging import PageRequest
from dispatch.wire.http.orders import BasketItem, GoodsOrder
from tests.dispatch.order_scenario import DELIVERY_ADDRESS, OrderScenario
from tests.dispatch.orders.refusals import refusal_of

pytestmark = pytest.mark.engines


async def test_a_repeated_placement_takes_the_money_once(order_scenario: OrderScenario):
    """Ten copies with one idempotency key place one order."""
    placed = await asyncio.gather(*(order_scenario.place_order(key="k_1") for _ in range(10)))

    assert len(set(placed)) == 1
    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000 - 9_500


async def test_a_wallet_too_small_leaves_no_order_behind(order_scenario: OrderScenario):
    """Nothing is listed, sent or reserved."""
    assert await refusal_of(order_scenario.place_order(quantity=50)) is Refusal.INSUFFICIENT_FUNDS
    orders, _ = await order_scenario.orders.list_for("user", "usr_1", None, PageRequest(10))

    assert orders == []
    assert await order_scenario.event_names("vendor:ven_1") == []


async def test_the_last_portion_is_sold_once(order_scenario: OrderScenario):
    """Five customers order two of the last three portions: one of them gets them."""
    await order_scenario.open_vendor(stock=3)
    codes = await asyncio.gather(*(refusal_of(order_scenario.place_order()) for _ in range(5)))

    assert sorted(map(str, codes)) == [*["item_unavailable"] * 4, "ok"]


async def test_a_quote_is_the_price_that_a_placement_takes(order_scenario: OrderScenario):
    """A customer does not see how the platform splits it."""
    body = GoodsOrder(
        order_type="FOOD",
        vendor_id="ven_1",
        items=[BasketItem(item_id="ndole", quantity=2)],
        delivery_address=DELIVERY_ADDRESS,
        payment_method="WALLET",
    )
    customer = order_scenario.caller("user", "usr_1")
    quote = await order_scenario.order_service.quote(customer, body)
    placed = await order_scenario.order_service.place_order(customer, body)

    assert quote == placed["pricing"]
    assert quote["total"] == 9_500
    assert "commission" not in quote


async def test_an_order_by_mobile_money_waits_unseen(order_scenario: OrderScenario):
    """The vendor is sent nothing before the money has come."""
    order_id = await order_scenario.place_order(method="MOBILE_MONEY")

    assert await order_scenario.status(order_id) == "PENDING"
    assert await order_scenario.event_names("vendor:ven_1") == []
