"""Operators' money endpoints: refunds, cash, adjustments, wallets, trial balance; and tips."""

import pytest

from tests.handlers.delivery_flow import deliver_cash_order, deliver_order
from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    SECOND_ADMIN,
    ApiClient,
    goods_order,
)

pytestmark = pytest.mark.engines

DAY_MS = 86_400_000


async def test_a_rider_is_tipped_within_a_week(api: ApiClient):
    """Once for each key, from the customer's wallet to the rider's."""
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
    assert await api.available_xaf(ADA) == 3_000
    assert await api.available_xaf(AWA) == 2_000


async def test_a_refund_is_borne_by_the_parties(api: ApiClient):
    """In proportion to their shares, and in total no more than was paid."""
    path = f"POST /admin/orders/{(await deliver_order(api))['orderId']}/refund"
    half = await api.request(ADMIN, path, {"amount": 3_250, "reason": "cold"}, key="r-1")
    again = await api.request(ADMIN, path, {"amount": 3_250, "reason": "cold"}, key="r-1")
    over = await api.request(ADMIN, path, {"amount": 3_251, "reason": "cold"})
    rest = await api.request(ADMIN, path, {"amount": 3_250, "reason": "very cold"})
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    assert (half.status, again.data) == (201, half.data)
    assert (over.status, over.error["code"]) == (402, "insufficient_funds")
    assert rest.status == 201
    assert [await api.available_xaf(who) for who in (ADA, CHEZ_ADA, AWA)] == [10_000, 0, 0]
    assert books["total"] == 0


async def test_a_refund_beyond_the_wallet_becomes_debt(api: ApiClient):
    """It succeeds with an empty wallet, and the rest is the vendor's debt."""
    order_id = (await deliver_order(api))["orderId"]
    body = {"amount": 5_000, "reason": "wrong meal", "borneBy": "VENDOR"}
    back = await api.request(ADMIN, f"POST /admin/orders/{order_id}/refund", body)
    wallet = (await api.request(ADMIN, "GET /admin/wallets/vendor/ven_1")).data

    assert back.status == 201
    assert (wallet["posted"], wallet["debt"]) == (0, 750)
    assert await api.available_xaf(ADA) == 8_500


async def test_cash_is_handed_in_once_for_each_reference(api: ApiClient):
    """A rider owes the collected cash until then, and no more can be handed in."""
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
    assert await api.services.riders.cash_headroom("rdr_1") == 50_000


async def test_a_shortage_needs_a_second_operator(api: ApiClient):
    """After the approval it is the platform's loss, and the rider owes nothing."""
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
async def test_an_adjustment_must_be_a_balanced_entry(
    api: ApiClient, legs: list[dict[str, object]]
):
    """Legs that do not sum to zero, repeat or misname an account, or move escrow are malformed."""
    body = {"legs": legs, "reason": "a try"}
    refused = await api.request(ADMIN, "POST /admin/adjustments", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")


async def test_a_frozen_wallet_receives_and_does_not_pay(api: ApiClient):
    """Until it is active again; only an empty wallet can be closed."""
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


async def test_the_trial_balance_is_zero(api: ApiClient):
    """After a top-up and an order every franc is in some account; only operators may read it."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    await api.request(ADA, "POST /orders", goods_order())
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    balances = {each["account"].split("#")[0]: each["balance"] for each in books["accounts"]}
    assert (books["total"], books["entries"]) == (0, 2)
    assert balances == {"CLEARING": -10_000, "USER": 3500, "ORDER": 6500}
    assert (await api.request(CHEZ_ADA, "GET /admin/ledger/trial-balance")).status == 403
