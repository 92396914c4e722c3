"""Deliveries of a rider: the order's step, this node's rider state, and the settlement."""

from typing import Any, cast

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.orders.rider_deliveries import RiderDeliveries
from dispatch.wire import commands
from tests.dispatch.order_scenario import OrderScenario

pytestmark = pytest.mark.engines


class RecordingRegistry:
    """Notes which orders a rider takes and gives back on this node."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    def assign(self, rider_id: str, order_id: str, _assigned_at_ms: int) -> None:
        self.calls.append(("assign", rider_id, order_id))

    def release(self, rider_id: str, order_id: str) -> None:
        self.calls.append(("release", rider_id, order_id))


class RecordingQueue:
    """Notes which orders are to be settled."""

    def __init__(self) -> None:
        self.order_ids: list[str] = []

    def enqueue(self, order_id: str) -> None:
        self.order_ids.append(order_id)


class Harness:
    """Deliveries over real stores, with what they do on this node noted."""

    def __init__(self, scenario: OrderScenario) -> None:
        self.scenario, self.registry, self.queue = scenario, RecordingRegistry(), RecordingQueue()
        self.deliveries = RiderDeliveries(
            scenario.order_service, cast("Any", self.registry), self.queue, scenario.clock
        )

    async def offer(self) -> commands.AcceptDelivery:
        """Offer a new order to `rdr_1`; the command that accepts it."""
        order_id = await self.scenario.place_order()
        await self.scenario.accept_order(order_id)
        offers = await self.scenario.make_offers(order_id, "rdr_1")
        return commands.AcceptDelivery(order_id=order_id, offer_id=offers["rdr_1"])


@pytest.fixture
def harness(order_scenario: OrderScenario) -> Harness:
    return Harness(order_scenario)


async def test_an_acceptance_assigns_the_order_once(harness: Harness):
    """Repeats with and without a request key get the same order and assign nothing."""
    accept = await harness.offer()
    keyed = harness.scenario.caller("rider", "rdr_1", "k1")
    first = await harness.deliveries.accept(keyed, accept)
    assert first["dispatch"] == {"state": "ASSIGNED", "riderId": "rdr_1"}
    assert harness.registry.calls == [("assign", "rdr_1", accept.order_id)]

    again = await harness.deliveries.accept(keyed, accept)
    assert (again["orderId"], again["version"]) == (accept.order_id, first["version"])
    unkeyed = await harness.deliveries.accept(harness.scenario.caller("rider", "rdr_1"), accept)
    assert unkeyed["version"] == first["version"]
    assert harness.registry.calls == [("assign", "rdr_1", accept.order_id)]


async def test_a_refused_acceptance_assigns_nothing(harness: Harness):
    """Another rider's offer is not this rider's."""
    accept = await harness.offer()
    with pytest.raises(Refused) as refused:
        await harness.deliveries.accept(harness.scenario.caller("rider", "rdr_2"), accept)
    assert refused.value.code is Refusal.NOT_FOUND
    assert harness.registry.calls == []


async def test_a_completed_delivery_is_handed_to_settlement(harness: Harness):
    """The rider does not carry it any more, and its money is split soon."""
    accept = await harness.offer()
    order_id, caller = accept.order_id, harness.scenario.caller("rider", "rdr_1")
    await harness.deliveries.accept(caller, accept)
    vendor = harness.scenario.caller("vendor", "ven_1")
    service = harness.scenario.order_service
    await service.order_ready(vendor, commands.OrderReady(order_id=order_id))
    await service.pick_up(caller, commands.PickUp(order_id=order_id))
    complete = commands.CompleteDelivery(order_id=order_id)
    answer = await harness.deliveries.complete(caller, complete)
    assert answer["status"] == "DELIVERED"
    assert harness.registry.calls[1:] == [("release", "rdr_1", order_id)]
    assert harness.queue.order_ids == [order_id]


async def test_a_delivery_that_cannot_be_completed_is_not_settled(harness: Harness):
    """The refusal leaves the order with its rider."""
    accept = await harness.offer()
    caller = harness.scenario.caller("rider", "rdr_1")
    await harness.deliveries.accept(caller, accept)
    with pytest.raises(Refused):
        await harness.deliveries.complete(
            caller, commands.CompleteDelivery(order_id=accept.order_id)
        )
    assert len(harness.registry.calls) == 1
    assert harness.queue.order_ids == []


async def test_a_released_delivery_is_no_longer_the_riders(harness: Harness):
    """The search begins again, and nothing is settled."""
    accept = await harness.offer()
    caller = harness.scenario.caller("rider", "rdr_1")
    await harness.deliveries.accept(caller, accept)
    release = commands.ReleaseDelivery(order_id=accept.order_id, reason="flat tyre")
    await harness.deliveries.release(caller, release)
    assert harness.registry.calls[1:] == [("release", "rdr_1", accept.order_id)]
    assert harness.queue.order_ids == []
