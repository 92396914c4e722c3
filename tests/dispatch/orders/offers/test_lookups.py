"""The engine's lookups: a timer is set only while this node holds the lease."""

import pytest

from dispatch.errors import LeadershipLost
from dispatch.ids import OrderId
from tests.dispatch.dispatch_scenario import DispatchScenario

pytestmark = pytest.mark.engines

ORDER = OrderId("ord_1")


async def test_a_scheduled_check_is_due_at_its_time(dispatch_scenario: DispatchScenario):
    """Not a millisecond before."""
    now_ms = dispatch_scenario.clock.now_ms()
    timers = dispatch_scenario.order_scenario.timers
    await dispatch_scenario.lookups.put_timer(ORDER, now_ms + 500)
    early, next_ms = await timers.claim(now_ms + 499, 10, 1)
    due, _ = await timers.claim(now_ms + 500, 10, 1)

    assert (early, next_ms, due) == ([], now_ms + 500, [ORDER])


async def test_without_the_lease_nothing_is_scheduled(dispatch_scenario: DispatchScenario):
    """Another engine has the order now."""
    dispatch_scenario.order_scenario.fence.revoke()
    with pytest.raises(LeadershipLost):
        await dispatch_scenario.lookups.put_timer(ORDER, 1)
    due, _ = await dispatch_scenario.order_scenario.timers.claim(2, 10, 1)

    assert due == []
