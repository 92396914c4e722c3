"""What a customer is shown of an order that changes while it begins to be watched."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.model import Order, Position
from dispatch.orders.unit_of_work import Caller
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.wire import commands
from handlers.sockets import user
from handlers.sockets.user import UserContext
from tests.handlers.permission_matrix import STAGES
from tests.handlers.sockets.composed_node import ComposedNode, a_session, owner_of, packets_of

pytestmark = pytest.mark.engines


class RacingWatchers:
    """Watchers that let something happen in the moment before a watcher joins."""

    def __init__(self, watchers: Any, action: Callable[[], Awaitable[object]]) -> None:
        self._watchers = watchers
        self._action = action

    async def join(self, order_id: str, watcher: Any) -> None:
        await self._action()
        await self._watchers.join(order_id, watcher)


class RecordingOrders:
    """Orders that note which of them are read."""

    def __init__(self, orders: Any) -> None:
        self._orders = orders
        self.read_ids: list[str] = []

    async def get(self, order_id: str) -> Order | None:
        self.read_ids.append(order_id)
        return await self._orders.get(order_id)


def racing(node: ComposedNode, action: Callable[[], Awaitable[object]]) -> UserContext:
    """The customers' context, in which `action` runs before each join."""
    context = node.contexts.user
    return replace(context, watchers=cast("Any", RacingWatchers(context.watchers, action)))


async def accept_delivery(node: ComposedNode, order: Order) -> None:
    """Have the order's rider accept it at another node."""
    caller = Caller(audience="rider", id=owner_of("rider", order))
    command = commands.AcceptDelivery(order_id=order.order_id, offer_id="ofr_1")
    await node.services.order_service.accept_delivery(caller, command)


async def subscribe(context: UserContext, order: Order, user_id: str | None = None) -> Any:
    """Subscribe to an order as its customer, or as another one."""
    session = a_session("user", user_id or order.user_id)
    command = commands.SubscribeOrder(order_id=order.order_id)
    return await user.on_subscribe_order(context, session, command)


async def test_an_order_without_a_rider_is_shown_without_one(node: ComposedNode):
    """The snapshot is the customer's, and the order is watched."""
    order = await node.insert_order("placed")
    shown = await subscribe(node.contexts.user, order)
    assert (shown["orderId"], shown["status"], "rider" in shown) == (
        order.order_id, "PENDING", False,
    )  # fmt: skip
    assert node.services.watchers.is_watched(order.order_id)


async def test_a_rider_assigned_meanwhile_is_shown(node: ComposedNode):
    """It accepted after the order was read and before this node watched the order."""
    order = await node.insert_order("offered")
    shown = await subscribe(racing(node, lambda: accept_delivery(node, order)), order)

    assert shown["dispatch"]["state"] == "ASSIGNED"
    assert shown["rider"]["riderId"] == owner_of("rider", order)


async def test_a_rider_that_moves_meanwhile_is_shown_at_its_new_position(node: ComposedNode):
    """The order is read once; a position from before the join is not missed."""
    order = await node.insert_order("assigned")
    rider_id, now_ms = owner_of("rider", order), node.services.clock.now_ms()

    async def move() -> None:
        position = Position(lat=4.07, lng=9.71, ts=now_ms, received_at=now_ms)
        facts = RiderFacts(available=True, active=1, vehicle="MOTORBIKE", name="Awa")
        update = PositionUpdate(
            rider_id=rider_id, position=position, facts=facts, cell=cell_of(4.07, 9.71)
        )
        await node.services.positions.put([update])

    context = racing(node, move)
    orders = RecordingOrders(context.orders)
    shown = await subscribe(replace(context, orders=cast("Any", orders)), order)

    assert orders.read_ids == [order.order_id]
    assert shown["rider"]["location"] == {"lat": 4.07, "lng": 9.71}
    assert shown["rider"]["state"] == "live"


async def test_a_rider_without_a_known_position_is_lost(node: ComposedNode):
    """It is named, and placed nowhere."""
    order = await node.insert_order("assigned")
    shown = await subscribe(node.contexts.user, order)
    assert shown["rider"] == {
        "riderId": owner_of("rider", order), "name": None, "vehicle": None, "state": "lost",
    }  # fmt: skip


async def test_another_customers_order_is_not_joined(node: ComposedNode):
    """This node watches no order before it is known to be the customer's."""
    order = await node.insert_order("offered")
    with pytest.raises(Refused) as refused:
        await subscribe(node.contexts.user, order, "usr_other")

    assert refused.value.code is Refusal.NOT_FOUND
    assert not node.services.watchers.is_watched(order.order_id)


async def test_unsubscribing_and_disconnecting_stop_the_watching(node: ComposedNode):
    """One order by command, the other with the socket."""
    one, two = (
        await node.insert_order("placed", "usr_w"),
        await node.insert_order("placed", "usr_w"),
    )
    session, context, watchers = (
        a_session("user", "usr_w"),
        node.contexts.user,
        node.services.watchers,
    )
    for order in (one, two):
        command = commands.SubscribeOrder(order_id=order.order_id)
        await user.on_subscribe_order(context, session, command)
    unsubscribe = commands.UnsubscribeOrder(order_id=one.order_id)
    answer = await user.on_unsubscribe_order(context, session, unsubscribe)
    assert answer == {"orderId": one.order_id}
    assert [watchers.is_watched(each.order_id) for each in (one, two)] == [False, True]
    await user.on_disconnect(context, session)
    assert not watchers.is_watched(two.order_id)


async def put_position(node: ComposedNode, order: Order) -> None:
    """Store a fresh position of the order's rider."""
    now_ms = node.services.clock.now_ms()
    position = Position(lat=4.05, lng=9.7, ts=now_ms, received_at=now_ms)
    update = PositionUpdate(
        rider_id=order.rider_id or "",
        position=position,
        facts=RiderFacts(available=True, active=1),
        cell=cell_of(4.05, 9.7),
    )
    await node.services.positions.put([update])


CARRIED = ("assigned", "at pickup", "carried", "at the door")
OVER = ("delivered", "settled", "rejected", "cancelled")


@pytest.mark.parametrize("stage", STAGES)
async def test_the_live_position_is_shown_while_the_order_is_carried(
    node: ComposedNode, stage: str
):
    """Not before the acceptance and not after the end; an ended order is not watched."""
    order = await node.insert_order(stage)
    await put_position(node, order)
    shown = await subscribe(node.contexts.user, order)
    assert ("location" in shown.get("rider", {})) is (stage in CARRIED)
    assert node.services.watchers.is_watched(order.order_id) is (stage not in OVER)


@pytest.mark.parametrize("stage", CARRIED)
async def test_a_subscription_ends_with_the_order(node: ComposedNode, stage: str):
    """No packet of the rider reaches the socket afterwards, and the order can be read again."""
    order, context = await node.insert_order(stage), node.contexts.user
    session = a_session("user", order.user_id)
    command = commands.SubscribeOrder(order_id=order.order_id)
    await user.on_subscribe_order(context, session, command)
    watchers = node.services.watchers
    assert watchers.send_position(order.order_id, b"a", 1, 1) == 1
    user.stop_watching(context, session, order.order_id)
    assert watchers.send_position(order.order_id, b"b", 2, 2) == 0
    assert packets_of(session) == [b"a"]


async def test_stopping_what_was_not_watched_does_nothing(node: ComposedNode):
    """The end of an order comes to sockets that do not watch it, too."""
    order = await node.insert_order("placed")
    session = a_session("user", order.user_id)
    user.stop_watching(node.contexts.user, session, order.order_id)
    assert not node.services.watchers.is_watched(order.order_id)
