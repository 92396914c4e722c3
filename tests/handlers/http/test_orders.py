"""Order endpoints: priced by the server, paid at once, placed once, visible to their parties."""

import asyncio
from typing import Any

import pytest

from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    Actor,
    ApiClient,
    goods_order,
    package_order,
)

pytestmark = pytest.mark.engines

STRANGER: Actor = ("USER", "usr_2")


async def stock(api: ApiClient, item_id: str) -> int | None:
    items = await api.services.catalogue.items_by_id("ven_1", [item_id])
    return items[item_id].stock


async def test_an_order_is_priced_and_paid_from_the_wallet(api: ApiClient):
    """With the server's prices, and at once."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    placed = await api.request(ADA, "POST /orders", goods_order(("ndole", 2)))

    assert placed.status == 201
    assert placed.data["status"] == "PENDING"
    assert placed.data["pricing"]["subtotal"] == 5000
    assert placed.data["pricing"]["deliveryFee"] == 1500
    assert placed.data["pricing"]["total"] == 6500
    assert placed.data["payment"] == {"method": "WALLET", "state": "CAPTURED"}
    assert placed.data["locations"]["pickup"] == {"lat": 4.05, "lng": 9.7, "address": "Akwa"}
    assert await api.available_xaf(ADA) == 3500


async def test_customers_do_not_see_the_split(api: ApiClient):
    """The vendor sees its share, the customer only the price, an operator everything."""
    await api.open_shop()
    order_id = (await api.request(ADA, "POST /orders", goods_order(method="CASH"))).data["orderId"]
    seen = [
        (await api.request(who, f"GET /orders/{order_id}")).data["pricing"]
        for who in (ADA, CHEZ_ADA, ADMIN)
    ]

    assert [each.get("vendorShare") for each in seen] == [None, 4250, 4250]
    assert [each.get("riderShare") for each in seen] == [None, None, 1500]


@pytest.mark.parametrize("who", [STRANGER, AWA, ("VENDOR", "ven_2"), ("VENDOR", "usr_ada")])
async def test_an_order_of_others_is_not_found(api: ApiClient, who: Actor):
    """Other users, vendors and riders cannot tell it from a missing one, nor cancel it."""
    await api.open_shop()
    order_id = (await api.request(ADA, "POST /orders", goods_order(method="CASH"))).data["orderId"]
    theirs = await api.request(who, f"GET /orders/{order_id}")
    missing = await api.request(who, "GET /orders/ord_none")
    listed = await api.request(who, "GET /orders")
    cancelled = await api.request(STRANGER, f"POST /orders/{order_id}/cancel")

    assert (theirs.status, missing.status, cancelled.status) == (404, 404, 404)
    assert theirs.error["code"] == missing.error["code"] == "not_found"
    assert listed.data == {"items": [], "nextCursor": None}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**goods_order(), "vendorId": "ven_none"}, 404, "not_found"),
        (goods_order(kind="MART"), 503, "service_disabled"),
        (package_order(), 503, "service_disabled"),
        ({**goods_order(), "vendorId": "ven_shut"}, 422, "vendor_closed"),
        ({**goods_order(), "deliveryAddress": {"lat": 48.86, "lng": 2.35}}, 422, "out_of_area"),
        ({**goods_order(), "deliveryAddress": {"lat": 0, "lng": 0}}, 422, "out_of_area"),
        (goods_order(("ghost", 1)), 422, "unknown_item"),
        (goods_order(("soya", 1)), 422, "item_unavailable"),
        (goods_order(("juice", 4)), 422, "item_unavailable"),
        (goods_order(("juice", 1)), 422, "below_minimum"),
        (goods_order(("ndole", 1)), 402, "insufficient_funds"),
    ],
)
async def test_a_refused_order_changes_nothing(
    api: ApiClient, body: dict[str, Any], status: int, code: str
):
    """Each error has its status and code, and leaves no order, no debit and no stock taken."""
    await api.open_shop(
        ndole={"name": "Ndolé", "price": 2500, "stock": 5},
        soya={"name": "Soya", "price": 3000, "available": False},
        juice={"name": "Juice", "price": 700, "stock": 3},
    )
    await api.request(("VENDOR", "ven_shut"), "PUT /vendor/profile", {"name": "Shut"})
    await api.fund(ADA, 100)
    refused = await api.request(ADA, "POST /orders", body)
    quoted = await api.request(ADA, "POST /orders/quote", body)

    assert (refused.status, refused.error["code"]) == (status, code)
    # A quote finds every error but a lack of money.
    assert (quoted.status == 200) is (code == "insufficient_funds")
    assert (await api.request(ADA, "GET /orders")).data["items"] == []
    assert await api.available_xaf(ADA) == 100
    assert await stock(api, "ndole") == 5


async def test_a_refusal_has_details(api: ApiClient):
    """They name the minimum, the unknown items, the end out of the area, or a coming service."""
    await api.open_shop()
    short = await api.request(ADA, "POST /orders", goods_order(("ndole", 1), method="CASH"))
    await api.request(CHEZ_ADA, "PUT /vendor/items/ndole", {"name": "Ndolé", "price": 100})
    cheap = await api.request(ADA, "POST /orders", goods_order(("ndole", 1), method="CASH"))
    ghost = await api.request(ADA, "POST /orders", goods_order(("ghost", 1), method="CASH"))
    mart = await api.request(ADA, "POST /orders", goods_order(kind="MART"))
    swapped = {**goods_order(), "deliveryAddress": {"lat": 9.71, "lng": 4.06}}
    far = await api.request(ADA, "POST /orders", swapped)

    assert short.status == 201
    assert cheap.error["details"] == {"minOrderAmount": 2000, "subtotal": 100}
    assert ghost.error["details"] == {"itemIds": ["ghost"]}
    assert mart.error["details"] == {"comingSoon": True}
    assert far.error["details"] == {
        "end": "dropoff",
        "problem": "swapped",
        "lat": 9.71,
        "lng": 4.06,
    }
    assert far.error["message"].endswith("lat and lng look swapped")


async def test_the_recipients_phone_has_one_form(api: ApiClient):
    """A parcel's order shows the number in E.164, whatever its notation; a landline will do."""
    await api.request(ADMIN, "PUT /admin/config/services/packages", {"enabled": True})
    body = {**package_order(), "recipient": {"name": "Eto", "phone": "222 12-34-56"}}
    placed = await api.request(ADA, "POST /orders", body)
    assert placed.data["recipient"]["phone"] == "+237222123456"


@pytest.mark.parametrize("line", ["POST /orders", "POST /orders/quote"])
async def test_a_repeated_parcel_gets_the_first_answer(api: ApiClient, line: str):
    """A body with a phone number has a key like any other; another notation is the same body."""
    await api.request(ADMIN, "PUT /admin/config/services/packages", {"enabled": True})
    bodies = [
        {**package_order(), "recipient": {"name": "Eto", "phone": phone}}
        for phone in ("690 12 34 56", "+237690123456")
    ]
    first, again = [await api.request(ADA, line, body, key="p-1") for body in bodies]
    other = {**package_order(), "recipient": {"name": "Eto", "phone": "690123457"}}
    refused = await api.request(ADA, line, other, key="p-1")

    assert again.data == first.data
    assert (refused.status, refused.error["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "order",
        {},
        {"orderType": "TAXI"},
        {"orderType": "FOOD"},
        {**goods_order(), "items": []},
        {**goods_order(), "items": [{"itemId": "ndole", "quantity": -1}]},
        {**goods_order(), "items": [{"itemId": "ndole", "quantity": 0}]},
        {**goods_order(), "items": [{"itemId": "ndole", "quantity": 1.5}]},
        {**goods_order(), "items": [{"itemId": "ndole", "quantity": 10**30}]},
        {**goods_order(), "items": [{"itemId": "nd#ole", "quantity": 1}]},
        {**goods_order(), "deliveryAddress": {"lat": 91, "lng": 9.7}},
        {**goods_order(), "deliveryAddress": {"lat": 4.05, "lng": "9.7"}},
        {**goods_order(), "paymentMethod": "GOLD"},
        {**goods_order(), "vendorId": "ven_1#PROFILE"},
        {**package_order(), "packageDetails": {"category": "papers", "weight": 0}},
        {**package_order(), "packageDetails": {"category": "papers", "weight": -2}},
        {**package_order(), "recipient": {"name": "Eto", "phone": "call me"}},
        {**package_order(), "recipient": {"name": "Eto", "phone": "+33 899 12 34 56"}},
    ],
)
async def test_a_malformed_order_is_refused(api: ApiClient, body: object):
    """With one sentence, before anything is looked up."""
    refused = await api.request(ADA, "POST /orders", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")
    assert "Traceback" not in refused.error["message"]


async def test_what_a_body_has_besides_its_fields_changes_nothing(api: ApiClient):
    """A price of the client's is ignored: the server's own price holds."""
    await api.open_shop()
    item = {"itemId": "ndole", "quantity": 1.0, "unitPrice": 1}
    body = {**goods_order(method="CASH"), "items": [item], "price": 1, "userId": "usr_2"}
    placed = await api.request(ADA, "POST /orders", body)

    assert (placed.status, placed.data["userId"]) == (201, ADA[1])
    assert placed.data["pricing"]["subtotal"] == 2500


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe", b"NaN", b'{"orderType": NaN}', b"[" * 5000])
async def test_a_body_that_is_not_json_is_malformed(api: ApiClient, raw: bytes):
    """It is no internal error."""
    refused = await api.request_raw("POST", "/orders", api.auth_headers(ADA), data=raw)

    assert (refused.status, refused.error["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    ("who", "line"),
    [
        (CHEZ_ADA, "POST /orders"),
        (AWA, "POST /orders"),
        (ADMIN, "POST /orders"),
        (AWA, "POST /orders/quote"),
        (CHEZ_ADA, "POST /orders/ord_1/cancel"),
        (AWA, "POST /orders/ord_1/rating"),
        (ADA, "GET /admin/orders"),
        (ADA, "PUT /vendor/items/a"),
        (ADMIN, "GET /wallet/balance"),
        (CHEZ_ADA, "POST /wallet/topup"),
        (CHEZ_ADA, "PUT /admin/config/services/food"),
        (ADA, "GET /rider/profile"),
    ],
)
async def test_endpoints_of_another_role_are_forbidden(api: ApiClient, who: Actor, line: str):
    """403 with another role's token, and 401 without one."""
    forbidden = await api.request(who, line, {})
    anonymous = await api.request(None, line, {})

    assert (forbidden.status, forbidden.error["code"]) == (403, "forbidden")
    assert (anonymous.status, anonymous.error["code"]) == (401, "token_required")


async def test_a_repeated_order_is_placed_once(api: ApiClient):
    """The same key and body get the same answer; another body or path is a conflict."""
    await api.open_shop()
    await api.fund(ADA, 20_000)
    first = await api.request(ADA, "POST /orders", goods_order(), key="k-1")
    again = await api.request(ADA, "POST /orders", goods_order(), key="k-1")
    other = await api.request(ADA, "POST /orders", goods_order(("ndole", 3)), key="k-1")
    elsewhere = await api.request(ADA, "POST /orders/quote", goods_order(), key="k-1")
    someone = await api.request(STRANGER, "POST /orders", goods_order(method="CASH"), key="k-1")

    assert (first.status, again.status, someone.status) == (201, 201, 201)
    assert first.data == again.data
    assert (other.status, other.error["code"]) == (409, "conflict")
    assert elsewhere.status == 409
    assert await api.available_xaf(ADA) == 13_500
    assert len((await api.request(ADA, "GET /orders")).data["items"]) == 1


async def test_concurrent_copies_place_one_order(api: ApiClient):
    """Ten at once get the same order, which is paid once."""
    await api.open_shop()
    await api.fund(ADA, 100_000)
    answers = await asyncio.gather(
        *(api.request(ADA, "POST /orders", goods_order(), key="once") for _ in range(10))
    )

    assert {answer.status for answer in answers} == {201}
    assert len({answer.data["orderId"] for answer in answers}) == 1
    assert await api.available_xaf(ADA) == 93_500


@pytest.mark.parametrize("key", ["", "k" * 129, "naïve"])
async def test_an_idempotency_key_is_validated(api: ApiClient, key: str):
    """A key that is empty, too long or not ASCII is malformed."""
    refused = await api.request(ADA, "POST /orders/quote", goods_order(), key=key)

    assert (refused.status, refused.error["code"]) == (400, "malformed")


async def test_a_quote_is_the_price_and_writes_no_order(api: ApiClient):
    """Under a key a repeat gets the first price, and another body is a conflict."""
    await api.open_shop()
    quoted = await api.request(ADA, "POST /orders/quote", goods_order(), key="q-1")
    await api.request(CHEZ_ADA, "PUT /vendor/items/ndole", {"name": "Ndolé", "price": 4000})
    kept = await api.request(ADA, "POST /orders/quote", goods_order(), key="q-1")
    fresh = await api.request(ADA, "POST /orders/quote", goods_order())
    other = await api.request(ADA, "POST /orders/quote", goods_order(("ndole", 1)), key="q-1")

    assert (quoted.status, quoted.data["total"]) == (200, 6500)
    assert kept.data == quoted.data
    assert fresh.data["total"] == 9500
    assert other.status == 409
    assert (await api.request(ADA, "GET /orders")).data["items"] == []


async def test_the_last_items_are_sold_once(api: ApiClient):
    """Of six customers who order one of the last two at once, two succeed."""
    await api.open_shop(ndole={"name": "Ndolé", "price": 2500, "stock": 2})
    answers = await asyncio.gather(
        *(
            api.request(
                ("USER", f"usr_{i}"), "POST /orders", goods_order(("ndole", 1), method="CASH")
            )
            for i in range(6)
        )
    )

    assert sorted(answer.status for answer in answers) == [201, 201, 422, 422, 422, 422]
    assert await stock(api, "ndole") == 0


async def test_a_cancelled_order_is_undone(api: ApiClient):
    """Its money and stock are returned, and it cannot be cancelled again."""
    await api.open_shop(ndole={"name": "Ndolé", "price": 2500, "stock": 5})
    await api.fund(ADA, 10_000)
    order_id = (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]
    taken = (await api.available_xaf(ADA), await stock(api, "ndole"))
    off = await api.request(
        ADA, f"POST /orders/{order_id}/cancel", {"reason": "too slow"}, key="c-1"
    )
    repeated = await api.request(
        ADA, f"POST /orders/{order_id}/cancel", {"reason": "too slow"}, key="c-1"
    )
    late = await api.request(ADA, f"POST /orders/{order_id}/cancel")

    assert taken == (3500, 3)
    assert (off.status, off.data["status"]) == (200, "CANCELLED")
    assert repeated.data == off.data
    assert (late.status, late.error["code"]) == (409, "wrong_state")
    assert (await api.available_xaf(ADA), await stock(api, "ndole")) == (10_000, 5)
    assert (await api.request(ADA, f"GET /orders/{order_id}")).data["reason"] == "too slow"


@pytest.mark.parametrize("rating", [0, 6, 4.5, "5", None])
async def test_a_rating_is_one_to_five(api: ApiClient, rating: object):
    """Any other value is malformed."""
    refused = await api.request(ADA, "POST /orders/ord_1/rating", {"rating": rating})

    assert (refused.status, refused.error["code"]) == (400, "malformed")


async def test_only_delivered_orders_can_be_rated(api: ApiClient):
    """Not one that is under way, nor one of another customer."""
    await api.open_shop()
    order_id = (await api.request(ADA, "POST /orders", goods_order(method="CASH"))).data["orderId"]
    early = await api.request(ADA, f"POST /orders/{order_id}/rating", {"rating": 5})
    theirs = await api.request(STRANGER, f"POST /orders/{order_id}/rating", {"rating": 5})

    assert (early.status, early.error["code"]) == (409, "wrong_state")
    assert (theirs.status, theirs.error["code"]) == (404, "not_found")


async def test_orders_are_paged_newest_first(api: ApiClient):
    """Each order is in one page, for the customer and for the vendor."""
    await api.open_shop()
    await api.fund(ADA, 100_000)
    placed: list[str] = []
    for _ in range(5):
        placed.append((await api.request(ADA, "POST /orders", goods_order())).data["orderId"])
        api.clock.advance(10)
    first = (await api.request(ADA, "GET /orders?limit=3")).data
    second = (await api.request(ADA, f"GET /orders?limit=3&cursor={first['nextCursor']}")).data
    vendors = (await api.request(CHEZ_ADA, "GET /orders?status=PENDING&limit=100")).data
    stolen = await api.request(STRANGER, f"GET /orders?limit=3&cursor={first['nextCursor']}")

    mine = [order["orderId"] for order in first["items"] + second["items"]]
    assert mine == placed[::-1] == [order["orderId"] for order in vendors["items"]]
    assert (len(first["items"]), second["nextCursor"]) == (3, None)
    assert (stolen.status, stolen.error["code"]) == (400, "malformed")


async def test_orders_are_filtered_by_status(api: ApiClient):
    """Pages of a filtered list are still full."""
    await api.open_shop()
    ids = [
        (await api.request(ADA, "POST /orders", goods_order(method="CASH"))).data["orderId"]
        for _ in range(3)
    ]
    await api.request(ADA, f"POST /orders/{ids[1]}/cancel")
    open_, off = [
        (await api.request(ADA, f"GET /orders?status={status}&limit=2")).data["items"]
        for status in ("PENDING", "CANCELLED")
    ]

    assert {order["orderId"] for order in open_} == {ids[0], ids[2]}
    assert [order["orderId"] for order in off] == [ids[1]]


async def test_operators_list_all_orders(api: ApiClient):
    """By status or by open and closed, page by page."""
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


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=1_0",
        "limit=ten",
        "limit=%D9%A3",
        "limit=",
        "status=pending",
        "status=OPEN",
        "cursor=nonsense",
        "cursor=0.1",
    ],
)
async def test_list_parameters_are_validated(api: ApiClient, query: str):
    """A limit out of bounds, an unknown status or another list's cursor is malformed."""
    refused = await api.request(ADA, f"GET /orders?{query}")

    assert (refused.status, refused.error["code"]) == (400, "malformed")


async def test_mobile_money_is_paid_by_the_sandbox(api: ApiClient):
    """Under --dev at once; a cancelled order's money goes into the wallet."""
    await api.open_shop()
    placed = await api.request(ADA, "POST /orders", goods_order(method="MOBILE_MONEY"), key="m-1")
    order_id = placed.data["orderId"]
    paid = await api.request(ADA, f"GET /orders/{order_id}")
    await api.request(ADA, f"POST /orders/{order_id}/cancel")
    again = await api.request(ADA, "POST /orders", goods_order(method="MOBILE_MONEY"), key="m-1")
    books = await api.request(ADMIN, "GET /admin/ledger/trial-balance")

    assert placed.data["payment"]["state"] == "PENDING"
    assert paid.data["payment"]["state"] == "CAPTURED"
    assert (again.status, again.data) == (201, placed.data)
    assert await api.available_xaf(ADA) == 6500
    assert books.data["total"] == 0


async def test_a_parcel_is_priced_by_distance(api: ApiClient):
    """Over the maximum weight it is refused."""
    await api.request(ADMIN, "PUT /admin/config/services/packages", {"enabled": True})
    placed = await api.request(ADA, "POST /orders", package_order())
    heavy = await api.request(ADA, "POST /orders", package_order(50.5))

    assert (placed.status, placed.data["orderType"]) == (201, "PACKAGE")
    assert placed.data["pricing"]["total"] == 2000 + 556
    assert placed.data["packageDetails"]["weight"] == 2.0
    assert (heavy.status, heavy.error["code"]) == (422, "too_heavy")
    assert heavy.error["details"]["maxWeightKg"] == 50


async def test_mobile_money_needs_a_provider(production_api: ApiClient):
    """Without a webhook secret the order is refused rather than left unpaid."""
    await production_api.open_shop()
    refused = await production_api.request(ADA, "POST /orders", goods_order(method="MOBILE_MONEY"))

    assert (refused.status, refused.error["code"]) == (503, "service_disabled")
    assert (await production_api.request(ADA, "GET /orders")).data["items"] == []
