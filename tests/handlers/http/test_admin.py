"""What operators see of the search for riders, and how they change it."""

import pytest

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


async def test_a_policy_is_read_and_changed_in_parts(api: ApiClient):
    """What is not named stays; the version counts, and other services keep their own."""
    before = await api.request(ADMIN, f"GET {OFFERS}")
    after = await api.request(ADMIN, f"PUT {OFFERS}", {"staggerMs": 0, "waveSizes": [2, 4]})
    other = await api.request(ADMIN, "GET /admin/config/offers/mart")

    assert (before.data["version"], before.data["zone"]) == (0, "douala")
    assert after.data == {**before.data, "version": 1, "staggerMs": 0, "waveSizes": [2, 4]}
    assert (await api.request(ADMIN, f"GET {OFFERS}")).data == after.data
    assert other.data == {**before.data, "service": "mart"}


async def test_a_zone_turns_to_batches_without_a_restart(api: ApiClient):
    """The mode is data, a service's own, and so are the backlogs between which it changes."""
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
async def test_a_policy_that_makes_no_sense_changes_nothing(
    api: ApiClient, body: dict[str, object]
):
    """Every bound is kept, and the parts must fit together."""
    refused = await api.request(ADMIN, f"PUT {OFFERS}", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")
    assert (await api.request(ADMIN, f"GET {OFFERS}")).data["version"] == 0


async def test_a_change_leaves_a_record(api: ApiClient, table: DynamoTable):
    """Who changed what, from what to what."""
    await api.request(ADMIN, f"PUT {OFFERS}", {"windowMs": 20_000})
    day = api.clock.now_ms() // 86_400_000
    [record] = (await table.query(Query(pk=f"AUDIT#{day}"))).items

    assert (record["action"], record["by"], record["service"]) == ("put_offers", "adm_1", "FOOD")
    assert (record["before"]["windowMs"], record["after"]["windowMs"]) == (15_000, 20_000)


@pytest.mark.parametrize("who", [ADA, CHEZ_ADA, AWA])
async def test_only_operators_see_how_riders_are_asked(api: ApiClient, who):
    """Customers, vendors and riders have no part in it."""
    asked = [
        await api.request(who, f"GET {OFFERS}"),
        await api.request(who, f"PUT {OFFERS}", {"staggerMs": 0}),
        await api.request(who, "GET /admin/orders/ord_1/decisions"),
    ]

    assert {each.status for each in asked} == {403}


async def test_an_order_that_is_not_there_has_no_decisions(api: ApiClient):
    """An unknown order is 404; one that no rider was wanted for yet has an empty list."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order = (await api.request(ADA, "POST /orders", goods_order())).data
    unknown = await api.request(ADMIN, "GET /admin/orders/ord_none/decisions")
    none = await api.request(ADMIN, f"GET /admin/orders/{order['orderId']}/decisions")

    assert (unknown.status, unknown.error["code"]) == (404, "not_found")
    assert none.data == {"items": [], "nextCursor": None, "notKept": 0}
