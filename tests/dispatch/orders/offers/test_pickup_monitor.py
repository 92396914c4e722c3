"""Pickup monitor: checks repeat while a rider approaches, and a vanished one loses the order."""

from collections.abc import Sequence

import pytest

from dispatch.ids import OrderId, RiderId
from dispatch.model import DispatchState, OfferOutcome, OfferPolicy
from dispatch.orders.offers.approach import check_every_ms
from dispatch.orders.offers.pickup_monitor import PickupMonitor
from dispatch.wire import commands
from tests.dispatch.dispatch_scenario import DispatchScenario

pytestmark = pytest.mark.engines

POLICY = OfferPolicy()


@pytest.fixture
def monitor(dispatch_scenario: DispatchScenario) -> PickupMonitor:
    """The monitor under test."""
    return PickupMonitor(
        dispatch_scenario.order_scenario.order_service,
        dispatch_scenario.lookups,
        dispatch_scenario.clock,
    )


async def check(scenario: DispatchScenario, monitor: PickupMonitor, order_id: OrderId) -> None:
    """Check the order as it is stored now."""
    await monitor.check(await scenario.order_scenario.order(order_id), POLICY)


async def test_a_check_keeps_the_approach_and_schedules_the_next(
    dispatch_scenario: DispatchScenario, monitor: PickupMonitor
):
    """The next check is due after fifteen seconds."""
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.order_scenario.assign(order_id)
    dispatch_scenario.positions.report_position("rdr_1", 2.0)
    await check(dispatch_scenario, monitor, order_id)
    approach = await dispatch_scenario.approaches.get(order_id)
    now_ms = dispatch_scenario.clock.now_ms()
    due, _ = await dispatch_scenario.order_scenario.timers.claim(
        now_ms + check_every_ms(POLICY), 10, 1
    )

    assert approach is not None
    assert approach.nearest_m == pytest.approx(2_000, abs=5)
    assert due == [order_id]


async def test_a_vanished_rider_loses_the_order_and_operators_are_alerted(
    dispatch_scenario: DispatchScenario, monitor: PickupMonitor
):
    """The alert names the rider and the time without any sign of it."""
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.order_scenario.assign(order_id)
    for _ in range(6):
        await check(dispatch_scenario, monitor, order_id)
        dispatch_scenario.clock.advance(check_every_ms(POLICY))
    dispatch = await dispatch_scenario.dispatch_of(order_id)
    [alert] = await dispatch_scenario.alerts.recent()

    assert dispatch.state is DispatchState.SEARCHING
    assert dispatch.asked[RiderId("rdr_1")].outcome is OfferOutcome.VANISHED
    assert (alert.kind, alert.rider_id) == ("rider_vanished", "rdr_1")
    assert alert.message == (
        "nothing was received from the rider for 75 s before the pickup; the order searches again"
    )


async def watch(
    scenario: DispatchScenario, monitor: PickupMonitor, order_id: OrderId, minutes: int
) -> Sequence[str]:
    """Check the order for some minutes while its rider sends fixes that cannot be used."""
    for _ in range(minutes * 60_000 // check_every_ms(POLICY)):
        scenario.positions.observe("rdr_1", accuracy=900.0, inaccurate=4)
        await check(scenario, monitor, order_id)
        scenario.clock.advance(check_every_ms(POLICY))
    return await scenario.alert_kinds()


@pytest.mark.parametrize("old_positions_km", [(), (0.5,)])
async def test_poor_fixes_cost_no_rider_its_order(
    dispatch_scenario: DispatchScenario,
    monitor: PickupMonitor,
    old_positions_km: tuple[float, ...],
):
    """Ten minutes of unusable fixes, with an old position or none, raise alerts and no more."""
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.order_scenario.assign(order_id)
    for position_km in old_positions_km:
        dispatch_scenario.positions.report_position("rdr_1", position_km)
    kinds = await watch(dispatch_scenario, monitor, order_id, 10)
    dispatch = await dispatch_scenario.dispatch_of(order_id)

    assert (dispatch.state, dispatch.rider_id) == (DispatchState.ASSIGNED, "rdr_1")
    assert set(kinds) == {"rider_unlocated"}


async def test_a_silent_rider_at_the_pickup_keeps_the_order(
    dispatch_scenario: DispatchScenario, monitor: PickupMonitor
):
    """Operators are alerted; the order stays with the rider at the counter."""
    order_id = await dispatch_scenario.place_accepted_order()
    scenario = dispatch_scenario.order_scenario
    await scenario.assign(order_id)
    command = commands.ArrivedPickup(order_id=order_id)
    await scenario.order_service.arrived_pickup(scenario.caller("rider", "rdr_1"), command)
    for _ in range(20):
        await check(dispatch_scenario, monitor, order_id)
        dispatch_scenario.clock.advance(check_every_ms(POLICY))
    dispatch = await dispatch_scenario.dispatch_of(order_id)

    assert (dispatch.state, dispatch.rider_id) == (DispatchState.AT_PICKUP, "rdr_1")
    assert await dispatch_scenario.alert_kinds() == ["rider_silent"]
