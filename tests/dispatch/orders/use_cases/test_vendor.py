"""Vendors' commands: acceptance, rejection, preparation, and the learned preparation time."""

import pytest

from dispatch.model import OrderStatus
from dispatch.wire import commands
from matching.prep_times import FadedSum
from tests.dispatch.order_scenario import OrderScenario

pytestmark = pytest.mark.engines


async def test_acceptance_starts_the_search_of_the_engine(order_scenario: OrderScenario):
    """The order's timer is due at once."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.relay_outbox()
    due, _ = await order_scenario.timers.claim(order_scenario.clock.now_ms(), 10, 1)

    assert due == [order_id]


async def test_a_rejection_returns_money_and_stock(order_scenario: OrderScenario):
    """The customer pays nothing, and the portions are for sale again."""
    await order_scenario.open_vendor(stock=10)
    before = await order_scenario.wallet_balance("USER", "usr_1")
    order_id = await order_scenario.place_order()
    vendor = order_scenario.caller("vendor", "ven_1")
    command = commands.RejectOrder(order_id=order_id, reason="closed")
    await order_scenario.order_service.reject_order(vendor, command)
    items = await order_scenario.catalogue.items_by_id("ven_1", ["ndole"])

    assert await order_scenario.status(order_id) == "REJECTED"
    assert await order_scenario.wallet_balance("USER", "usr_1") == before
    assert items["ndole"].stock == 10


async def test_readiness_teaches_the_preparation_time(order_scenario: OrderScenario):
    """Twenty minutes from acceptance to readiness are one observation, also after a repetition."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    vendor = order_scenario.caller("vendor", "ven_1", "cmd_1")
    await order_scenario.order_service.order_preparing(
        order_scenario.caller("vendor", "ven_1"), commands.OrderPreparing(order_id=order_id)
    )
    order_scenario.clock.advance(20 * 60_000)
    for _ in range(2):
        await order_scenario.order_service.order_ready(
            vendor, commands.OrderReady(order_id=order_id)
        )
    await order_scenario.learned_stats.flush()
    learned = await order_scenario.learned_stats.prep_times(["ven_1"])

    assert (await order_scenario.order(order_id)).status is OrderStatus.READY
    assert learned["ven_1"]["day"] == FadedSum(20, 1)
