"""A rider's seat at a node holds what the table says he carries, whatever he says and wherever."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dispatch.ids import OfferId, RiderId
from dispatch.model import Offer
from dispatch.orders.transitions.context import OfferFacts
from dispatch.orders.unit_of_work import Caller
from dispatch.wire import commands
from handlers.sockets import rider
from tests.handlers.http_api import (
    ADA,
    AWA,
    CHEZ_ADA,
    ApiClient,
    goods_order,
)

pytestmark = pytest.mark.engines

VENDOR, RIDER = Caller(audience="vendor", id=CHEZ_ADA[1]), Caller(audience="rider", id=AWA[1])
PRINCIPAL = SimpleNamespace(id=AWA[1], audience="rider", identity=f"rider:{AWA[1]}")
# A socket, as far as these commands look at one.
SOCKET = cast("Any", SimpleNamespace(principal=PRINCIPAL, identity=PRINCIPAL.identity))


async def offer_order(api: ApiClient) -> commands.AcceptDelivery:
    """An order that is cooked and offered to the rider, and his yes to it."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order_id = (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]
    flow, now_ms = api.desk.order_service, api.desk.clock.now_ms()
    # The engine holds its lease.
    flow._stores.fence.grant(1, float("inf"))
    await flow.accept_order(VENDOR, commands.AcceptOrder(order_id=order_id))
    await flow.order_ready(VENDOR, commands.OrderReady(order_id=order_id))
    offer = Offer(
        offer_id=OfferId("ofr_1"), wave=1, made_at_ms=now_ms, expires_at_ms=now_ms + 15_000,
        deadline_ms=now_ms + 18_000, distance_km=1.0,
    )  # fmt: skip
    offers = {RiderId(AWA[1]): offer}
    facts = OfferFacts(offers=offers, due_at_ms=now_ms + 18_000, trip_km=1.0)
    await flow.make_offers(order_id, facts)
    return commands.AcceptDelivery(order_id=order_id, offer_id="ofr_1", command_id="cmd_1")


async def complete_elsewhere(api: ApiClient, order_id: str) -> None:
    """The rest of the way, at another node."""
    await api.desk.order_service.pick_up(RIDER, commands.PickUp(order_id=order_id))
    await api.desk.order_service.complete_delivery(
        RIDER, commands.CompleteDelivery(order_id=order_id)
    )


async def test_a_late_repeat_does_not_fill_his_hands_again(api: ApiClient):
    """His app said yes a second time after he had delivered, and he was asked no more.

    He gets the first answer again, and his hands stay empty.
    """
    accept = await offer_order(api)
    api.desk.rider_registry.connect(AWA[1])
    first = await rider.on_accept_delivery(api.desk, SOCKET, accept)
    assert api.desk.rider_registry.get(AWA[1]).orders == (accept.order_id,)
    await complete_elsewhere(api, accept.order_id)
    api.desk.rider_registry.release(AWA[1], accept.order_id)
    again = await rider.on_accept_delivery(api.desk, SOCKET, accept)

    assert again["version"] == first["version"]
    assert api.desk.rider_registry.get(AWA[1]).orders == ()


async def test_who_delivered_elsewhere_comes_back_with_empty_hands(api: ApiClient):
    """He lost his line here, delivered over another node, came back, and counted as busy."""
    accept = await offer_order(api)
    api.desk.rider_registry.connect(AWA[1])
    await rider.on_accept_delivery(api.desk, SOCKET, accept)
    await complete_elsewhere(api, accept.order_id)
    await rider.on_connect(api.desk, SOCKET)

    assert api.desk.rider_registry.get(AWA[1]).orders == ()
