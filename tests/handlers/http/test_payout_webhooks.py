"""What a payout provider tells by itself: believed when signed and when it fits, once."""

import asyncio
from typing import Any

import orjson
import pytest

from dispatch.money.payout_providers import SANDBOX_WAITS_DIGITS
from tests.handlers.http.test_payouts import balance, request_payout, status_of
from tests.handlers.http.test_webhooks import OTHER_SECRET, sign_headers
from tests.handlers.http_api import ADMIN, CHEZ_ADA, ApiClient, ApiResponse

pytestmark = pytest.mark.engines


async def submitted_payout(api: ApiClient) -> dict[str, Any]:
    """A payout of 60,000 of which its provider has said nothing yet."""
    payout = await request_payout(api, destination=SANDBOX_WAITS_DIGITS)
    await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.desk.payout_service.process_payout(payout["payoutId"])
    listed = await api.request(ADMIN, "GET /admin/payouts?status=SUBMITTED")
    return listed.data["items"][0]


def event_body(payout: dict[str, Any], kind: str = "payout.paid", **data: Any) -> bytes:
    about = {
        "payoutId": payout["payoutId"],
        "reference": payout["providerReference"],
        "amount": 60_000,
        "currency": "XAF",
    }
    return orjson.dumps({"type": kind, "data": {**about, **data}})


async def post_event(
    api: ApiClient, raw: bytes, event_id: str = "evt_1", provider: str = "sandbox", **signing: Any
) -> ApiResponse:
    headers = sign_headers(raw, event_id, **signing)
    return await api.request_raw("POST", f"/webhooks/payouts/{provider}", headers, data=raw)


async def trial_balance_total(api: ApiClient) -> int:
    return (await api.request(ADMIN, "GET /admin/ledger/trial-balance")).data["total"]


async def test_a_provider_says_that_he_has_paid(api: ApiClient):
    """The held money leaves, his fee is ours, the books balance."""
    payout = await submitted_payout(api)
    told = await post_event(api, event_body(payout, fee=300))

    assert (told.status, told.data["status"], told.data["fee"]) == (200, "PAID", 300)
    assert await balance(api) == (40_000, 0)
    assert await trial_balance_total(api) == 0


async def test_a_provider_says_that_he_could_not(api: ApiClient):
    """What was held may be spent again, and the owner sees why."""
    payout = await submitted_payout(api)
    told = await post_event(api, event_body(payout, "payout.failed", reason="no such phone"))

    assert (told.data["status"], told.data["reason"]) == ("FAILED", "no such phone")
    assert await balance(api) == (100_000, 0)


async def test_a_payout_comes_back(api: ApiClient):
    """Returned after it was paid: the money is in the wallet again, once."""
    payout = await submitted_payout(api)
    early = await post_event(api, event_body(payout, "payout.returned", reason="closed"), "evt_0")
    await post_event(api, event_body(payout), "evt_1")
    back = [
        await post_event(api, event_body(payout, "payout.returned", reason="closed"), name)
        for name in ("evt_2", "evt_2", "evt_3")
    ]

    # Told before the payment it is refused, so that the provider says it again.
    assert (early.status, early.error["code"]) == (409, "wrong_state")
    assert [each.data["status"] for each in back] == ["RETURNED"] * 3
    assert await balance(api) == (100_000, 0)
    assert await trial_balance_total(api) == 0


async def test_an_event_counts_once(api: ApiClient):
    """Ten copies at once, and the same word under another id, pay once."""
    payout = await submitted_payout(api)
    raw = event_body(payout)
    told = await asyncio.gather(*(post_event(api, raw) for _ in range(10)))
    renamed = await post_event(api, raw, "evt_2")

    assert {each.status for each in told} == {200}
    assert len({str(each.data) for each in told}) == 1
    assert renamed.data["status"] == "PAID"
    assert await balance(api) == (40_000, 0)


async def test_the_poll_and_the_event_may_cross(api: ApiClient):
    """Asked after and told at the same moment: paid once, whoever is first."""
    payout = await submitted_payout(api)
    await asyncio.gather(api.desk.payout_service.sweep_once(), post_event(api, event_body(payout)))

    assert await status_of(api, payout["payoutId"]) == "PAID"
    assert await balance(api) == (40_000, 0)
    assert await trial_balance_total(api) == 0


@pytest.mark.parametrize("kind", ["payout.failed", "payout.paid"])
async def test_a_word_against_the_first_is_refused(api: ApiClient, kind: str):
    """Failed after paid gives nothing back; paid after failed takes nothing: a person must look."""
    payout = await submitted_payout(api)
    other = {"payout.failed": "payout.paid", "payout.paid": "payout.failed"}[kind]
    await post_event(api, event_body(payout, other), "evt_1")
    before = await balance(api)
    told = await post_event(api, event_body(payout, kind), "evt_2")

    assert (told.status, told.error["code"]) == (409, "wrong_state")
    assert await balance(api) == before
    assert await trial_balance_total(api) == 0


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"amount": 59_999}, 409, "conflict"),
        ({"amount": 10**12 + 1}, 400, "malformed"),
        ({"currency": "EUR"}, 400, "malformed"),
        ({"reference": "another"}, 404, "not_found"),
        ({"payoutId": "pout_none"}, 404, "not_found"),
        ({"payoutId": "a#b"}, 400, "malformed"),
        ({"fee": -1}, 400, "malformed"),
    ],
)
async def test_an_event_about_something_else_moves_nothing(
    api: ApiClient, changed: dict[str, Any], status: int, code: str
):
    """Another amount, currency, reference or payout than was asked for."""
    payout = await submitted_payout(api)
    told = await post_event(api, event_body(payout, **changed))

    assert (told.status, told.error["code"]) == (status, code)
    assert await status_of(api, payout["payoutId"]) == "SUBMITTED"
    assert await balance(api) == (40_000, 60_000)


async def test_another_provider_knows_nothing_of_it(api: ApiClient):
    """Whoever was not asked to pay cannot say that he did."""
    payout = await submitted_payout(api)
    told = await post_event(api, event_body(payout), provider="momo")

    assert (told.status, told.error["code"]) == (404, "not_found")


async def test_a_payout_that_was_not_sent_is_not_there(api: ApiClient):
    """Before it is agreed to, no provider has a reference of it."""
    payout = await request_payout(api)
    told = await post_event(api, event_body({**payout, "providerReference": "guessed"}))

    assert told.status == 404


async def test_an_altered_event_is_turned_away(api: ApiClient):
    """Another's signature, an old one, and one over other bytes."""
    payout = await submitted_payout(api)
    raw = event_body(payout)
    told = [
        await post_event(api, raw, secret=OTHER_SECRET),
        await post_event(api, raw, age_s=301),
        await api.request_raw(
            "POST", "/webhooks/payouts/sandbox", sign_headers(raw), data=raw + b" "
        ),
        await api.request_raw("POST", "/webhooks/payouts/sandbox", {}, data=raw),
    ]

    assert {(each.status, each.error["code"]) for each in told} == {(401, "signature_invalid")}
    assert await status_of(api, payout["payoutId"]) == "SUBMITTED"


async def test_a_word_that_nobody_knows_is_answered_and_ignored(api: ApiClient):
    """Providers say more than we ask."""
    payout = await submitted_payout(api)
    told = await post_event(api, event_body(payout, "payout.queued"))

    assert (told.status, told.data["status"]) == (200, "SUBMITTED")


async def test_the_ids_of_payments_and_payouts_are_apart(api: ApiClient):
    """A payment's event id does not answer for a payout's."""
    payout = await submitted_payout(api)
    raw = event_body(payout)
    elsewhere = await api.request_raw(
        "POST", "/webhooks/payments/sandbox", sign_headers(raw), data=raw
    )
    told = await post_event(api, raw)

    assert elsewhere.status == 400
    assert told.data["status"] == "PAID"
    assert (await api.request(CHEZ_ADA, "GET /wallet/balance")).data["availableBalance"] == 40_000
