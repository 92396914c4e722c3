"""What operators change and look at over HTTP: rates, orders, riders, the books."""

import pytest

from dispatch.model import Position
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    ApiClient,
    goods_order,
)

pytestmark = pytest.mark.engines


async def test_customers_see_prices_and_no_commission(api: ApiClient):
    """The configuration names every service, what it costs, and nowhere what the platform keeps."""
    told = await api.request(ADA, "GET /config")
    one = await api.request(AWA, "GET /config/service/food")

    assert told.data == {
        "currency": "XAF",
        "services": {
            "food": one.data,
            "mart": {
                "service": "mart",
                "orderType": "MART",
                "enabled": False,
                "currency": "XAF",
                "comingSoon": True,
            },
            "packages": {
                "service": "packages",
                "orderType": "PACKAGE",
                "enabled": False,
                "currency": "XAF",
                "comingSoon": True,
            },
        },
    }
    assert one.data == {
        "service": "food",
        "orderType": "FOOD",
        "enabled": True,
        "currency": "XAF",
        "deliveryFee": 1500,
        "minOrderAmount": 2000,
    }


async def test_a_service_that_is_off_is_yet_to_come(api: ApiClient):
    """A service that is off answers 503 and says that it is coming; one that is none is 404."""
    off = await api.request(ADA, "GET /config/service/packages")
    unknown = await api.request(ADA, "GET /config/service/taxi")

    assert (off.status, off.error["code"]) == (503, "service_disabled")
    assert off.error["details"] == {"comingSoon": True}
    assert (unknown.status, unknown.error["code"]) == (404, "not_found")


async def test_rates_change_without_a_restart(api: ApiClient):
    """An operator's change holds for the next order and leaves those that were placed alone."""
    await api.open_shop()
    before = await api.request(ADA, "POST /orders", goods_order(method="CASH"))
    changed = await api.request(
        ADMIN, "PUT /admin/config/services/food", {"commissionBps": 2000, "deliveryFee": 1000}
    )
    after = await api.request(ADA, "POST /orders", goods_order(method="CASH"))
    shares = [
        (await api.request(ADMIN, f"GET /orders/{placed.data['orderId']}")).data["pricing"]
        for placed in (before, after)
    ]

    assert changed.data["commissionBps"] == 2000
    assert changed.data["version"] == 2
    assert [(each["commission"], each["deliveryFee"]) for each in shares] == [
        (750, 1500),
        (1000, 1000),
    ]
    assert [each["rateVersion"] for each in shares] == [1, 2]


@pytest.mark.parametrize(
    "body",
    [
        {"commissionBps": 10_001},
        {"commissionBps": -1},
        {"commissionBps": 15.5},
        {"deliveryFee": -1},
        {"enabled": "yes"},
        {"maxWeightKg": 0},
        {"surge": 2},
    ],
)
async def test_malformed_rates_change_nothing(api: ApiClient, body: dict[str, object]):
    """A rate outside of its bounds, or one that is unknown, is refused."""
    refused = await api.request(ADMIN, "PUT /admin/config/services/food", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")
    assert (await api.desk.service_rates.rates())["FOOD"].version == 1


async def test_an_operator_sees_all_orders(api: ApiClient):
    """The list holds everybody's orders, by status where asked, page by page until the end."""
    await api.open_shop()
    placed = {
        (await api.request(("USER", f"usr_{i}"), "POST /orders", goods_order(method="CASH"))).data[
            "orderId"
        ]
        for i in range(5)
    }
    off = min(placed)
    await api.request(ADMIN, f"POST /orders/{off}/cancel", {"reason": "test"})
    first = (await api.request(ADMIN, "GET /admin/orders?limit=3")).data
    second = (
        await api.request(ADMIN, f"GET /admin/orders?limit=3&cursor={first['nextCursor']}")
    ).data
    cancelled = (await api.request(ADMIN, "GET /admin/orders?status=CANCELLED")).data
    open_ = (await api.request(ADMIN, "GET /orders?status=OPEN")).data

    assert {order["orderId"] for order in first["items"] + second["items"]} == placed
    assert [order["orderId"] for order in cancelled["items"]] == [off]
    assert {order["orderId"] for order in open_["items"]} == placed - {off}


async def test_riders_around_a_point(api: ApiClient):
    """The riders within the radius come nearest first, with what they do and how fresh they are."""
    now_ms = api.clock.now_ms()
    seen = {"rdr_near": (4.051, 0), "rdr_old": (4.06, 20_000), "rdr_far": (4.5, 0)}
    await api.desk.positions.put(
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
    told = await api.request(ADMIN, "GET /admin/riders/nearby?lat=4.05&lng=9.7&radiusKm=5")
    one = await api.request(ADMIN, "GET /admin/riders/nearby?lat=4.05&lng=9.7&limit=1")

    riders = [(each["riderId"], each["state"], each["duty"]) for each in told.data["items"]]
    assert riders == [("rdr_near", "live", "idle"), ("rdr_old", "stale", "idle")]
    assert told.data["items"][0]["location"] == {"lat": 4.051, "lng": 9.7}
    assert told.data["items"][0]["distanceKm"] == pytest.approx(0.111, abs=0.001)
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
async def test_a_point_lies_on_this_globe(api: ApiClient, query: str):
    """A point off the globe, or a radius without measure, is malformed."""
    refused = await api.request(ADMIN, f"GET /admin/riders/nearby?{query}")

    assert (refused.status, refused.error["code"]) == (400, "malformed")


async def test_the_books_sum_to_zero(api: ApiClient):
    """After a top-up and an order from the wallet every franc is in some account."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    await api.request(ADA, "POST /orders", goods_order())
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    balances = {each["account"].split("#")[0]: each["balance"] for each in books["accounts"]}
    assert (books["total"], books["entries"]) == (0, 2)
    assert balances == {"CLEARING": -10_000, "USER": 3500, "ORDER": 6500}
    assert (await api.request(CHEZ_ADA, "GET /admin/ledger/trial-balance")).status == 403
