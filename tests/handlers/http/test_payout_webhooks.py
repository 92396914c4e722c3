"""What a payout provider tells by itself: believed when signed and when it fits, once."""

import asyncio
from typing import Any

import orjson
import pytest

from dispatch.money.payout_providers import SANDBOX_WAITS
from tests.handlers.http.test_payouts import asked, balance, status_of
from tests.handlers.http.test_webhooks import OTHER_SECRET, signed
from tests.handlers.http_api import ADMIN, CHEZ_ADA, Answer, Api

pytestmark = pytest.mark.engines


async def sent(api: Api) -> dict[str, Any]:
    """A payout of 60,000 of which its provider has said nothing yet."""
    payout = await asked(api, destination=SANDBOX_WAITS)
    await api.ask(ADMIN, f"POST /admin/payouts/{payout['payoutId']}/approve")
    await api.desk.payer.carry_out(payout["payoutId"])
    listed = await api.ask(ADMIN, "GET /admin/payouts?status=SUBMITTED")
    return listed.data["items"][0]


def event(payout: dict[str, Any], kind: str = "payout.paid", **data: Any) -> bytes:
    about = {
        "payoutId": payout["payoutId"],
        "reference": payout["providerReference"],
        "amount": 60_000,
        "currency": "XAF",
    }
    return orjson.dumps({"type": kind, "data": {**about, **data}})


async def tell(
    api: Api, raw: bytes, event_id: str = "evt_1", provider: str = "sandbox", **how: Any
) -> Answer:
    headers = signed(raw, event_id, **how)
    return await api.raw("POST", f"/webhooks/payouts/{provider}", headers, data=raw)


async def total(api: Api) -> int:
    return (await api.ask(ADMIN, "GET /admin/ledger/trial-balance")).data["total"]


async def test_a_provider_says_that_he_has_paid(api: Api):
    """The held money leaves, his fee is ours, the books balance."""
    payout = await sent(api)
    told = await tell(api, event(payout, fee=300))

    assert (told.status, told.data["status"], told.data["fee"]) == (200, "PAID", 300)
    assert await balance(api) == (40_000, 0)
    assert await total(api) == 0


async def test_a_provider_says_that_he_could_not(api: Api):
    """What was held may be spent again, and the owner sees why."""
    payout = await sent(api)
    told = await tell(api, event(payout, "payout.failed", reason="no such phone"))

    assert (told.data["status"], told.data["reason"]) == ("FAILED", "no such phone")
    assert await balance(api) == (100_000, 0)


async def test_a_payout_comes_back(api: Api):
    """Returned after it was paid: the money is in the wallet again, once."""
    payout = await sent(api)
    early = await tell(api, event(payout, "payout.returned", reason="closed"), "evt_0")
    await tell(api, event(payout), "evt_1")
    back = [
        await tell(api, event(payout, "payout.returned", reason="closed"), name)
        for name in ("evt_2", "evt_2", "evt_3")
    ]

    # Told before the payment it is refused, so that the provider says it again.
    assert (early.status, early.error["code"]) == (409, "wrong_state")
    assert [each.data["status"] for each in back] == ["RETURNED"] * 3
    assert await balance(api) == (100_000, 0)
    assert await total(api) == 0


async def test_an_event_counts_once(api: Api):
    """Ten copies at once, and the same word under another id, pay once."""
    payout = await sent(api)
    raw = event(payout)
    told = await asyncio.gather(*(tell(api, raw) for _ in range(10)))
    renamed = await tell(api, raw, "evt_2")

    assert {each.status for each in told} == {200}
    assert len({str(each.data) for each in told}) == 1
    assert renamed.data["status"] == "PAID"
    assert await balance(api) == (40_000, 0)


async def test_the_poll_and_the_event_may_cross(api: Api):
    """Asked after and told at the same moment: paid once, whoever is first."""
    payout = await sent(api)
    await asyncio.gather(api.desk.payer.sweep_once(), tell(api, event(payout)))

    assert await status_of(api, payout["payoutId"]) == "PAID"
    assert await balance(api) == (40_000, 0)
    assert await total(api) == 0


@pytest.mark.parametrize("kind", ["payout.failed", "payout.paid"])
async def test_a_word_against_the_first_is_refused(api: Api, kind: str):
    """Failed after paid gives nothing back; paid after failed takes nothing: a person must look."""
    payout = await sent(api)
    other = {"payout.failed": "payout.paid", "payout.paid": "payout.failed"}[kind]
    await tell(api, event(payout, other), "evt_1")
    before = await balance(api)
    told = await tell(api, event(payout, kind), "evt_2")

    assert (told.status, told.error["code"]) == (409, "wrong_state")
    assert await balance(api) == before
    assert await total(api) == 0


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
    api: Api, changed: dict[str, Any], status: int, code: str
):
    """Another amount, currency, reference or payout than was asked for."""
    payout = await sent(api)
    told = await tell(api, event(payout, **changed))

    assert (told.status, told.error["code"]) == (status, code)
    assert await status_of(api, payout["payoutId"]) == "SUBMITTED"
    assert await balance(api) == (40_000, 60_000)


async def test_another_provider_knows_nothing_of_it(api: Api):
    """Whoever was not asked to pay cannot say that he did."""
    payout = await sent(api)
    told = await tell(api, event(payout), provider="momo")

    assert (told.status, told.error["code"]) == (404, "not_found")


async def test_a_payout_that_was_not_sent_is_not_there(api: Api):
    """Before it is agreed to, no provider has a reference of it."""
    payout = await asked(api)
    told = await tell(api, event({**payout, "providerReference": "guessed"}))

    assert told.status == 404


async def test_an_altered_event_is_turned_away(api: Api):
    """Another's signature, an old one, and one over other bytes."""
    payout = await sent(api)
    raw = event(payout)
    told = [
        await tell(api, raw, secret=OTHER_SECRET),
        await tell(api, raw, age_s=301),
        await api.raw("POST", "/webhooks/payouts/sandbox", signed(raw), data=raw + b" "),
        await api.raw("POST", "/webhooks/payouts/sandbox", {}, data=raw),
    ]

    assert {(each.status, each.error["code"]) for each in told} == {(401, "signature_invalid")}
    assert await status_of(api, payout["payoutId"]) == "SUBMITTED"


async def test_a_word_that_nobody_knows_is_answered_and_ignored(api: Api):
    """Providers say more than we ask."""
    payout = await sent(api)
    told = await tell(api, event(payout, "payout.queued"))

    assert (told.status, told.data["status"]) == (200, "SUBMITTED")


async def test_the_ids_of_payments_and_payouts_are_apart(api: Api):
    """A payment's event id does not answer for a payout's."""
    payout = await sent(api)
    raw = event(payout)
    elsewhere = await api.raw("POST", "/webhooks/payments/sandbox", signed(raw), data=raw)
    told = await tell(api, raw)

    assert elsewhere.status == 400
    assert told.data["status"] == "PAID"
    assert (await api.ask(CHEZ_ADA, "GET /wallet/balance")).data["availableBalance"] == 40_000
