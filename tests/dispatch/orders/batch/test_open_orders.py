"""Open orders in memory: what the board lists and what has changed is read, nothing else."""

from collections.abc import Sequence
from typing import cast

from msgspec.structs import replace

from dispatch.events.operations_board import OperationsBoard
from dispatch.ids import OrderId
from dispatch.model import DispatchState, Order, OrderStatus
from dispatch.orders.batch.batch_input import pickup_place_of
from dispatch.orders.batch.open_orders import OpenOrders
from dispatch.orders.store import OrderStore
from dispatch.wire.events import OrderMarker
from dispatch.wire.snapshots import order_marker
from tests.dispatch.orders.batch.batch_scenario import a_ready_order


class FakeBoard:
    """A board with the markers of some orders."""

    def __init__(self) -> None:
        self.markers: list[OrderMarker] = []

    async def read(self) -> list[OrderMarker]:
        """The markers."""
        return self.markers


class FakeOrders:
    """Stored orders; remembers which were read."""

    def __init__(self) -> None:
        self.stored: dict[str, Order] = {}
        self.read_ids: list[str] = []

    async def get_many(self, order_ids: Sequence[str]) -> list[Order]:
        """These orders."""
        self.read_ids += order_ids
        return [self.stored[each] for each in order_ids]


class Scenario:
    """A board and stored orders that agree, and the open orders under test."""

    def __init__(self) -> None:
        self.board, self.orders = FakeBoard(), FakeOrders()
        self.open_orders = OpenOrders(
            cast("OrderStore", self.orders), cast("OperationsBoard", self.board)
        )

    def put(self, *orders: Order) -> None:
        """Exactly these orders are open."""
        self.orders.stored = {order.order_id: order for order in orders}
        self.board.markers = [order_marker(order) for order in orders]

    async def read(self) -> list[str]:
        """The ids of the open orders, in order."""
        return sorted(order.order_id for order in await self.open_orders.read())


async def test_only_changed_orders_are_read_again():
    """The second round reads the one whose version on the board is newer."""
    scenario = Scenario()
    same, changed = a_ready_order("same"), a_ready_order("changed")
    scenario.put(same, changed)
    assert await scenario.read() == ["changed", "same"]
    scenario.put(same, replace(changed, version=2))
    scenario.orders.read_ids.clear()

    assert await scenario.read() == ["changed", "same"]
    assert scenario.orders.read_ids == ["changed"]


async def test_an_older_version_never_replaces_a_newer_one():
    """A read that was overtaken by another is no news."""
    scenario = Scenario()
    newer = replace(a_ready_order("o"), version=2)

    assert scenario.open_orders.update(newer)
    assert not scenario.open_orders.update(a_ready_order("o"))
    assert not scenario.open_orders.update(newer)


async def test_an_order_missing_on_the_board_is_kept_while_it_needs_the_engine():
    """The board may have been emptied; an order that is carried has ended there."""
    scenario = Scenario()
    scenario.open_orders.update(a_ready_order("searching"))
    scenario.open_orders.update(a_ready_order("carried", DispatchState.PICKED_UP))

    assert await scenario.read() == ["searching"]


async def test_a_forgotten_order_stays_only_while_it_is_carried():
    """A carried order tells when its rider is free; a cancelled one tells nothing."""
    scenario = Scenario()
    carried = a_ready_order("carried", DispatchState.PICKED_UP)
    cancelled = replace(a_ready_order("off"), status=OrderStatus.CANCELLED)
    scenario.put(carried)
    for order in (carried, cancelled):
        scenario.open_orders.update(order)
        scenario.open_orders.forget(order.order_id, order)
    scenario.open_orders.forget(OrderId("unknown"))

    assert await scenario.read() == ["carried"]
    assert scenario.orders.read_ids == []


async def test_demand_counts_each_order_once():
    """Two orders of one pickup count two, whatever versions of them are read."""
    scenario = Scenario()
    first, second = a_ready_order("a"), a_ready_order("b")
    for order in (first, replace(first, version=2), second):
        scenario.open_orders.update(order)
    scenario.open_orders.clear()

    assert scenario.open_orders.demand() == {pickup_place_of(first): 2}
