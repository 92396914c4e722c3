"""Promotions over HTTP: created by operators, priced into orders, within limits that hold."""

import asyncio
from typing import Any

import pytest

from tests.handlers.http_api import (
    ADA,
    ADMIN,
    CHEZ_ADA,
    Actor,
    ApiClient,
    ApiResponse,
    goods_order,
    package_order,
)

pytestmark = pytest.mark.engines

DAY_MS = 86_400_000
EVE: Actor = ("USER", "usr_eve")


async def create_promotion(api: ApiClient, **terms: Any) -> ApiResponse:
    """Create a promotion of 500 off a FOOD order, once per customer; `terms` change it."""
    now_ms = api.clock.now_ms()
    defaults = {
        "code": "NDOLE500",
        "services": ["FOOD"],
        "amount": 500,
        "budget": 5_000,
        "endsAt": now_ms + DAY_MS,
    }
    body = {name: value for name, value in {**defaults, **terms}.items() if value is not None}
    return await api.request(ADMIN, "POST /admin/promotions", body)


def discounted_order(code: str = "NDOLE500", **order: Any) -> dict[str, Any]:
    return {**goods_order(), "promoCode": code, **order}


async def spent_and_uses(api: ApiClient, code: str = "NDOLE500") -> tuple[int, int]:
    kept = (await api.request(ADMIN, f"GET /admin/promotions/{code}")).data
    return kept["spent"], kept["uses"]


async def test_a_discount_is_paid_by_the_platform(api: ApiClient):
    """Quote and order have the same price; the platform's account bears the discount."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    made = await create_promotion(api)
    quoted = await api.request(ADA, "POST /orders/quote", discounted_order())
    placed = await api.request(ADA, "POST /orders", discounted_order(code="ndole500"))
    order = await api.services.orders.get(placed.data["orderId"])
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data
    promo = sum(
        a["balance"] for a in books["accounts"] if a["account"].startswith("PLATFORM#PROMO")
    )

    assert (made.status, made.data["status"], made.data["left"]) == (201, "ACTIVE", 5_000)
    assert (quoted.data["discount"], quoted.data["total"]) == (500, 6_000)
    assert (placed.data["pricing"], placed.data["promoCode"]) == (quoted.data, "NDOLE500")
    assert (await api.request(ADA, "GET /wallet/balance")).data["availableBalance"] == 4_000
    assert order.pricing.gross == 6_500
    assert (promo, books["total"]) == (-500, 0)
    assert await spent_and_uses(api) == (500, 1)


@pytest.mark.parametrize(
    ("terms", "discount"),
    [
        ({"amount": None, "percentBps": 1_000}, 500),
        ({"amount": None, "percentBps": 3_333}, 1_666),
        ({"amount": None, "percentBps": 10_000}, 5_000),
        ({"amount": None, "percentBps": 10_000, "cap": 700}, 700),
        ({"amount": None, "percentBps": 1_000, "cap": 700}, 500),
        # A franc remains to be paid.
        ({"amount": 1_000_000, "budget": 10**9}, 6_499),
        ({"minOrderAmount": 5_000}, 500),
        ({"budget": 500}, 500),
    ],
)
async def test_a_discount_is_a_rate_or_an_amount(
    api: ApiClient, terms: dict[str, Any], discount: int
):
    """Of 5,000 of goods, rounded down and at most the cap; the delivery fee is not discounted."""
    await api.open_shop()
    await create_promotion(api, **terms)
    quoted = await api.request(ADA, "POST /orders/quote", discounted_order())

    assert (quoted.status, quoted.data["discount"]) == (200, discount)
    assert quoted.data["total"] == 6_500 - discount


async def test_a_tip_is_never_discounted(api: ApiClient):
    """However large the promotion."""
    await api.open_shop()
    await create_promotion(api, amount=100_000, budget=10**6)
    quoted = await api.request(ADA, "POST /orders/quote", discounted_order(tip=300))

    assert (quoted.data["total"], quoted.data["tip"]) == (301, 300)


@pytest.mark.parametrize(
    ("terms", "body", "reason"),
    [
        ({}, discounted_order("NOTHING"), "unknown"),
        (
            {"startsAt": 9_999_999_999_998, "endsAt": 9_999_999_999_999},
            discounted_order(),
            "not_yet",
        ),
        ({"services": ["MART", "PACKAGE"]}, discounted_order(), "service"),
        ({"minOrderAmount": 5_001}, discounted_order(), "minimum"),
        ({"budget": 499}, discounted_order(), "spent"),
    ],
)
async def test_a_refused_promotion_has_a_reason(
    api: ApiClient, terms: dict[str, Any], body: dict[str, Any], reason: str
):
    """Quote and order are refused alike, and nothing is spent."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    await create_promotion(api, **terms)
    for line in ("POST /orders/quote", "POST /orders"):
        answer = await api.request(ADA, line, body)
        assert (answer.status, answer.error["code"]) == (422, "promo_refused")
        assert answer.error["details"] == {"reason": reason}
    assert await spent_and_uses(api) == (0, 0)


async def test_a_promotion_ends_at_its_end_or_when_stopped(api: ApiClient):
    """`endsAt` is excluded; a stopped one ends at once, and stopping twice is no error."""
    await api.open_shop()
    await create_promotion(api)
    await create_promotion(api, code="SHORT", endsAt=api.clock.now_ms() + 1)
    first = await api.request(ADA, "POST /orders/quote", discounted_order("SHORT"))
    api.clock.advance(1)
    late = await api.request(ADA, "POST /orders/quote", discounted_order("SHORT"))
    stopped = [
        await api.request(ADMIN, "POST /admin/promotions/ndole500/stop", {"reason": "enough"})
        for _ in range(2)
    ]
    after = await api.request(ADA, "POST /orders/quote", discounted_order())

    assert first.data["discount"] == 500
    assert late.error["details"] == {"reason": "over"}
    assert [each.data["status"] for each in stopped] == ["STOPPED", "STOPPED"]
    assert after.error["details"] == {"reason": "stopped"}


async def test_a_promotion_is_limited_for_each_customer(api: ApiClient):
    """Of ten orders of one customer at once one has the discount; another customer gets it too."""
    await api.open_shop()
    await api.fund(ADA, 100_000)
    await api.fund(EVE, 10_000)
    await create_promotion(api)
    answers = await asyncio.gather(
        *(api.request(ADA, "POST /orders", discounted_order()) for _ in range(10))
    )
    again = await api.request(ADA, "POST /orders/quote", discounted_order())
    other = await api.request(EVE, "POST /orders", discounted_order())

    assert sorted(each.status for each in answers) == [201] + [422] * 9
    assert {each.error["details"]["reason"] for each in answers if each.error} == {"used"}
    assert again.error["details"] == {"reason": "used"}
    assert other.status == 201
    assert await spent_and_uses(api) == (1_000, 2)
    assert await api.trial_balance_total() == 0


async def test_a_budget_is_never_exceeded(api: ApiClient):
    """Of twelve customers at once three get a discount if the budget is three of them."""
    await api.open_shop()
    await create_promotion(api, budget=1_700)
    people: list[Actor] = [("USER", f"usr_{number}") for number in range(12)]
    answers = await asyncio.gather(
        *(
            api.request(who, "POST /orders", discounted_order(paymentMethod="CASH"))
            for who in people
        )
    )

    assert sorted(each.status for each in answers) == [201] * 3 + [422] * 9
    assert {each.error["details"]["reason"] for each in answers if each.error} == {"spent"}
    assert await spent_and_uses(api) == (1_500, 3)


async def test_a_repeated_order_uses_a_promotion_once(api: ApiClient):
    """The same request twice is one order and one use."""
    await api.open_shop()
    await api.fund(ADA, 20_000)
    await create_promotion(api)
    first = await api.request(ADA, "POST /orders", discounted_order(), key="o-1")
    again = await api.request(ADA, "POST /orders", discounted_order(), key="o-1")

    assert first.data == again.data
    assert await spent_and_uses(api) == (500, 1)


async def test_accounts_with_invented_phones_farm_no_promotion(api: ApiClient):
    """Each new customer might use it once; without its phone it orders nothing."""
    await api.open_shop()
    await create_promotion(api)
    for number in range(5):
        login = {"userType": "USER", "phone": f"+23767000010{number}", "password": "correct horse"}
        made = await api.request(None, "POST /auth/register", login)
        customer: Actor = ("USER", made.data["userId"])
        order = await api.request(customer, "POST /orders", discounted_order(paymentMethod="CASH"))
        assert (order.status, order.error["code"]) == (403, "phone_unverified")
    assert await spent_and_uses(api) == (0, 0)


@pytest.mark.parametrize("method", ["WALLET", "CASH"])
async def test_a_cancelled_order_returns_its_discount(api: ApiClient, method: str):
    """The budget has it again, and the customer may use the promotion again."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    await create_promotion(api)
    first = await api.request(ADA, "POST /orders", discounted_order(paymentMethod=method))
    off = await api.request(ADA, f"POST /orders/{first.data['orderId']}/cancel", {})
    empty = await spent_and_uses(api)
    second = await api.request(ADA, "POST /orders", discounted_order(paymentMethod=method))

    assert (off.status, empty) == (200, (0, 0))
    assert second.status == 201
    assert await spent_and_uses(api) == (500, 1)
    assert await api.trial_balance_total() == 0


async def test_a_parcel_fee_may_be_discounted(api: ApiClient):
    """Without goods the rate applies to the fee."""
    await api.request(ADMIN, "PUT /admin/config/services/packages", {"enabled": True})
    await create_promotion(api, services=["PACKAGE"], amount=None, percentBps=5_000)
    whole = (await api.request(ADA, "POST /orders/quote", package_order())).data["total"]
    half = await api.request(ADA, "POST /orders", {**package_order(), "promoCode": "NDOLE500"})

    assert half.data["pricing"]["total"] == whole - whole // 2


@pytest.mark.parametrize(
    "terms",
    [
        {"amount": None},
        {"percentBps": 1_000},
        {"cap": 100},
        {"percentBps": 10_001, "amount": None},
        {"endsAt": 1},
        {"startsAt": 9_999_999_999_999, "endsAt": 9_999_999_999_999},
        {"services": []},
        {"services": ["TAXI"]},
        {"budget": 0},
        {"perUser": 0},
        {"code": "a"},
        {"code": "A#B"},
        {"colour": "red"},
    ],
)
async def test_an_invalid_promotion_is_refused(api: ApiClient, terms: dict[str, Any]):
    """Either a rate or an amount, a cap only with a rate, and an end in the future."""
    answer = await create_promotion(api, **terms)

    assert (answer.status, answer.error["code"]) == (400, "malformed")


async def test_a_code_names_one_promotion(api: ApiClient):
    """A second promotion under it is a conflict; a repeated request gets the first answer."""
    first = await create_promotion(api)
    second = await create_promotion(api, code="ndole500")
    repeats = [
        await api.request(ADMIN, "POST /admin/promotions", body, key="p-1")
        for body in [
            {"code": "AGAIN", "services": ["FOOD"], "amount": 1, "budget": 1, "endsAt": 10**13 - 1}
        ]
        * 2
    ]

    assert first.status == 201
    assert (second.status, second.error["code"]) == (409, "conflict")
    assert repeats[0].data == repeats[1].data


async def test_promotions_are_listed_by_status(api: ApiClient):
    """Newest first, page by page; stopped ones are another list."""
    for number in range(3):
        await create_promotion(api, code=f"CODE{number}")
        api.clock.advance(1)
    await api.request(ADMIN, "POST /admin/promotions/CODE1/stop", {})
    page = (await api.request(ADMIN, "GET /admin/promotions?limit=1")).data
    rest = (await api.request(ADMIN, f"GET /admin/promotions?cursor={page['nextCursor']}")).data
    stopped = (await api.request(ADMIN, "GET /admin/promotions?status=STOPPED")).data
    wrong = await api.request(ADMIN, "GET /admin/promotions?status=OLD")
    none = await api.request(ADMIN, "GET /admin/promotions/NONE")

    codes = [[each["code"] for each in some["items"]] for some in (page, rest, stopped)]
    assert codes == [["CODE2"], ["CODE0"], ["CODE1"]]
    assert (wrong.status, none.status) == (400, 404)


async def test_only_operators_create_promotions(api: ApiClient):
    """A vendor is forbidden to."""
    answer = await api.request(CHEZ_ADA, "POST /admin/promotions", {})

    assert answer.status == 403
