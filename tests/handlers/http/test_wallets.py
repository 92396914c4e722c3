"""Wallet endpoints: top-ups through a provider, once each, and lines that add up."""

import asyncio

import pytest

from tests.handlers.http_api import (
    ADA,
    ADMIN,
    CHEZ_ADA,
    ApiClient,
    goods_order,
)

pytestmark = pytest.mark.engines

TOP_UP = {"amount": 5000, "provider": "sandbox"}


async def test_an_unused_wallet_is_empty(api: ApiClient):
    """It has zeros and no lines, for every role that has a wallet."""
    balances = [(await api.request(who, "GET /wallet/balance")).data for who in (ADA, CHEZ_ADA)]
    lines = await api.request(ADA, "GET /wallet/transactions")

    empty = {"availableBalance": 0, "pendingBalance": 0, "totalEarned": 0, "currency": "XAF"}
    assert balances == [empty, empty]
    assert lines.data == {"items": [], "nextCursor": None}


async def test_the_sandbox_pays_before_the_answer(api: ApiClient):
    """A top-up through the sandbox is in the wallet when its answer comes."""
    topped = await api.request(ADA, "POST /wallet/topup", TOP_UP)
    balance = await api.request(ADA, "GET /wallet/balance")

    assert topped.status == 201
    assert topped.data["status"] == "SUCCESS"
    assert (topped.data["amount"], topped.data["balance"]) == (5000, 5000)
    assert topped.data["paymentId"].startswith("pay_")
    assert balance.data["availableBalance"] == 5000


async def test_a_repeated_top_up_counts_once(api: ApiClient):
    """The same key gets the same answer, also after other movements; another body is a conflict."""
    first = await api.request(ADA, "POST /wallet/topup", TOP_UP, key="t-1")
    await api.request(ADA, "POST /wallet/topup", TOP_UP, key="t-2")
    again = await api.request(ADA, "POST /wallet/topup", TOP_UP, key="t-1")
    other = await api.request(ADA, "POST /wallet/topup", {**TOP_UP, "amount": 1}, key="t-1")
    balance = await api.request(ADA, "GET /wallet/balance")

    assert (again.status, again.data) == (first.status, first.data)
    assert (other.status, other.error["code"]) == (409, "conflict")
    assert balance.data["availableBalance"] == 10_000


async def test_concurrent_copies_of_a_top_up_count_once(api: ApiClient):
    """Ten at once get the same answer."""
    answers = await asyncio.gather(
        *(api.request(ADA, "POST /wallet/topup", TOP_UP, key="t-1") for _ in range(10))
    )
    balance = await api.request(ADA, "GET /wallet/balance")

    assert {answer.status for answer in answers} == {201}
    assert len({str(answer.data) for answer in answers}) == 1
    assert balance.data["availableBalance"] == 5000


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"amount": 0, "provider": "sandbox"},
        {"amount": -5, "provider": "sandbox"},
        {"amount": 10.5, "provider": "sandbox"},
        {"amount": "5000", "provider": "sandbox"},
        {"amount": 10**13, "provider": "sandbox"},
        {"amount": True, "provider": "sandbox"},
        {"amount": 5000},
        {"amount": 5000, "provider": "Sand#Box"},
    ],
)
async def test_a_malformed_top_up_moves_nothing(api: ApiClient, body: dict[str, object]):
    """An amount that is no positive whole number, or a missing field, is refused."""
    refused = await api.request(ADA, "POST /wallet/topup", body)
    books = await api.request(ADMIN, "GET /admin/ledger/trial-balance")

    assert (refused.status, refused.error["code"]) == (400, "malformed")
    assert books.data == {"total": 0, "accounts": [], "entries": 0}


@pytest.mark.parametrize("provider", ["sandbox", "mtn"])
async def test_production_has_no_sandbox_provider(production_api: ApiClient, provider: str):
    """And without a webhook secret no other provider either."""
    refused = await production_api.request(
        ADA, "POST /wallet/topup", {"amount": 5000, "provider": provider}
    )

    assert (refused.status, refused.error["code"]) == (503, "service_disabled")


async def test_a_top_up_waits_for_its_provider(api: ApiClient):
    """It is PENDING until the provider reports, and a repeat says the same."""
    asked = await api.request(ADA, "POST /wallet/topup", {**TOP_UP, "provider": "mtn"}, key="t-1")
    again = await api.request(ADA, "POST /wallet/topup", {**TOP_UP, "provider": "mtn"}, key="t-1")
    balance = await api.request(ADA, "GET /wallet/balance")

    assert (asked.status, asked.data["status"]) == (201, "PENDING")
    assert again.data == asked.data
    assert balance.data["availableBalance"] == 0


async def test_wallet_lines_add_up(api: ApiClient):
    """Newest first, each beginning at the balance where the one before ended."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order_id = (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]
    await api.fund(ADA, 500)
    first = (await api.request(ADA, "GET /wallet/transactions?limit=2")).data
    rest = (
        await api.request(ADA, f"GET /wallet/transactions?limit=2&cursor={first['nextCursor']}")
    ).data

    lines = first["items"] + rest["items"]
    answers = [(line["seq"], line["type"], line["amount"], line["balanceAfter"]) for line in lines]
    assert answers == [
        (3, "CREDIT", 500, 4000),
        (2, "DEBIT", 6500, 3500),
        (1, "CREDIT", 10000, 10000),
    ]
    assert [line["balanceBefore"] for line in lines] == [3500, 10_000, 0]
    assert [line.get("orderId") for line in lines] == [None, order_id, None]
    assert rest["nextCursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=nonsense"])
async def test_list_parameters_of_lines_are_validated(api: ApiClient, query: str):
    """A limit out of bounds or another list's cursor is malformed."""
    refused = await api.request(ADA, f"GET /wallet/transactions?{query}")

    assert (refused.status, refused.error["code"]) == (400, "malformed")


async def test_a_cursor_belongs_to_one_wallet(api: ApiClient):
    """For another wallet it is malformed."""
    await api.fund(ADA, 100)
    await api.fund(ADA, 200)
    page = (await api.request(ADA, "GET /wallet/transactions?limit=1")).data
    stolen = await api.request(
        ("USER", "usr_2"), f"GET /wallet/transactions?cursor={page['nextCursor']}"
    )

    assert (stolen.status, stolen.error["code"]) == (400, "malformed")
