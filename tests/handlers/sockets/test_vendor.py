"""Commands of vendors' sockets."""

import pytest

from dispatch.wire import commands
from handlers.sockets import vendor
from tests.handlers.sockets.composed_node import ComposedNode, a_session, owner_of

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("online", [True, False])
async def test_a_vendor_opens_and_closes(node: ComposedNode, online: bool):
    """The answer and the catalogue say the same."""
    session = a_session("vendor", "ven_open")
    answer = await vendor.on_set_online(
        node.contexts.vendor, session, commands.SetOnline(online=online)
    )
    assert answer == {"online": online}
    stored = await node.services.catalogue.vendor("ven_open")
    assert stored is not None
    assert stored.online is online


async def test_an_accepted_order_is_answered_with_its_summary(node: ComposedNode):
    """The search for a rider has begun."""
    order = await node.insert_order("placed")
    session = a_session("vendor", owner_of("vendor", order))
    command = commands.AcceptOrder(order_id=order.order_id, prep_minutes=5)
    answer = await vendor.on_accept_order(node.contexts.vendor, session, command)
    assert (answer["orderId"], answer["status"]) == (order.order_id, "ACCEPTED")
    stored = await node.services.orders.get(order.order_id)
    assert stored is not None
    assert stored.dispatch is not None


async def test_a_double_tap_is_answered_as_the_first(node: ComposedNode):
    """Without an id too; the store keeps what the repetition is compared with."""
    order = await node.insert_order("placed")
    session = a_session("vendor", owner_of("vendor", order))
    command = commands.AcceptOrder(order_id=order.order_id, prep_minutes=5)
    first = await vendor.on_accept_order(node.contexts.vendor, session, command)
    again = await vendor.on_accept_order(node.contexts.vendor, session, command)
    stored = await node.services.orders.get(order.order_id)
    assert (again, stored.version if stored else 0) == (first, first["version"])
