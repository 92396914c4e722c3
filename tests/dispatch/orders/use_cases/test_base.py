"""Base of the use cases: the engine's transitions need the lease, and repetitions an order."""

import pytest

from dispatch.errors import LeadershipLost
from dispatch.ids import RiderId
from dispatch.model import DispatchState
from dispatch.orders.transitions.context import NoCandidateFacts
from dispatch.orders.unit_of_work import Committed
from dispatch.orders.use_cases.base import committed_order
from tests.dispatch.order_scenario import OrderScenario
from tests.factories import an_order


@pytest.mark.engines
async def test_an_engine_without_the_lease_changes_nothing(order_scenario: OrderScenario):
    """The lease is checked right before the write."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    order_scenario.fence.revoke()
    with pytest.raises(LeadershipLost):
        await order_scenario.order_service.exhaust_search(order_id, NoCandidateFacts(retry_at_ms=1))
    dispatch = (await order_scenario.order(order_id)).dispatch

    assert dispatch is not None
    assert dispatch.state is DispatchState.SEARCHING


@pytest.mark.engines
async def test_a_transition_of_the_server_needs_no_lease(order_scenario: OrderScenario):
    """Any node may record an arrival that its riders' positions showed."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.assign(order_id)
    order_scenario.fence.revoke()
    await order_scenario.order_service.record_arrival(order_id, RiderId("rdr_1"), "pickup")

    assert "rider_arrived" in await order_scenario.event_names("user:usr_1")


def test_a_committed_transition_has_its_order():
    """Only a repetition has none, and the server's own requests are never repetitions."""
    order = an_order()

    assert committed_order(Committed(answer={}, order=order)) is order
    with pytest.raises(AssertionError):
        committed_order(Committed(answer={}))
