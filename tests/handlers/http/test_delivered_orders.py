"""Delivered orders over HTTP: who sees them, who is paid, ratings, and the trail of the rider."""

import pytest

from dispatch.riders.store import workload_key
from dispatch.tracking.polyline import build_trail, encode_polyline
from ledger.dynamodb.client import DynamoTable
from tests.handlers.delivery_flow import deliver_order, put_trail
from tests.handlers.http_api import ADA, ADMIN, AWA, CHEZ_ADA, Actor, ApiClient, goods_order

pytestmark = pytest.mark.engines


async def test_a_delivered_order_is_visible_to_its_parties(api: ApiClient):
    """Customer, vendor, rider and operator read it, and the parties find it in their lists."""
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


async def test_a_delivered_order_is_settled(api: ApiClient):
    """The vendor gets 85 % of the goods, the rider the fee, and the trial balance is zero."""
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


async def test_a_rating_counts_once(api: ApiClient, table: DynamoTable):
    """A repeat gets the first answer, and a changed rating does not count again for the rider."""
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


async def test_a_delivered_order_cannot_be_cancelled(api: ApiClient):
    """By its customer or by an operator."""
    order_id = (await deliver_order(api))["orderId"]
    refused = [await api.request(who, f"POST /orders/{order_id}/cancel") for who in (ADA, ADMIN)]

    assert [(each.status, each.error["code"]) for each in refused] == [(409, "wrong_state")] * 2


async def test_the_profile_shows_the_workload_after_a_delivery(api: ApiClient):
    """It has no orders any more, and the statistics are still the defaults."""
    await deliver_order(api)
    profile = (await api.request(AWA, "GET /rider/profile")).data

    assert (profile["orders"], profile["completion"], profile["rating"]) == ([], 95.0, 4.5)


async def test_the_trail_is_readable_during_and_after_the_delivery(api: ApiClient):
    """The positions so far, and later the archived trail, which does not grow."""
    order_id = (await deliver_order(api))["orderId"]
    await put_trail(api, order_id, 4.05, 4.06)
    so_far = (await api.request(ADA, f"GET /orders/{order_id}/trail")).data
    fixes = await api.services.positions.read_trail(order_id, AWA[1])
    await api.services.trails.put(order_id, build_trail(AWA[1], fixes))
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


async def test_the_trail_of_others_is_not_found(api: ApiClient):
    """Other users, vendors and riders get 404."""
    order_id = (await deliver_order(api))["orderId"]
    others: tuple[Actor, ...] = (("USER", "usr_2"), ("VENDOR", "ven_2"), ("RIDER", "rdr_2"))
    answers = [await api.request(who, f"GET /orders/{order_id}/trail") for who in others]
    assert [(each.status, each.error["code"]) for each in answers] == [(404, "not_found")] * 3


async def test_an_order_without_a_rider_has_an_empty_trail(api: ApiClient):
    """It is no error, and not final."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order_id = (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]
    answer = (await api.request(ADA, f"GET /orders/{order_id}/trail")).data
    assert (answer["riderId"], answer["polyline"], answer["distanceM"]) == (None, "", 0)
    assert answer["isFinal"] is False
