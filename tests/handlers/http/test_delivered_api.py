"""A delivered order over HTTP: who sees it, who earned what, and how it was."""

from typing import Any

import pytest

from dispatch.model import Offer
from dispatch.orders.clerk import Caller
from dispatch.orders.step import OffersMade
from dispatch.store.riders import duty_key
from dispatch.wire import commands
from ledger.dynamo import DynamoTable
from tests.handlers.http.asking import ADA, ADMIN, AWA, CHEZ_ADA, Api, food

pytestmark = pytest.mark.engines

VENDOR = Caller(audience="vendor", id=CHEZ_ADA[1])
RIDER = Caller(audience="rider", id=AWA[1])


async def deliver(api: Api, order_id: str) -> None:
    """Take an order all the way, as vendor, engine and rider would."""
    flow, now_ms = api.desk.flow, api.desk.clock.now_ms()
    await flow.accept_order(VENDOR, commands.AcceptOrder(order_id=order_id))
    await flow.order_ready(VENDOR, commands.OrderReady(order_id=order_id))
    offer = Offer(
        offer_id="ofr_1",
        wave=1,
        made_at_ms=now_ms,
        expires_at_ms=now_ms + 15_000,
        deadline_ms=now_ms + 18_000,
        distance_km=1.0,
    )
    made = OffersMade(due_at_ms=now_ms + 18_000, trip_km=1.0)
    await flow.make_offers(order_id, {AWA[1]: offer}, made)
    accepted = commands.AcceptDelivery(order_id=order_id, offer_id="ofr_1")
    await flow.accept_delivery(RIDER, accepted)
    await flow.pick_up(RIDER, commands.PickUp(order_id=order_id))
    await flow.complete_delivery(RIDER, commands.CompleteDelivery(order_id=order_id))
    await flow.settle(order_id)


async def delivered(api: Api) -> dict[str, Any]:
    """An order of 5,000 and 1,500 for the way, from a wallet, delivered and settled."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order = (await api.ask(ADA, "POST /orders", food())).data
    await deliver(api, order["orderId"])
    return order


async def test_everybody_in_it_sees_it_to_the_end(api: Api):
    """Customer, vendor, rider and operator find the order, alone and in their lists."""
    order_id = (await delivered(api))["orderId"]
    seen = [await api.ask(who, f"GET /orders/{order_id}") for who in (ADA, CHEZ_ADA, AWA, ADMIN)]
    lists = [
        (await api.ask(who, "GET /orders?status=FUNDS_DISTRIBUTED")).data["items"]
        for who in (ADA, CHEZ_ADA, AWA)
    ]

    assert {(each.status, each.data["status"]) for each in seen} == {(200, "FUNDS_DISTRIBUTED")}
    assert {each.data["dispatch"]["riderId"] for each in seen} == {AWA[1]}
    assert [[each["orderId"] for each in listed] for listed in lists] == [[order_id]] * 3


async def test_everybody_has_his_part(api: Api):
    """The vendor has 85 % of the goods, the rider the way, and the books sum to zero."""
    order_id = (await delivered(api))["orderId"]
    vendor, rider = [(await api.ask(who, "GET /wallet/balance")).data for who in (CHEZ_ADA, AWA)]
    lines = (await api.ask(CHEZ_ADA, "GET /wallet/transactions")).data["items"]
    books = (await api.ask(ADMIN, "GET /admin/ledger/trial-balance")).data

    assert (vendor["availableBalance"], vendor["totalEarned"]) == (4250, 4250)
    assert (rider["availableBalance"], rider["totalEarned"]) == (1500, 1500)
    assert [(line["amount"], line["orderId"]) for line in lines] == [(4250, order_id)]
    assert books["total"] == 0


async def test_stars_count_once(api: Api, table: DynamoTable):
    """A repeated rating has one answer, and the rider has its stars once, changed or not."""
    order_id = (await delivered(api))["orderId"]
    first = await api.ask(ADA, f"POST /orders/{order_id}/rating", {"rating": 4}, key="r-1")
    again = await api.ask(ADA, f"POST /orders/{order_id}/rating", {"rating": 4}, key="r-1")
    await api.ask(ADA, f"POST /orders/{order_id}/rating", {"rating": 5})
    read = await api.ask(ADA, f"GET /orders/{order_id}")
    hands = await table.get(duty_key(AWA[1]))

    assert hands is not None
    assert (hands["ratings"], hands["stars"]) == (1, 4)
    assert (first.status, again.status) == (200, 200)
    assert again.data == first.data
    assert read.data["rating"] == 5


async def test_what_was_delivered_stays_delivered(api: Api):
    """A delivered order cannot be called off, by its customer or by an operator."""
    order_id = (await delivered(api))["orderId"]
    refused = [await api.ask(who, f"POST /orders/{order_id}/cancel") for who in (ADA, ADMIN)]

    assert [(each.status, each.error["code"]) for each in refused] == [(409, "wrong_state")] * 2


async def test_free_hands_show_in_the_profile(api: Api):
    """A rider who has delivered carries nothing, and his figures stay the defaults for a while."""
    await delivered(api)
    profile = (await api.ask(AWA, "GET /rider/profile")).data

    assert (profile["orders"], profile["completion"], profile["rating"]) == ([], 95.0, 4.5)
