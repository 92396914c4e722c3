"""Payouts over HTTP: held at once, approved by another person, paid or given back."""

import pytest

from dispatch.money.payouts.providers import SANDBOX_FAILS_DIGITS, SANDBOX_WAITS_DIGITS
from ledger.core.accounts import rider, rider_cash, vendor
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Update
from ledger.records.adjustments import adjustment_key
from tests.handlers.http_api import (
    ADMIN,
    AWA,
    CHEZ_ADA,
    Actor,
    ApiClient,
)
from tests.handlers.payout_flow import (
    PAYOUT_BODY,
    balances_xaf,
    earn,
    request_payout,
    status_of,
)

pytestmark = pytest.mark.engines


async def test_a_payout_is_held_approved_and_paid(api: ApiClient):
    """The amount is held with the request and leaves with the payment."""
    payout = await request_payout(api)
    held = await balances_xaf(api)
    queue = (await api.request(ADMIN, "GET /admin/payouts?status=PENDING")).data["items"]
    approved = await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.services.payouts.submitter.sweep_once()
    lines = (await api.request(CHEZ_ADA, "GET /wallet/transactions")).data["items"]
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    assert payout["status"] == "PENDING"
    assert held == (40_000, 60_000)
    assert [each["payoutId"] for each in queue] == [payout["payoutId"]]
    assert (approved.status, approved.data["status"]) == (200, "APPROVED")
    assert await status_of(api, payout["payoutId"]) == "PAID"
    assert await balances_xaf(api) == (40_000, 0)
    assert (lines[0]["type"], lines[0]["category"], lines[0]["amount"]) == (
        "DEBIT",
        "PAYOUT",
        60_000,
    )
    assert books["total"] == 0


async def test_a_repeated_request_is_held_once(api: ApiClient):
    """The same key gets the same payout, and another body is a conflict."""
    await earn(api, vendor("ven_1"), 200_000)
    first = await api.request(CHEZ_ADA, "POST /wallet/payout", PAYOUT_BODY, key="p-1")
    again = await api.request(CHEZ_ADA, "POST /wallet/payout", PAYOUT_BODY, key="p-1")
    other = await api.request(
        CHEZ_ADA, "POST /wallet/payout", {**PAYOUT_BODY, "amount": 70_000}, key="p-1"
    )

    assert again.data == first.data
    assert other.status == 409
    assert await balances_xaf(api) == (140_000, 60_000)


@pytest.mark.parametrize(
    ("who", "amount", "code"),
    [
        (CHEZ_ADA, 49_999, "below_minimum"),
        (AWA, 19_999, "below_minimum"),
        (CHEZ_ADA, 100_001, "insufficient_funds"),
        (AWA, 20_000, "insufficient_funds"),
    ],
)
async def test_a_payout_has_a_minimum_and_needs_funds(
    api: ApiClient, who: Actor, amount: int, code: str
):
    """At least 50,000 for a vendor and 20,000 for a rider, at most the balance."""
    await earn(api, vendor("ven_1"), 100_000)
    refused = await api.request(who, "POST /wallet/payout", {**PAYOUT_BODY, "amount": amount})

    assert refused.error["code"] == code
    assert await balances_xaf(api) == (100_000, 0)


async def test_held_money_cannot_be_requested_again(api: ApiClient):
    """A second payout of the same money is refused."""
    await request_payout(api)
    second = await api.request(CHEZ_ADA, "POST /wallet/payout", PAYOUT_BODY)

    assert (second.status, second.error["code"]) == (402, "insufficient_funds")


async def test_a_requester_cannot_approve_the_own_payout(api: ApiClient):
    """An operator with the requester's id is forbidden."""
    payout = await request_payout(api)
    refused = await api.request(
        ("ADMIN", "ven_1"), f"POST /admin/payouts/{payout['payoutId']}/approve"
    )

    assert (refused.status, refused.error["code"]) == (403, "forbidden")
    assert await status_of(api, payout["payoutId"]) == "PENDING"


async def test_a_payout_is_decided_once(api: ApiClient):
    """After a rejection it can be neither approved, rejected nor cancelled."""
    payout = await request_payout(api)
    path = f"/admin/payouts/{payout['payoutId']}"
    rejected = await api.request(ADMIN, f"POST {path}/reject", {"reason": "which phone?"})
    late = [
        await api.request(ADMIN, f"POST {path}/approve"),
        await api.request(ADMIN, f"POST {path}/reject", {}),
        await api.request(CHEZ_ADA, f"POST /wallet/payouts/{payout['payoutId']}/cancel"),
    ]

    assert rejected.data["status"] == "REJECTED"
    assert {each.error["code"] for each in late} == {"wrong_state"}
    assert await balances_xaf(api) == (100_000, 0)


async def test_only_the_owner_can_cancel_a_request(api: ApiClient):
    """Then the money may be spent again."""
    payout = await request_payout(api)
    path = f"POST /wallet/payouts/{payout['payoutId']}/cancel"
    strange = await api.request(("VENDOR", "ven_2"), path)
    taken = await api.request(CHEZ_ADA, path)

    assert strange.status == 404
    assert taken.data["status"] == "CANCELLED"
    assert await balances_xaf(api) == (100_000, 0)


async def test_a_failed_payout_releases_the_hold(api: ApiClient):
    """FAILED gives the money back, and nothing is posted."""
    payout = await request_payout(api, destination=f"+237 {SANDBOX_FAILS_DIGITS}")
    await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.services.payouts.submitter.sweep_once()

    assert await status_of(api, payout["payoutId"]) == "FAILED"
    assert await balances_xaf(api) == (100_000, 0)


async def test_an_unknown_outcome_is_polled_under_the_same_reference(api: ApiClient):
    """The payout stays SUBMITTED and held until the provider reports."""
    payout = await request_payout(api, destination=f"+237 {SANDBOX_WAITS_DIGITS}")
    await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.services.payouts.submitter.sweep_once()
    waiting = (await api.request(ADMIN, "GET /admin/payouts?status=SUBMITTED")).data["items"]
    held = await balances_xaf(api)
    await api.services.payouts.submitter.sweep_once()
    paid = (await api.request(ADMIN, "GET /admin/payouts?status=PAID")).data["items"]

    assert held == (40_000, 60_000)
    assert waiting[0]["providerReference"] == paid[0]["providerReference"]
    assert await balances_xaf(api) == (40_000, 0)


async def test_an_operator_records_a_returned_payout(api: ApiClient):
    """Once, and the money is in the wallet again."""
    payout = await request_payout(api)
    path = f"POST /admin/payouts/{payout['payoutId']}"
    early = await api.request(ADMIN, f"{path}/outcome", {"status": "RETURNED", "reason": "closed"})
    await api.request(ADMIN, f"{path}/approve")
    await api.services.payouts.submitter.sweep_once()
    outcome = {"status": "RETURNED", "reason": "account closed"}
    back = await api.agree(await api.request(ADMIN, f"{path}/outcome", outcome))
    again = await api.request(ADMIN, f"{path}/outcome", outcome)

    assert early.error["code"] == "wrong_state"
    assert (back.data["result"]["status"], again.data["status"]) == ("RETURNED", "RETURNED")
    assert await balances_xaf(api) == (100_000, 0)


async def test_while_payouts_are_stopped_none_is_approved(api: ApiClient):
    """They continue when two operators have opened the gate, and each change stays on record."""
    payout = await request_payout(api)
    gate = {"stopped": True, "reason": "an audit is running"}
    shut = await api.request(ADMIN, "PUT /admin/ledger/payout-gate", gate)
    refused = await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    opening = {"stopped": False, "reason": "the audit found nothing"}
    opened = await api.agree(await api.request(ADMIN, "PUT /admin/ledger/payout-gate", opening))
    seen = (await api.request(ADMIN, "GET /admin/ledger/payout-gate")).data
    approved = await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")

    assert (shut.data["stopped"], shut.data["by"]) == (True, "adm_1")
    assert refused.error["code"] == "conflict"
    assert (opened.data["proposedBy"], opened.data["decidedBy"]) == ("adm_1", "adm_2")
    assert (seen["stopped"], seen["by"]) == (False, "adm_2")
    assert [(each["stopped"], each["reason"]) for each in seen["changes"]] == [
        (False, "the audit found nothing"),
        (True, "an audit is running"),
    ]
    assert approved.status == 200


async def test_collected_cash_is_deducted_before_a_payout(api: ApiClient, table: DynamoTable):
    """A rider can only draw what is left of the earnings after the cash in hand."""
    await earn(api, rider("rdr_1"), 50_000)
    account = rider_cash("rdr_1")
    owes = Update(
        key=adjustment_key("x")._replace(pk=f"WALLET#{account}", sk="BALANCE"),
        expression="SET account = :a, posted = :p, held = :z, exposure = :e, seq = :z, v = :o, "
        "#s = :s",
        names={"#s": "status"},
        values={":a": account, ":p": -30_000, ":e": 30_000, ":z": 0, ":o": 1, ":s": "ACTIVE"},
    )
    await table.transact([owes])
    refused = await api.request(AWA, "POST /wallet/payout", {**PAYOUT_BODY, "amount": 20_001})
    drawn = await api.request(AWA, "POST /wallet/payout", {**PAYOUT_BODY, "amount": 20_000})
    wallet = (await api.request(ADMIN, "GET /admin/wallets/rider/rdr_1")).data

    assert refused.error["details"] == {"cashOwed": 30_000, "debt": 0}
    assert drawn.status == 201
    assert await balances_xaf(api, AWA) == (0, 20_000)
    assert wallet["cashOwed"] == 0
