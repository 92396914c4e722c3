"""Operators' endpoints about the search for riders: offer policies, decisions, riders nearby."""

import pytest

from dispatch.model import Position
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    ApiClient,
    goods_order,
)

pytestmark = pytest.mark.engines

OFFERS = "/admin/config/offers/food"


async def test_an_offer_policy_is_patched(api: ApiClient):
    """Omitted fields stay, the version increases, and other services keep their policy."""
    before = await api.request(ADMIN, f"GET {OFFERS}")
    after = await api.request(ADMIN, f"PUT {OFFERS}", {"staggerMs": 0, "waveSizes": [2, 4]})
    other = await api.request(ADMIN, "GET /admin/config/offers/mart")

    assert (before.data["version"], before.data["zone"]) == (0, "douala")
    assert after.data == {**before.data, "version": 1, "staggerMs": 0, "waveSizes": [2, 4]}
    assert (await api.request(ADMIN, f"GET {OFFERS}")).data == after.data
    assert other.data == {**before.data, "service": "mart"}


async def test_the_batch_mode_is_part_of_the_policy(api: ApiClient):
    """It changes for one service without a restart."""
    how = {"mode": "auto", "batchAbove": 2.0, "batchBelow": 1.5, "batchEveryMs": 2_000}
    after = await api.request(ADMIN, f"PUT {OFFERS}", how)

    assert {name: after.data[name] for name in how} == how
    assert (await api.request(ADMIN, "GET /admin/config/offers/mart")).data["mode"] == "offers"


@pytest.mark.parametrize(
    "body",
    [
        {"windowMs": 2_999},
        {"windowMs": 40_001},
        {"waveSizes": []},
        {"waveSizes": [0]},
        {"radiiKm": [3, 1.5]},
        {"radiiKm": [1.5, 1.5]},
        {"receiptMs": 20_000},
        {"staggerMs": "3 s"},
        {"mode": "best"},
        {"batchEveryMs": 499},
        {"batchBelow": 1.0},
        {"unknown": 1},
    ],
)
async def test_an_invalid_policy_changes_nothing(api: ApiClient, body: dict[str, object]):
    """A value out of bounds, or values that contradict each other, are malformed."""
    refused = await api.request(ADMIN, f"PUT {OFFERS}", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")
    assert (await api.request(ADMIN, f"GET {OFFERS}")).data["version"] == 0


async def test_a_policy_change_leaves_an_audit_record(api: ApiClient, table: DynamoTable):
    """It says who changed what, with the values before and after."""
    await api.request(ADMIN, f"PUT {OFFERS}", {"windowMs": 20_000})
    day = api.clock.now_ms() // 86_400_000
    [record] = (await table.query(Query(pk=f"AUDIT#{day}"))).items

    details = record["details"]
    assert (record["action"], record["actor"]) == ("put_offers", "adm_1")
    assert record["resource"] == "offers:douala:FOOD"
    assert (details["before"]["windowMs"], details["after"]["windowMs"]) == (15_000, 20_000)


@pytest.mark.parametrize("who", [ADA, CHEZ_ADA, AWA])
async def test_offer_policies_and_decisions_are_for_operators(api: ApiClient, who):
    """Other roles are forbidden to read and to change them."""
    asked = [
        await api.request(who, f"GET {OFFERS}"),
        await api.request(who, f"PUT {OFFERS}", {"staggerMs": 0}),
        await api.request(who, "GET /admin/orders/ord_1/decisions"),
    ]

    assert {each.status for each in asked} == {403}


async def test_decisions_of_an_order(api: ApiClient):
    """An unknown order is 404; an order without a search yet has an empty list."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order = (await api.request(ADA, "POST /orders", goods_order())).data
    unknown = await api.request(ADMIN, "GET /admin/orders/ord_none/decisions")
    none = await api.request(ADMIN, f"GET /admin/orders/{order['orderId']}/decisions")

    assert (unknown.status, unknown.error["code"]) == (404, "not_found")
    assert none.data == {"items": [], "nextCursor": None, "notKept": 0}


async def test_riders_nearby(api: ApiClient):
    """Riders within the radius, nearest first, with workload, freshness and distance."""
    now_ms = api.clock.now_ms()
    seen = {"rdr_near": (4.051, 0), "rdr_old": (4.06, 20_000), "rdr_far": (4.5, 0)}
    await api.services.positions.put(
        [
            PositionUpdate(
                rider_id=rider_id,
                position=Position(lat=lat, lng=9.7, ts=now_ms - age, received_at=now_ms - age),
                facts=RiderFacts(available=True, active=0, name="Awa", vehicle="CAR"),
                cell=cell_of(lat, 9.7),
            )
            for rider_id, (lat, age) in seen.items()
        ]
    )
    answer = await api.request(ADMIN, "GET /admin/riders/nearby?lat=4.05&lng=9.7&radiusKm=5")
    one = await api.request(ADMIN, "GET /admin/riders/nearby?lat=4.05&lng=9.7&limit=1")

    riders = [(each["riderId"], each["state"], each["duty"]) for each in answer.data["items"]]
    assert riders == [("rdr_near", "live", "idle"), ("rdr_old", "stale", "idle")]
    assert answer.data["items"][0]["location"] == {"lat": 4.051, "lng": 9.7}
    assert answer.data["items"][0]["distanceKm"] == pytest.approx(0.111, abs=0.001)
    assert len(one.data["items"]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "",
        "lat=4.05",
        "lat=91&lng=9.7",
        "lat=nan&lng=9.7",
        "lat=4.05&lng=inf",
        "lat=4.05&lng=9.7&radiusKm=0",
        "lat=4.05&lng=9.7&radiusKm=101",
        "lat=4.05&lng=9.7&radiusKm=wide",
    ],
)
async def test_a_point_is_validated(api: ApiClient, query: str):
    """Coordinates or a radius that are missing or out of bounds are malformed."""
    refused = await api.request(ADMIN, f"GET /admin/riders/nearby?{query}")

    assert (refused.status, refused.error["code"]) == (400, "malformed")
