"""Delivery monitor: goods are followed to the door, and each episode is raised once."""

import pytest

from dispatch.ids import OrderId
from dispatch.wire import commands
from tests.dispatch.dispatch_scenario import DispatchScenario

pytestmark = pytest.mark.engines


async def picked_up(scenario: DispatchScenario) -> OrderId:
    """An order whose goods are with rdr_1, two kilometres from the vendor."""
    orders = scenario.order_scenario
    order_id = await scenario.place_accepted_order()
    await orders.assign(order_id)
    ready = commands.OrderReady(order_id=order_id)
    await orders.order_service.order_ready(orders.caller("vendor", "ven_1"), ready)
    command = commands.PickUp(order_id=order_id)
    await orders.order_service.pick_up(orders.caller("rider", "rdr_1"), command)
    scenario.positions.report_position("rdr_1", 2.0)
    return order_id


async def kinds_after(scenario: DispatchScenario, order_id: OrderId, seconds: int) -> list[str]:
    """The alerts so far, after checks for so long without a sign of the rider."""
    for _ in range(seconds // 10):
        await scenario.process_order(order_id, 10_000)
    await scenario.order_scenario.relay_outbox()
    return list(await scenario.alert_kinds())


async def test_goods_that_vanish_with_their_rider_are_raised_once(
    dispatch_scenario: DispatchScenario,
):
    """Ten minutes of silence are one episode; the rider keeps the goods."""
    order_id = await picked_up(dispatch_scenario)
    assert await kinds_after(dispatch_scenario, order_id, 40) == []
    assert await kinds_after(dispatch_scenario, order_id, 20) == ["goods_silent"]
    assert await kinds_after(dispatch_scenario, order_id, 600) == ["goods_silent"]
    order = await dispatch_scenario.order_scenario.order(order_id)
    assert (order.status, order.rider_id) == ("IN_TRANSIT", "rdr_1")


async def test_the_next_silence_is_another_episode(dispatch_scenario: DispatchScenario):
    """Once the rider is seen again the concern is over, and the next one is raised."""
    order_id = await picked_up(dispatch_scenario)
    await kinds_after(dispatch_scenario, order_id, 70)
    dispatch_scenario.positions.report_position("rdr_1", 1.5)
    seen = await dispatch_scenario.process_order(order_id)
    assert seen.concerns == {}
    assert await kinds_after(dispatch_scenario, order_id, 70) == ["goods_silent"] * 2


async def test_a_new_leader_raises_nothing_twice_and_goes_on(dispatch_scenario: DispatchScenario):
    """The episode stands in the order; the next engine finds it, and its end."""
    order_id = await picked_up(dispatch_scenario)
    await kinds_after(dispatch_scenario, order_id, 70)
    dispatch_scenario.engine = dispatch_scenario.new_engine()
    assert await dispatch_scenario.engine.rebuild_timers() == 1
    assert await kinds_after(dispatch_scenario, order_id, 120) == ["goods_silent"]
    dispatch_scenario.positions.report_position("rdr_1", 1.0)
    assert (await dispatch_scenario.process_order(order_id)).concerns == {}


async def test_goods_that_stand_still_are_raised(dispatch_scenario: DispatchScenario):
    """Fixes from the same place for four minutes."""
    order_id = await picked_up(dispatch_scenario)
    for _ in range(26):
        dispatch_scenario.positions.report_position("rdr_1", 2.0, accuracy=8.0)
        await dispatch_scenario.process_order(order_id, 10_000)
    await dispatch_scenario.order_scenario.relay_outbox()
    assert await dispatch_scenario.alert_kinds() == ["goods_stalled"]


async def test_delivered_goods_are_not_checked_again(dispatch_scenario: DispatchScenario):
    """The engine drops the order at its last check."""
    order_id = await picked_up(dispatch_scenario)
    orders, engine = dispatch_scenario.order_scenario, dispatch_scenario.engine
    await orders.relay_outbox()
    await engine.tick()
    await orders.order_service.complete_delivery(
        orders.caller("rider", "rdr_1"), commands.CompleteDelivery(order_id=order_id)
    )
    await orders.relay_outbox()
    await engine.tick()
    due, next_ms = await orders.timers.claim(dispatch_scenario.clock.now_ms() + 60_000, 10, 1)
    assert (due, next_ms) == ([], None)
