"""Money by hand over HTTP: tips, refunds, cash, corrections, frozen wallets, statements."""

import pytest

from handlers.http.earnings import today_start_ms, week_start_ms
from tests.handlers.http.test_earnings import deliver, deliver_order
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

SECOND_ADMIN: Actor = ("ADMIN", "adm_2")
DAY_MS = 86_400_000


async def available_xaf(api: ApiClient, actor: Actor) -> int:
    return (await api.request(actor, "GET /wallet/balance")).data["availableBalance"]


async def deliver_cash_order(api: ApiClient) -> str:
    """An order of 5,000 and 1,500 for the way, paid at the door."""
    await api.open_shop()
    order = (await api.request(ADA, "POST /orders", goods_order(method="CASH"))).data
    await deliver(api, order["orderId"])
    return order["orderId"]


async def test_a_rider_is_thanked_later(api: ApiClient):
    """Out of the wallet into the rider's, once for each key, within a week."""
    path = f"POST /orders/{(await deliver_order(api))['orderId']}/tip"
    first = await api.request(ADA, path, {"amount": 500}, key="t-1")
    again = await api.request(ADA, path, {"amount": 500}, key="t-1")
    other = await api.request(ADA, path, {"amount": 600}, key="t-1")
    too_much = await api.request(ADA, path, {"amount": 100_000})
    strange = await api.request(("USER", "usr_2"), path, {"amount": 500})
    api.clock.advance(7 * DAY_MS + 1)
    late = await api.request(ADA, path, {"amount": 500})

    assert again.data == first.data
    assert [other.status, too_much.status, strange.status, late.status] == [409, 402, 404, 409]
    assert await available_xaf(api, ADA) == 3_000
    assert await available_xaf(api, AWA) == 2_000


async def test_a_part_goes_back_at_everybodys_cost(api: ApiClient):
    """Each gives by his part, all of it together no more than was paid."""
    path = f"POST /admin/orders/{(await deliver_order(api))['orderId']}/refund"
    half = await api.request(ADMIN, path, {"amount": 3_250, "reason": "cold"}, key="r-1")
    again = await api.request(ADMIN, path, {"amount": 3_250, "reason": "cold"}, key="r-1")
    over = await api.request(ADMIN, path, {"amount": 3_251, "reason": "cold"})
    rest = await api.request(ADMIN, path, {"amount": 3_250, "reason": "very cold"})
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    assert (half.status, again.data) == (201, half.data)
    assert (over.status, over.error["code"]) == (402, "insufficient_funds")
    assert rest.status == 201
    assert [await available_xaf(api, who) for who in (ADA, CHEZ_ADA, AWA)] == [10_000, 0, 0]
    assert books["total"] == 0


async def test_what_a_vendor_cannot_give_he_owes(api: ApiClient):
    """A refund never fails for an empty wallet, and the next payout is less for it."""
    order_id = (await deliver_order(api))["orderId"]
    body = {"amount": 5_000, "reason": "wrong meal", "borneBy": "VENDOR"}
    back = await api.request(ADMIN, f"POST /admin/orders/{order_id}/refund", body)
    wallet = (await api.request(ADMIN, "GET /admin/wallets/vendor/ven_1")).data

    assert back.status == 201
    assert (wallet["posted"], wallet["debt"]) == (0, 750)
    assert await available_xaf(api, ADA) == 8_500


async def test_cash_is_handed_in(api: ApiClient):
    """What a rider collected is his debt until it is here; a receipt counts once."""
    await deliver_cash_order(api)
    owing = (await api.request(ADMIN, "GET /admin/riders/cash")).data["items"]
    body = {"amount": 6_000, "reference": "slip-7"}
    path = "POST /admin/riders/rdr_1/remittances"
    first = await api.request(ADMIN, path, body)
    again = await api.request(ADMIN, path, body)
    other = await api.request(ADMIN, path, {**body, "amount": 400})
    over = await api.request(ADMIN, path, {"amount": 501})
    rest = await api.request(ADMIN, path, {"amount": 500})
    after = (await api.request(ADMIN, "GET /admin/riders/cash")).data["items"]

    assert [(each["riderId"], each["owed"]) for each in owing] == [("rdr_1", 6_500)]
    assert again.data == first.data
    assert [other.status, over.status, rest.status] == [409, 402, 201]
    assert after == []
    assert await api.desk.riders.cash_headroom("rdr_1") == 50_000


async def test_lost_cash_takes_two_people(api: ApiClient):
    """One writes it down, another agrees; it is the platform's loss and the rider is free."""
    await deliver_cash_order(api)
    body = {"amount": 6_500, "charge": "PLATFORM", "reason": "robbed"}
    asked = (await api.request(ADMIN, "POST /admin/riders/rdr_1/shortages", body)).data
    path = f"POST /admin/adjustments/{asked['adjustmentId']}/approve"
    own = await api.request(ADMIN, path)
    waiting = (await api.request(SECOND_ADMIN, "GET /admin/adjustments")).data["items"]
    agreed = await api.request(SECOND_ADMIN, path)
    late = await api.request(
        SECOND_ADMIN, f"POST /admin/adjustments/{asked['adjustmentId']}/reject"
    )
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data
    balances = {each["account"]: each["balance"] for each in books["accounts"]}

    assert (own.status, own.error["code"]) == (403, "forbidden")
    assert [each["adjustmentId"] for each in waiting] == [asked["adjustmentId"]]
    assert (agreed.data["status"], agreed.data["checker"]) == ("POSTED", "adm_2")
    assert late.error["code"] == "wrong_state"
    assert (balances["RIDERCASH#rdr_1"], balances["PLATFORM#LOSS.0"]) == (0, -6_500)


@pytest.mark.parametrize(
    "legs",
    [
        [{"account": "USER#a", "amount": 5}, {"account": "USER#b", "amount": -4}],
        [{"account": "BANK#a", "amount": 5}, {"account": "USER#b", "amount": -5}],
        [{"account": "USER#a", "amount": 5}, {"account": "USER#a", "amount": -5}],
        [{"account": "ORDER#a", "amount": 5}, {"account": "USER#a", "amount": -5}],
    ],
)
async def test_a_correction_must_be_an_entry(api: ApiClient, legs: list[dict[str, object]]):
    """Legs that do not sum to zero, name no account or move an escrow are refused at once."""
    body = {"legs": legs, "reason": "a try"}
    refused = await api.request(ADMIN, "POST /admin/adjustments", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")


async def test_a_frozen_wallet_pays_nothing(api: ApiClient):
    """It receives, and nothing leaves until it is freed; only an empty one can be closed."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    path = "PUT /admin/wallets/user/usr_ada/status"
    frozen = await api.request(ADMIN, path, {"status": "FROZEN", "reason": "stolen phone"})
    await api.fund(ADA, 100)
    refused = await api.request(ADA, "POST /orders", goods_order())
    closed = await api.request(ADMIN, path, {"status": "CLOSED", "reason": "left"})
    await api.request(ADMIN, path, {"status": "ACTIVE", "reason": "found"})
    placed = await api.request(ADA, "POST /orders", goods_order())

    assert frozen.data["status"] == "FROZEN"
    assert (refused.status, refused.error["code"]) == (403, "forbidden")
    assert closed.error["code"] == "wrong_state"
    assert placed.status == 201


async def test_a_statement_opens_where_the_last_one_closed(api: ApiClient):
    """The lines of a time with exact balances before and after, page by page."""
    start = api.clock.now_ms()
    for amount in (100, 200, 300):
        await api.fund(ADA, amount)
        api.clock.advance(1_000)
    middle = start + 1_000
    before = (await api.request(ADA, f"GET /wallet/statement?to={middle}")).data
    after = (await api.request(ADA, f"GET /wallet/statement?from={middle}&limit=1")).data
    rest = (
        await api.request(ADA, f"GET /wallet/statement?from={middle}&cursor={after['nextCursor']}")
    ).data
    then = (await api.request(ADA, f"GET /wallet/balance?at={middle}")).data
    lines = [line["amount"] for line in (*before["items"], *after["items"], *rest["items"])]

    assert (before["openingBalance"], before["closingBalance"]) == (0, 100)
    assert (after["openingBalance"], after["closingBalance"]) == (100, 600)
    assert lines == [100, 200, 300]
    assert rest["nextCursor"] is None
    assert then["balance"] == 300
    assert (await api.request(ADA, "GET /wallet/statement?from=x")).status == 400


async def test_earnings_are_of_today_this_week_and_ever(api: ApiClient):
    """Yesterday's count for the week, last week's only for all."""
    await deliver_order(api)
    today = (await api.request(AWA, "GET /rider/earnings")).data
    api.clock.advance(8 * DAY_MS)
    later = (await api.request(AWA, "GET /rider/earnings")).data
    vendor = (await api.request(CHEZ_ADA, "GET /vendor/earnings")).data

    assert today["today"] == today["week"] == {"amount": 1_500, "count": 1}
    assert today["pending"] == {"amount": 0, "count": 0}
    assert later["today"] == later["week"] == {"amount": 0, "count": 0}
    assert (later["settled"]["amount"], vendor["settled"]["amount"]) == (1_500, 4_250)


def test_days_and_weeks_begin_in_douala():
    """23:00 UTC begins the next day, Sunday 23:00 UTC the next week."""
    monday = 1_763_938_800_000 - DAY_MS * 7
    assert today_start_ms(monday) == week_start_ms(monday) == monday
    assert today_start_ms(monday - 1) == monday - DAY_MS
    assert week_start_ms(monday - 1) == monday - 7 * DAY_MS
    assert week_start_ms(monday + 7 * DAY_MS - 1) == monday
