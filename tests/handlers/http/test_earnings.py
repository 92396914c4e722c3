"""A delivered order over HTTP: who sees it, who earned what, and how it was."""

from typing import Any

import pytest

from dispatch.model import Offer, Position
from dispatch.orders.transitions.context import OfferFacts
from dispatch.orders.unit_of_work import Caller
from dispatch.riders.store import workload_key
from dispatch.tracking.polyline import build_trail, encode_polyline
from dispatch.tracking.stores.positions import PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.wire import commands
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    Actor,
    ApiClient,
    goods_order,
)

pytestmark = pytest.mark.engines

VENDOR = Caller(audience="vendor", id=CHEZ_ADA[1])
RIDER = Caller(audience="rider", id=AWA[1])


async def deliver(api: ApiClient, order_id: str) -> None:
    """Take an order all the way, as vendor, engine and rider would."""
    flow, now_ms = api.desk.order_service, api.clock.now_ms()
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
    # Nobody else rules in this test.
    flow._stores.fence.grant(1, float("inf"))
    made = OfferFacts(due_at_ms=now_ms + 18_000, trip_km=1.0)
    await flow.make_offers(order_id, {AWA[1]: offer}, made)
    accepted = commands.AcceptDelivery(order_id=order_id, offer_id="ofr_1")
    await flow.accept_delivery(RIDER, accepted)
    await flow.pick_up(RIDER, commands.PickUp(order_id=order_id))
    await flow.complete_delivery(RIDER, commands.CompleteDelivery(order_id=order_id))
    await flow.settle(order_id)


async def deliver_order(api: ApiClient) -> dict[str, Any]:
    """An order of 5,000 and 1,500 for the way, from a wallet, delivered and settled."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order = (await api.request(ADA, "POST /orders", goods_order())).data
    await deliver(api, order["orderId"])
    return order


async def test_everybody_in_it_sees_it_to_the_end(api: ApiClient):
    """Customer, vendor, rider and operator find the order, alone and in their lists."""
    order_id = (await deliver_order(api))["orderId"]
    seen = [
        await api.request(who, f"GET /orders/{order_id}") for who in (ADA, CHEZ_ADA, AWA, ADMIN)
    ]
    lists = [
        (await api.request(who, "GET /orders?status=FUNDS_DISTRIBUTED")).data["items"]
        for who in (ADA, CHEZ_ADA, AWA)
    ]

    assert {(each.status, each.data["status"]) for each in seen} == {(200, "FUNDS_DISTRIBUTED")}
    assert {each.data["dispatch"]["riderId"] for each in seen} == {AWA[1]}
    assert [[each["orderId"] for each in listed] for listed in lists] == [[order_id]] * 3


async def test_everybody_has_his_part(api: ApiClient):
    """The vendor has 85 % of the goods, the rider the way, and the books sum to zero."""
    order_id = (await deliver_order(api))["orderId"]
    vendor, rider = [
        (await api.request(who, "GET /wallet/balance")).data for who in (CHEZ_ADA, AWA)
    ]
    lines = (await api.request(CHEZ_ADA, "GET /wallet/transactions")).data["items"]
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    assert (vendor["availableBalance"], vendor["totalEarned"]) == (4250, 4250)
    assert (rider["availableBalance"], rider["totalEarned"]) == (1500, 1500)
    assert [(line["amount"], line["orderId"]) for line in lines] == [(4250, order_id)]
    assert books["total"] == 0


async def test_stars_count_once(api: ApiClient, table: DynamoTable):
    """A repeated rating has one answer, and the rider has its stars once, changed or not."""
    order_id = (await deliver_order(api))["orderId"]
    first = await api.request(ADA, f"POST /orders/{order_id}/rating", {"rating": 4}, key="r-1")
    again = await api.request(ADA, f"POST /orders/{order_id}/rating", {"rating": 4}, key="r-1")
    await api.request(ADA, f"POST /orders/{order_id}/rating", {"rating": 5})
    read = await api.request(ADA, f"GET /orders/{order_id}")
    hands = await table.get(workload_key(AWA[1]))

    assert hands is not None
    assert (hands["ratings"], hands["stars"]) == (1, 4)
    assert (first.status, again.status) == (200, 200)
    assert again.data == first.data
    assert read.data["rating"] == 5


async def test_what_was_delivered_stays_delivered(api: ApiClient):
    """A delivered order cannot be called off, by its customer or by an operator."""
    order_id = (await deliver_order(api))["orderId"]
    refused = [await api.request(who, f"POST /orders/{order_id}/cancel") for who in (ADA, ADMIN)]

    assert [(each.status, each.error["code"]) for each in refused] == [(409, "wrong_state")] * 2


async def test_free_hands_show_in_the_profile(api: ApiClient):
    """A rider who has delivered carries nothing, and his figures stay the defaults for a while."""
    await deliver_order(api)
    profile = (await api.request(AWA, "GET /rider/profile")).data

    assert (profile["orders"], profile["completion"], profile["rating"]) == ([], 95.0, 4.5)


async def put_trail(api: ApiClient, order_id: str, *lats: float) -> None:
    """The order's rider leaves a trail, as the drain of his node would write it."""
    fixes = [Position(lat=lat, lng=9.7, ts=i, received_at=i) for i, lat in enumerate(lats, 1)]
    facts = RiderFacts(available=True, active=1)
    trail = [(order_id, fix) for fix in fixes]
    placed = PositionUpdate(
        rider_id=AWA[1], position=fixes[-1], facts=facts, cell=None, trail=trail
    )
    await api.desk.positions.put([placed])


async def test_the_way_of_an_order_is_there_while_it_goes_and_after(api: ApiClient):
    """Everybody in the order sees its way: what there is so far, later what was kept of it."""
    order_id = (await deliver_order(api))["orderId"]
    await put_trail(api, order_id, 4.05, 4.06)
    so_far = (await api.request(ADA, f"GET /orders/{order_id}/trail")).data
    fixes = await api.desk.positions.read_trail(order_id, AWA[1])
    await api.desk.trails.put(order_id, build_trail(AWA[1], fixes))
    await put_trail(api, order_id, 4.09)
    seen = [
        await api.request(who, f"GET /orders/{order_id}/trail")
        for who in (ADA, CHEZ_ADA, AWA, ADMIN)
    ]

    assert so_far == {
        "orderId": order_id,
        "riderId": AWA[1],
        "polyline": encode_polyline([(4.05, 9.7), (4.06, 9.7)]),
        "points": 2,
        "distanceM": 1112,
        "fromMs": 1,
        "toMs": 2,
        "isFinal": False,
    }
    assert [each.data for each in seen] == [{**so_far, "isFinal": True}] * 4


async def test_the_way_of_others_is_not_there(api: ApiClient):
    """Whoever does not see the order does not see its way either."""
    order_id = (await deliver_order(api))["orderId"]
    others: tuple[Actor, ...] = (("USER", "usr_2"), ("VENDOR", "ven_2"), ("RIDER", "rdr_2"))
    answers = [await api.request(who, f"GET /orders/{order_id}/trail") for who in others]
    assert [(each.status, each.error["code"]) for each in answers] == [(404, "not_found")] * 3


async def test_an_order_without_a_rider_has_no_way_yet(api: ApiClient):
    """Before somebody carries it there is nothing to draw, and that is no failure."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order_id = (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]
    told = (await api.request(ADA, f"GET /orders/{order_id}/trail")).data
    assert (told["riderId"], told["polyline"], told["distanceM"]) == (None, "", 0)
    assert told["isFinal"] is False
