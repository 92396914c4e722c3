"""Loading a rider's stored state into this node's registry."""

from collections.abc import Callable

import pytest

from dispatch.ids import RiderId
from dispatch.orders.rider_loader import RiderLoader
from dispatch.riders.store import set_availability
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.rider_state import RiderState
from dispatch.wire.http.profiles import RiderProfile
from tests.dispatch.order_scenario import OrderScenario

pytestmark = pytest.mark.engines


class NullQueue:
    """Takes changed riders and the nodes of orders, and does nothing with them."""

    def enqueue(self, rider: RiderState) -> None:
        """Take a changed rider."""

    def mark_local(self, order_id: str) -> None:
        """Take an order whose positions come from this node."""

    def unmark_local(self, order_id: str) -> None:
        """Take an order whose positions may come from another node."""


class SlowRiders:
    """Riders whose workload is read while something else happens."""

    def __init__(self, riders: object, action: Callable[[], object]) -> None:
        self._riders, self._action = riders, action

    async def workload(self, rider_id: str) -> object:
        found = await self._riders.workload(rider_id)  # type: ignore[attr-defined]
        self._action()
        return found


@pytest.fixture
def registry() -> RiderRegistry:
    """A registry with `rdr_1` connected."""
    null = NullQueue()
    opened = RiderRegistry(null, null, FreshnessLimits(15_000, 45_000))
    opened.connect("rdr_1")
    return opened


def loader_of(scenario: OrderScenario, registry: RiderRegistry) -> RiderLoader:
    return RiderLoader(scenario.riders, scenario.orders, registry, 3)


async def assign_order(scenario: OrderScenario) -> str:
    """Have `rdr_1` carry a new order."""
    order_id = await scenario.place_order()
    await scenario.accept_order(order_id)
    offers = await scenario.make_offers(order_id, "rdr_1")
    await scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])
    return order_id


async def test_a_connecting_rider_is_loaded_completely(
    order_scenario: OrderScenario, registry: RiderRegistry
):
    """Profile, capacity, availability, orders, and where each order leads."""
    profile = RiderProfile(name="Awa", vehicle="MOTORBIKE")
    await order_scenario.riders.put_profile("rdr_1", profile)
    until_ms = order_scenario.clock.now_ms() + 60_000
    on_duty = set_availability("rdr_1", available=True, until_ms=until_ms)
    await order_scenario.table.transact([on_duty])
    order_id = await assign_order(order_scenario)

    await loader_of(order_scenario, registry).load(RiderId("rdr_1"))

    rider = registry.get("rdr_1")
    assert rider is not None
    assert (rider.attributes.name, rider.attributes.vehicle) == ("Awa", "MOTORBIKE")
    assert rider.attributes.capacity == 3
    assert (rider.available, rider.until_ms) == (True, until_ms)
    assert rider.orders == (order_id,)
    assert [leg.order_id for leg in rider.legs] == [order_id]


async def test_orders_delivered_elsewhere_are_dropped(
    order_scenario: OrderScenario, registry: RiderRegistry
):
    """State that outlived an earlier connection is replaced."""
    registry.assign("rdr_1", "ord_delivered")
    await loader_of(order_scenario, registry).load(RiderId("rdr_1"))
    rider = registry.get("rdr_1")
    assert rider is not None
    assert rider.orders == ()


async def test_reading_changes_nothing(order_scenario: OrderScenario, registry: RiderRegistry):
    """An unknown rider has an empty workload and the default attributes."""
    registry.assign("rdr_1", "ord_1")
    workload, attributes = await loader_of(order_scenario, registry).read(RiderId("rdr_1"))
    assert (workload.available, workload.orders, attributes.name) == (False, (), "")
    rider = registry.get("rdr_1")
    assert rider is not None
    assert rider.orders == ("ord_1",)


async def test_a_reloaded_workload_does_not_undo_a_newer_change(
    order_scenario: OrderScenario, registry: RiderRegistry
):
    """The rider went on duty while the table was read; what was read is dropped."""
    rider = registry.get("rdr_1")
    assert rider is not None
    riders = SlowRiders(
        order_scenario.riders, lambda: registry.set_available("rdr_1", available=True)
    )
    loader = RiderLoader(riders, order_scenario.orders, registry, 1)  # type: ignore[arg-type]
    await loader.reload_workload(rider)
    assert rider.available


async def test_a_reloaded_workload_replaces_what_was_missed(
    order_scenario: OrderScenario, registry: RiderRegistry
):
    """Orders taken and given back during a gap are the registry's afterwards."""
    order_id = await assign_order(order_scenario)
    registry.assign("rdr_1", "ord_long_gone")
    rider = registry.get("rdr_1")
    assert rider is not None
    await loader_of(order_scenario, registry).reload_workload(rider)
    assert rider.orders == (order_id,)
