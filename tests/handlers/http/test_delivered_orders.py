"""Delivered orders over HTTP: who sees them, who is paid, ratings, and the trail of the rider."""

import asyncio

import pytest

from dispatch.riders.store import workload_key
from dispatch.tracking.polyline import build_trail, encode_polyline
from dispatch.wire.rights import TRAIL_SHOWN_MS
from ledger.dynamodb.client import DynamoTable
from tests.handlers.delivery_flow import (
    accept_delivery,
    complete_delivery,
    deliver_order,
    put_trail,
)
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


async def test_the_first_rating_stays(api: ApiClient, table: DynamoTable):
    """The same one again gets the same answer, another one is refused: order and rider agree."""
    order_id = (await deliver_order(api))["orderId"]
    line, body = f"POST /orders/{order_id}/rating", {"rating": 4, "comment": "quick"}
    first = await api.request(ADA, line, body, key="r-1")
    again = [await api.request(ADA, line, body, key=key) for key in ("r-1", "r-2", None)]
    others = [
        await api.request(ADA, line, {"rating": rating, **comment})
        for rating, comment in ((5, {"comment": "quick"}), (4, {}), (4, {"comment": "slow"}))
    ]
    read = await api.request(ADA, f"GET /orders/{order_id}")
    hands = await table.get(workload_key(AWA[1]))

    assert [each.data for each in again] == [first.data] * 3
    assert [(each.status, each.error["code"]) for each in others] == [(409, "wrong_state")] * 3
    assert (read.data["rating"], read.data["ratingComment"]) == (4, "quick")
    assert hands is not None
    assert (hands["ratings"], hands["stars"]) == (1, 4)


async def test_ratings_at_once_count_once(api: ApiClient, table: DynamoTable):
    """Of several ratings at the same time one is kept, and the rider's figure is that one."""
    order_id = (await deliver_order(api))["orderId"]
    line = f"POST /orders/{order_id}/rating"
    answers = await asyncio.gather(
        *(api.request(ADA, line, {"rating": rating}) for rating in (1, 2, 3, 4, 5))
    )
    kept = (await api.request(ADMIN, f"GET /orders/{order_id}")).data["rating"]
    hands = await table.get(workload_key(AWA[1]))

    assert sorted(each.status for each in answers) == [200, 409, 409, 409, 409]
    assert hands is not None
    assert (hands["ratings"], hands["stars"]) == (1, kept)


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


async def test_the_trail_is_shown_for_two_hours_after_the_end(api: ApiClient):
    """To customer and vendor; the rider and operators keep it."""
    order_id = (await deliver_order(api))["orderId"]
    await put_trail(api, order_id, 4.05, 4.06)
    statuses: list[list[int]] = []
    for wait_ms in (TRAIL_SHOWN_MS, 1):
        api.clock.advance(wait_ms)
        answers = [
            await api.request(who, f"GET /orders/{order_id}/trail")
            for who in (ADA, CHEZ_ADA, AWA, ADMIN)
        ]
        statuses.append([each.status for each in answers])
    assert statuses == [[200] * 4, [404, 404, 200, 200]]


async def test_address_and_notes_end_with_the_delivery(api: ApiClient):
    """Vendor and rider saw them before; customer and operators still do; lists say the same."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    body = {**goods_order(), "notes": "ring twice"}
    order_id = (await api.request(ADA, "POST /orders", body)).data["orderId"]
    await accept_delivery(api, order_id)

    async def seen() -> list[tuple[bool, bool]]:
        found: list[tuple[bool, bool]] = []
        for who in (ADA, CHEZ_ADA, AWA, ADMIN):
            one = (await api.request(who, f"GET /orders/{order_id}")).data
            [listed] = (await api.request(who, "GET /orders")).data["items"]
            assert listed["locations"] == one["locations"]
            found.append(("address" in one["locations"]["dropoff"], "notes" in one))
        return found

    before = await seen()
    await complete_delivery(api, order_id)
    after = await seen()
    whole, hidden = (True, True), (False, False)
    assert before == [whole] * 4
    assert after == [whole, hidden, hidden, whole]


async def test_the_timeline_tells_the_order_step_by_step(api: ApiClient):
    """Each status with its time and who did it, as the order was really carried."""
    order_id = (await deliver_order(api))["orderId"]
    timeline = (await api.request(ADA, f"GET /orders/{order_id}")).data["timeline"]
    assert [(each["status"], each["by"]) for each in timeline] == [
        ("PENDING", "USER"),
        ("ACCEPTED", "VENDOR"),
        ("READY", "VENDOR"),
        ("IN_TRANSIT", "RIDER"),
        ("DELIVERED", "RIDER"),
        ("FUNDS_DISTRIBUTED", "SYSTEM"),
    ]
    assert {each["at"] for each in timeline} == {api.clock.now_ms()}


async def test_the_timeline_says_that_an_operator_cancelled(api: ApiClient):
    """With the user type, not the operator's id."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order_id = (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]
    api.clock.advance(1_000)
    await api.request(ADMIN, f"POST /orders/{order_id}/cancel", {"reason": "fire"})
    timeline = (await api.request(ADA, f"GET /orders/{order_id}")).data["timeline"]
    assert timeline[-1] == {"status": "CANCELLED", "at": api.clock.now_ms(), "by": "ADMIN"}
