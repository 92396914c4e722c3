"""Payouts over HTTP: held at once, agreed to by another person, carried out or given back."""

from typing import Any

import pytest

from dispatch.money.payout_providers import SANDBOX_FAILS_DIGITS, SANDBOX_WAITS_DIGITS
from ledger.core.accounts import clearing, rider, rider_cash, vendor
from ledger.core.facts import Adjustment, AdjustmentLeg
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

pytestmark = pytest.mark.engines

PHONE = "+237 670 00 22 33"
PAYOUT_BODY = {"amount": 60_000, "destination": PHONE}
SECOND_ADMIN: Actor = ("ADMIN", "adm_2")


async def earn(api: ApiClient, account: str, amount: int, number: int = 1) -> None:
    """Fill a wallet without a hundred deliveries."""
    legs = (AdjustmentLeg(account, amount), AdjustmentLeg(clearing("bank", 0), -amount))
    fact = Adjustment(f"a{number}", legs, "opening", "adm_1", "adm_2")
    await api.desk.correction_service._ledger.post(fact)


async def request_payout(api: ApiClient, **body: Any) -> dict[str, Any]:
    """A payout that Chez Ada asked for, out of 100,000."""
    await earn(api, vendor("ven_1"), 100_000)
    answer = await api.request(CHEZ_ADA, "POST /wallet/payout", {**PAYOUT_BODY, **body})
    assert answer.status == 201
    return answer.data


async def balance(api: ApiClient, actor: Actor = CHEZ_ADA) -> tuple[int, int]:
    data = (await api.request(actor, "GET /wallet/balance")).data
    return data["availableBalance"], data["pendingBalance"]


async def status_of(api: ApiClient, payout_id: str) -> str:
    found = (await api.request(CHEZ_ADA, "GET /wallet/payouts")).data["items"]
    return next(each["status"] for each in found if each["payoutId"] == payout_id)


async def test_a_payout_is_held_agreed_to_and_paid(api: ApiClient):
    """The money is held with the request and leaves with the provider's word; the books balance."""
    payout = await request_payout(api)
    held = await balance(api)
    queue = (await api.request(ADMIN, "GET /admin/payouts?status=PENDING")).data["items"]
    approved = await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.desk.payout_service.sweep_once()
    lines = (await api.request(CHEZ_ADA, "GET /wallet/transactions")).data["items"]
    books = (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data

    assert payout["status"] == "PENDING"
    assert held == (40_000, 60_000)
    assert [each["payoutId"] for each in queue] == [payout["payoutId"]]
    assert (approved.status, approved.data["status"]) == (200, "APPROVED")
    assert await status_of(api, payout["payoutId"]) == "PAID"
    assert await balance(api) == (40_000, 0)
    assert (lines[0]["type"], lines[0]["category"], lines[0]["amount"]) == (
        "DEBIT",
        "PAYOUT",
        60_000,
    )
    assert books["total"] == 0


async def test_a_repeated_request_holds_once(api: ApiClient):
    """The same key gets the same payout again, another body is a conflict."""
    await earn(api, vendor("ven_1"), 200_000)
    first = await api.request(CHEZ_ADA, "POST /wallet/payout", PAYOUT_BODY, key="p-1")
    again = await api.request(CHEZ_ADA, "POST /wallet/payout", PAYOUT_BODY, key="p-1")
    other = await api.request(
        CHEZ_ADA, "POST /wallet/payout", {**PAYOUT_BODY, "amount": 70_000}, key="p-1"
    )

    assert again.data == first.data
    assert other.status == 409
    assert await balance(api) == (140_000, 60_000)


@pytest.mark.parametrize(
    ("who", "amount", "code"),
    [
        (CHEZ_ADA, 49_999, "below_minimum"),
        (AWA, 19_999, "below_minimum"),
        (CHEZ_ADA, 100_001, "insufficient_funds"),
        (AWA, 20_000, "insufficient_funds"),
    ],
)
async def test_too_little_or_too_much_is_refused(
    api: ApiClient, who: Actor, amount: int, code: str
):
    """A vendor draws 50,000 and a rider 20,000 at least, and nobody more than he has."""
    await earn(api, vendor("ven_1"), 100_000)
    refused = await api.request(who, "POST /wallet/payout", {**PAYOUT_BODY, "amount": amount})

    assert refused.error["code"] == code
    assert await balance(api) == (100_000, 0)


async def test_two_requests_do_not_spend_one_balance(api: ApiClient):
    """What is held for the first is not there for the second."""
    await request_payout(api)
    second = await api.request(CHEZ_ADA, "POST /wallet/payout", PAYOUT_BODY)

    assert (second.status, second.error["code"]) == (402, "insufficient_funds")


async def test_nobody_agrees_to_his_own_payout(api: ApiClient):
    """An operator under the requester's own id is the same person."""
    payout = await request_payout(api)
    refused = await api.request(
        ("ADMIN", "ven_1"), f"POST /admin/payouts/{payout['payoutId']}/approve"
    )

    assert (refused.status, refused.error["code"]) == (403, "forbidden")
    assert await status_of(api, payout["payoutId"]) == "PENDING"


async def test_a_payout_is_decided_once(api: ApiClient):
    """Rejected, cancelled or approved: the second decision finds it decided."""
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
    assert await balance(api) == (100_000, 0)


async def test_its_owner_takes_a_request_back(api: ApiClient):
    """Only he, and the money may be spent again."""
    payout = await request_payout(api)
    path = f"POST /wallet/payouts/{payout['payoutId']}/cancel"
    strange = await api.request(("VENDOR", "ven_2"), path)
    taken = await api.request(CHEZ_ADA, path)

    assert strange.status == 404
    assert taken.data["status"] == "CANCELLED"
    assert await balance(api) == (100_000, 0)


async def test_what_a_provider_refuses_may_be_spent_again(api: ApiClient):
    """FAILED gives the held money back, and nothing is booked."""
    payout = await request_payout(api, destination=f"+237 {SANDBOX_FAILS_DIGITS}")
    await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.desk.payout_service.sweep_once()

    assert await status_of(api, payout["payoutId"]) == "FAILED"
    assert await balance(api) == (100_000, 0)


async def test_an_unknown_outcome_is_asked_for_under_the_same_reference(api: ApiClient):
    """It stays SUBMITTED with its money held, until the provider says under the same reference."""
    payout = await request_payout(api, destination=f"+237 {SANDBOX_WAITS_DIGITS}")
    await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.desk.payout_service.sweep_once()
    waiting = (await api.request(ADMIN, "GET /admin/payouts?status=SUBMITTED")).data["items"]
    held = await balance(api)
    await api.desk.payout_service.sweep_once()
    paid = (await api.request(ADMIN, "GET /admin/payouts?status=PAID")).data["items"]

    assert held == (40_000, 60_000)
    assert waiting[0]["providerReference"] == paid[0]["providerReference"]
    assert await balance(api) == (40_000, 0)


async def test_a_payout_comes_back(api: ApiClient):
    """An operator says so once, and the money is in the wallet again."""
    payout = await request_payout(api)
    path = f"POST /admin/payouts/{payout['payoutId']}"
    early = await api.request(ADMIN, f"{path}/outcome", {"status": "RETURNED", "reason": "closed"})
    await api.request(ADMIN, f"{path}/approve")
    await api.desk.payout_service.sweep_once()
    news = {"status": "RETURNED", "reason": "account closed"}
    back = await api.request(ADMIN, f"{path}/outcome", news)
    again = await api.request(ADMIN, f"{path}/outcome", news)

    assert early.error["code"] == "wrong_state"
    assert (back.data["status"], again.data["status"]) == ("RETURNED", "RETURNED")
    assert await balance(api) == (100_000, 0)


async def test_stopped_payouts_do_not_leave(api: ApiClient):
    """While the gate is shut nothing is agreed to or sent; it opens by hand."""
    payout = await request_payout(api)
    gate = {"stopped": True, "reason": "the books are looked into"}
    shut = await api.request(ADMIN, "PUT /admin/ledger/payout-gate", gate)
    refused = await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.request(ADMIN, "PUT /admin/ledger/payout-gate", {**gate, "stopped": False})
    approved = await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")

    assert (shut.data["stopped"], shut.data["by"]) == (True, "adm_1")
    assert refused.error["code"] == "conflict"
    assert approved.status == 200


async def test_a_rider_pays_his_cash_before_he_draws(api: ApiClient, table: DynamoTable):
    """What he has in hand is taken from his earnings first; without enough he draws nothing."""
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
    assert await balance(api, AWA) == (0, 20_000)
    assert wallet["cashOwed"] == 0
