"""Approval endpoints: the first operator is answered 202, the second one carries the act out."""

from collections.abc import AsyncIterator

import pytest

from dispatch import settings
from dispatch.storage.redis_client import RedisClients
from ledger.core.accounts import vendor
from ledger.dynamodb.client import DynamoTable
from tests.handlers.delivery_flow import deliver_cash_order, deliver_order
from tests.handlers.http_api import ADA, ADMIN, AWA, SECOND_ADMIN, Actor, ApiClient, run_api
from tests.handlers.payout_flow import balances_xaf, earn, request_payout

pytestmark = pytest.mark.engines

LIST = "GET /admin/approvals"


@pytest.fixture
async def strict(table: DynamoTable, redis: RedisClients) -> AsyncIterator[ApiClient]:
    """Endpoints that ask for two operators from 5,001 XAF on."""
    environ = {"RATE_LIMITS": "off", "TWO_PERSON_ABOVE_XAF": "5000"}
    async with run_api(table, redis, settings.read(environ, dev=True)) as client:
        yield client


async def test_a_large_refund_waits_for_another_operator(strict: ApiClient):
    """It is listed with what will be done; approved, the customer has it; the list is empty."""
    order_id = (await deliver_order(strict))["orderId"]
    path = f"POST /admin/orders/{order_id}/refund"
    asked = await strict.request(ADMIN, path, {"amount": 5_001, "reason": "cold"}, key="r")
    again = await strict.request(ADMIN, path, {"amount": 5_001, "reason": "cold"}, key="r")
    waiting = (await strict.request(SECOND_ADMIN, LIST)).data["items"]
    own = await strict.request(ADMIN, f"POST /admin/approvals/{asked.data['approvalId']}/approve")
    before = await strict.available_xaf(ADA)
    approved = await strict.agree(asked)

    assert (asked.status, asked.data["status"], again.status) == (202, "PENDING", 202)
    assert again.data == asked.data == waiting[0]
    assert (asked.data["action"], asked.data["details"]["amount"]) == ("refund_order", 5_001)
    assert (own.status, own.error["code"]) == (403, "forbidden")
    assert approved.data["result"]["amount"] == 5_001
    assert await strict.available_xaf(ADA) == before + 5_001
    assert (await strict.request(ADMIN, LIST)).data["items"] == []


async def test_small_amounts_are_one_operators(strict: ApiClient):
    """Up to the limit a refund is carried out at once."""
    order_id = (await deliver_order(strict))["orderId"]
    body = {"amount": 5_000, "reason": "cold"}
    done = await strict.request(ADMIN, f"POST /admin/orders/{order_id}/refund", body)
    assert (done.status, "refundId" in done.data) == (201, True)


async def test_an_approved_remittance_gives_the_rider_room(strict: ApiClient):
    """The cash is handed in with the approval, not before."""
    await deliver_cash_order(strict)
    asked = await strict.request(ADMIN, "POST /admin/riders/rdr_1/remittances", {"amount": 6_500})
    owing = (await strict.request(ADMIN, "GET /admin/riders/cash")).data["items"]
    await strict.agree(asked)
    after = (await strict.request(ADMIN, "GET /admin/riders/cash")).data["items"]
    assert ([each["owed"] for each in owing], after) == ([6_500], [])
    assert await strict.services.riders.cash_headroom("rdr_1") == 50_000


@pytest.mark.parametrize("charge", ["RIDER", "PLATFORM"])
async def test_a_shortage_is_approved_like_other_acts(strict: ApiClient, charge: str):
    """It is an adjustment, listed and approved under the same id."""
    await deliver_cash_order(strict)
    await earn(strict, "RIDER#rdr_1", 10_000)
    body = {"amount": 6_500, "charge": charge, "reason": "robbed"}
    asked = await strict.request(ADMIN, "POST /admin/riders/rdr_1/shortages", body)
    waiting = (await strict.request(ADMIN, LIST)).data["items"]
    approved = await strict.agree(asked)
    assert [each["approvalId"] for each in waiting] == [asked.data["adjustmentId"]]
    assert (approved.data["status"], approved.data["decidedBy"]) == ("APPROVED", "adm_2")


async def test_a_large_payout_needs_two_operators(strict: ApiClient):
    """Nothing is sent before; rejected, the payout stays requested and can be proposed again."""
    payout = await request_payout(strict)
    path = f"POST /admin/payouts/{payout['payoutId']}/approve"
    first = await strict.request(ADMIN, path)
    refused = await strict.request(
        SECOND_ADMIN,
        f"POST /admin/approvals/{first.data['approvalId']}/reject",
        {"reason": "wrong number"},
    )
    late = await strict.agree(first)
    second = await strict.agree(await strict.request(ADMIN, path))
    rejected = (await strict.request(ADMIN, f"{LIST}?status=REJECTED")).data["items"]

    assert (refused.data["status"], refused.data["decisionReason"]) == ("REJECTED", "wrong number")
    assert (late.status, late.error["code"]) == (409, "wrong_state")
    assert second.data["result"]["status"] == "APPROVED"
    assert [each["approvalId"] for each in rejected] == [first.data["approvalId"]]
    assert await balances_xaf(strict) == (40_000, 60_000)


@pytest.mark.parametrize(
    ("status", "code"), [("WAITING", "malformed"), ("", "malformed"), ("pending", "malformed")]
)
async def test_an_unknown_status_is_malformed(strict: ApiClient, status: str, code: str):
    """The list takes the states of approvals."""
    refused = await strict.request(ADMIN, f"{LIST}?status={status}")
    assert (refused.status, refused.error["code"]) == (400, code)


@pytest.mark.parametrize("decision", ["approve", "reject"])
@pytest.mark.parametrize("approval_id", ["apr_none", "adj_none", "none"])
async def test_an_unknown_approval_is_not_found(strict: ApiClient, decision: str, approval_id: str):
    """Whatever its id looks like."""
    path = f"POST /admin/approvals/{approval_id}/{decision}"
    assert (await strict.request(ADMIN, path)).status == 404


@pytest.mark.parametrize("who", [ADA, AWA, ("VENDOR", "ven_1")])
async def test_approvals_are_for_operators(strict: ApiClient, who: Actor):
    """Other roles neither see nor decide them."""
    asked = [
        await strict.request(who, LIST),
        await strict.request(who, "POST /admin/approvals/apr_1/approve"),
    ]
    assert {each.status for each in asked} == {403}


async def test_production_asks_for_two_above_the_default(production_api: ApiClient):
    """Without a setting the limit is 50,000 XAF."""
    await earn(production_api, vendor("ven_1"), 200_000)
    answers = []
    for amount in (50_000, 50_001):
        body = {"amount": amount, "destination": "1"}
        payout = await production_api.request(("VENDOR", "ven_1"), "POST /wallet/payout", body)
        path = f"POST /admin/payouts/{payout.data['payoutId']}/approve"
        answers.append((await production_api.request(ADMIN, path)).status)
    assert answers == [200, 202]
