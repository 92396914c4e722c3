"""Order service: one order from its placement to its settlement, on real engines."""

import pytest

from dispatch.wire import commands
from tests.dispatch.order_scenario import OrderScenario

pytestmark = pytest.mark.engines


async def test_an_order_is_delivered_and_settled(order_scenario: OrderScenario):
    """Every party is sent its events, and every franc arrives."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    await order_scenario.settlement_worker.settle(order_id)

    assert await order_scenario.status(order_id) == "FUNDS_DISTRIBUTED"
    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000 - 9_500
    assert await order_scenario.wallet_balance("VENDOR", "ven_1") == 6_800
    assert await order_scenario.wallet_balance("RIDER", "rdr_1") == 1_500
    assert sum((await order_scenario.account_balances()).values()) == 0
    assert await order_scenario.event_names("user:usr_1") == [
        "order_accepted", "dispatch_status", "dispatch_status", "rider_assigned",
        "rider_arrived", "order_ready", "order_picked_up", "order_delivered",
    ]  # fmt: skip
    assert await order_scenario.event_names("rider:rdr_1") == [
        "delivery_request", "order_ready_for_pickup", "order_settled",
    ]  # fmt: skip
    assert (await order_scenario.event_names("vendor:ven_1"))[-1] == "order_settled"


async def test_a_parcel_needs_no_vendor(order_scenario: OrderScenario):
    """A rider is searched at once; platform and rider share the price."""
    placed = await order_scenario.place_parcel()
    order_id, total = placed["orderId"], placed["pricing"]["total"]
    await order_scenario.assign(order_id)
    rider, service = order_scenario.caller("rider", "rdr_1"), order_scenario.order_service
    await service.pick_up(rider, commands.PickUp(order_id=order_id))
    await service.complete_delivery(rider, commands.CompleteDelivery(order_id=order_id))
    await order_scenario.settlement_worker.settle(order_id)

    assert await order_scenario.wallet_balance("RIDER", "rdr_1") == total - total // 5
