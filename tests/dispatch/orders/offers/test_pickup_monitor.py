"""Pickup monitor: checks repeat while a rider approaches, and a vanished one loses the order."""

import pytest

from dispatch.ids import OrderId, RiderId
from dispatch.model import DispatchState, OfferOutcome, OfferPolicy
from dispatch.orders.offers.approach import check_every_ms
from dispatch.orders.offers.pickup_monitor import PickupMonitor
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
    """The alert names the rider and the time without a position."""
    order_id = await dispatch_scenario.place_accepted_order()
    await dispatch_scenario.order_scenario.assign(order_id)
    for _ in range(5):
        await check(dispatch_scenario, monitor, order_id)
        dispatch_scenario.clock.advance(check_every_ms(POLICY))
    dispatch = await dispatch_scenario.dispatch_of(order_id)
    [alert] = await dispatch_scenario.alerts.recent()

    assert dispatch.state is DispatchState.SEARCHING
    assert dispatch.asked[RiderId("rdr_1")].outcome is OfferOutcome.VANISHED
    assert (alert.kind, alert.rider_id) == ("rider_vanished", "rdr_1")
    assert alert.message == (
        "the rider sent no position for 60 s before the pickup; the order searches again"
    )
