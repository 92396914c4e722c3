"""A rider observation has the rider's approach of this moment; only a cause makes an alert."""

import pytest

from dispatch.orders.offers.rider_observation import RiderObserver
from tests.dispatch.dispatch_scenario import DispatchScenario

pytestmark = pytest.mark.engines


async def test_an_observation_is_of_this_moment(dispatch_scenario: DispatchScenario):
    """It has the distance and the time of the rider's last position, and stores nothing."""
    scenario = dispatch_scenario
    order_id = await scenario.place_accepted_order()
    await scenario.order_scenario.assign(order_id)
    scenario.positions.report_position("rdr_1", 2.0)
    order = await scenario.order_scenario.order(order_id)
    policy = await scenario.policies.get(order.order_type)
    observer = RiderObserver(scenario.lookups, scenario.clock)

    observed = await observer.observe(order, policy)

    assert observed.now_ms == scenario.clock.now_ms() == observed.approach.seen_at_ms
    assert observed.approach.nearest_m == pytest.approx(2_000, rel=0.01)
    assert await scenario.lookups.approaches.get(order_id) is None
    await observer.alert(observed, order, policy)
    assert await scenario.alert_kinds() == []
