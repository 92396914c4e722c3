"""Payout webhooks: an event counts if it is signed and fits the payout, and once."""

import asyncio
from typing import Any

import orjson
import pytest

from dispatch import metrics
from dispatch.money.payouts.providers import SANDBOX_WAITS_DIGITS
from dispatch.wire.webhooks import PAYOUT_EVENTS
from tests.handlers.http_api import (
    ADMIN,
    CHEZ_ADA,
    MOMO_SECRET,
    PAYOUT_SECRET,
    SECRET,
    ApiClient,
    ApiResponse,
)
from tests.handlers.payout_flow import balances_xaf, request_payout, status_of
from tests.handlers.signed_webhooks import BROKEN_DATA, OTHER_EVENTS, OTHER_SECRET, sign_headers
from tests.metric_values import metric_value

pytestmark = pytest.mark.engines


async def submitted_payout(api: ApiClient) -> dict[str, Any]:
    """A payout of 60,000 of which its provider has said nothing yet."""
    payout = await request_payout(api, destination=SANDBOX_WAITS_DIGITS)
    await api.request(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.services.payouts.submitter.process_payout(payout["payoutId"])
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
    headers = sign_headers(raw, event_id, **{"secret": PAYOUT_SECRET, **signing})
    return await api.request_raw("POST", f"/webhooks/payouts/{provider}", headers, data=raw)


async def test_a_paid_event_completes_the_payout(api: ApiClient):
    """The held money leaves, the fee is the platform's, and the trial balance is zero."""
    payout = await submitted_payout(api)
    answer = await post_event(api, event_body(payout, fee=300))

    assert (answer.status, answer.data["status"], answer.data["fee"]) == (200, "PAID", 300)
    assert await balances_xaf(api) == (40_000, 0)
    assert await api.trial_balance_total() == 0


async def test_a_failed_event_releases_the_hold(api: ApiClient):
    """The owner may spend the amount again and reads the reason."""
    payout = await submitted_payout(api)
    answer = await post_event(api, event_body(payout, "payout.failed", reason="no such phone"))

    assert (answer.data["status"], answer.data["reason"]) == ("FAILED", "no such phone")
    assert await balances_xaf(api) == (100_000, 0)


async def test_a_returned_event_gives_the_money_back(api: ApiClient):
    """After the payment, and once; before it the event is refused."""
    payout = await submitted_payout(api)
    early = await post_event(api, event_body(payout, "payout.returned", reason="closed"), "evt_0")
    await post_event(api, event_body(payout), "evt_1")
    back = [
        await post_event(api, event_body(payout, "payout.returned", reason="closed"), name)
        for name in ("evt_2", "evt_2", "evt_3")
    ]

    # Before the payment it is refused, so that the provider repeats it.
    assert (early.status, early.error["code"]) == (409, "wrong_state")
    assert [each.data["status"] for each in back] == ["RETURNED"] * 3
    assert await balances_xaf(api) == (100_000, 0)
    assert await api.trial_balance_total() == 0


async def test_an_event_counts_once(api: ApiClient):
    """Ten copies at once, and the same event under another id, pay once."""
    payout = await submitted_payout(api)
    raw = event_body(payout)
    answers = await asyncio.gather(*(post_event(api, raw) for _ in range(10)))
    renamed = await post_event(api, raw, "evt_2")

    assert {each.status for each in answers} == {200}
    assert len({str(each.data) for each in answers}) == 1
    assert renamed.data["status"] == "PAID"
    assert await balances_xaf(api) == (40_000, 0)


async def test_a_poll_and_an_event_at_once_pay_once(api: ApiClient):
    """Whichever is first."""
    payout = await submitted_payout(api)
    await asyncio.gather(
        api.services.payouts.submitter.sweep_once(), post_event(api, event_body(payout))
    )

    assert await status_of(api, payout["payoutId"]) == "PAID"
    assert await balances_xaf(api) == (40_000, 0)
    assert await api.trial_balance_total() == 0


@pytest.mark.parametrize("kind", ["payout.failed", "payout.paid"])
async def test_a_contradicting_event_is_refused(api: ApiClient, kind: str):
    """Failed after paid and paid after failed move nothing."""
    payout = await submitted_payout(api)
    other = {"payout.failed": "payout.paid", "payout.paid": "payout.failed"}[kind]
    await post_event(api, event_body(payout, other), "evt_1")
    before = await balances_xaf(api)
    answer = await post_event(api, event_body(payout, kind), "evt_2")

    assert (answer.status, answer.error["code"]) == (409, "wrong_state")
    assert await balances_xaf(api) == before
    assert await api.trial_balance_total() == 0


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
async def test_an_event_that_does_not_fit_moves_nothing(
    api: ApiClient, changed: dict[str, Any], status: int, code: str
):
    """Another amount, currency, reference or payout than was submitted."""
    payout = await submitted_payout(api)
    answer = await post_event(api, event_body(payout, **changed))

    assert (answer.status, answer.error["code"]) == (status, code)
    assert await status_of(api, payout["payoutId"]) == "SUBMITTED"
    assert await balances_xaf(api) == (40_000, 60_000)


async def test_an_event_of_another_provider_is_not_found(api: ApiClient):
    """Only the provider that got the payout may report on it."""
    payout = await submitted_payout(api)
    answer = await post_event(api, event_body(payout), provider="momo", secret=MOMO_SECRET)

    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_a_payout_that_was_not_submitted_is_not_found(api: ApiClient):
    """Before its approval it has no reference at a provider."""
    payout = await request_payout(api)
    answer = await post_event(api, event_body({**payout, "providerReference": "guessed"}))

    assert answer.status == 404


async def test_an_event_with_a_bad_signature_is_refused(api: ApiClient):
    """Signed with another use's secret, too old, over other bytes, or unsigned."""
    payout = await submitted_payout(api)
    raw = event_body(payout)
    answers = [
        await post_event(api, raw, secret=OTHER_SECRET),
        await post_event(api, raw, secret=SECRET),
        await post_event(api, raw, secret=MOMO_SECRET),
        await post_event(api, raw, provider="unheard_of"),
        await post_event(api, raw, age_s=301),
        await api.request_raw(
            "POST",
            "/webhooks/payouts/sandbox",
            sign_headers(raw, secret=PAYOUT_SECRET),
            data=raw + b" ",
        ),
        await api.request_raw("POST", "/webhooks/payouts/sandbox", {}, data=raw),
    ]

    assert {(each.status, each.error["code"]) for each in answers} == {(401, "signature_invalid")}
    assert await status_of(api, payout["payoutId"]) == "SUBMITTED"


async def test_an_unknown_event_type_is_ignored(api: ApiClient):
    """It is answered with success, so that the provider stops repeating it."""
    payout = await submitted_payout(api)
    answer = await post_event(api, event_body(payout, "payout.queued"))

    assert (answer.status, answer.data) == (200, {"ignored": "payout.queued"})
    assert await status_of(api, payout["payoutId"]) == "SUBMITTED"


@pytest.mark.parametrize(("raw", "ignored"), OTHER_EVENTS)
async def test_events_of_other_shapes_are_ignored(api: ApiClient, raw: bytes, ignored: str | None):
    """Whatever a provider tests its endpoint with; each is counted."""
    before = metric_value(metrics.WEBHOOK_EVENTS_IGNORED.labels("payout"))
    answer = await post_event(api, raw)
    assert (answer.status, answer.data) == (200, {"ignored": ignored})
    assert metric_value(metrics.WEBHOOK_EVENTS_IGNORED.labels("payout")) == before + 1


@pytest.mark.parametrize("changes", BROKEN_DATA)
@pytest.mark.parametrize("kind", sorted(PAYOUT_EVENTS))
async def test_a_broken_event_of_our_types_is_malformed(
    api: ApiClient, kind: str, changes: dict[str, object]
):
    """Its provider must hear that it was not taken."""
    event = orjson.loads(event_body({"payoutId": "pout_1", "providerReference": "ref"}, kind))
    answer = await post_event(api, orjson.dumps({**event, **changes}))
    assert (answer.status, answer.error["code"]) == (400, "malformed")


async def test_null_and_unknown_fields_of_a_report_are_accepted(api: ApiClient):
    """Also a numeric timestamp, and an amount with a zero fraction."""
    payout = await submitted_payout(api)
    data = {"fee": None, "reason": None, "amount": 60_000.0, "network": "MTN"}
    event = {**orjson.loads(event_body(payout, **data)), "timestamp": 1763000002, "livemode": True}
    answer = await post_event(api, orjson.dumps(event))
    assert (answer.status, answer.data["status"]) == (200, "PAID")


async def test_event_ids_of_payments_and_payouts_are_separate(api: ApiClient):
    """An event that reached the payments' endpoint is ignored there and counts here."""
    payout = await submitted_payout(api)
    raw = event_body(payout)
    elsewhere = await api.request_raw(
        "POST", "/webhooks/payments/sandbox", sign_headers(raw), data=raw
    )
    answer = await post_event(api, raw)

    assert (elsewhere.status, elsewhere.data) == (200, {"ignored": "payout.paid"})
    assert answer.data["status"] == "PAID"
    assert (await api.request(CHEZ_ADA, "GET /wallet/balance")).data["availableBalance"] == 40_000
