"""Payouts through an operator's gateway: asked under one reference, and doubted where unclear."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatch.clock import SystemClock
from dispatch.money.payout_providers import ProviderReport, ProviderStatus
from dispatch.settings import SettingsError, read
from handlers.app.money_setup import _payout_provider
from handlers.gateways.payout_gateway import PayoutGateway
from handlers.http.webhooks import is_signed
from ledger.records.payouts import Payout, provider_reference

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
PAYOUT = Payout(
    payout_id="pout_1",
    owner_type="VENDOR",
    owner_id="ven_1",
    amount=60_000,
    destination={"phone": "+237 670 00 00 00"},
    provider="gateway",
    requested_by="ven_1",
    created_at=1,
    updated_at=1,
)
REFERENCE = provider_reference("pout_1")


class FakeGateway:
    """The operator's gateway: says what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.response: Any = {"status": "PAID", "fee": 250}
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.requests.append((request.method, request.path, raw, dict(request.headers)))
        body = (
            self.response
            if isinstance(self.response, bytes)
            else msgspec.json.encode(self.response)
        )
        return web.Response(status=self.status, body=body)


@pytest_asyncio.fixture
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    here, app = FakeGateway(), web.Application()
    app.router.add_route("*", "/payouts/{reference}", here.handle)
    async with TestServer(app) as server:
        here.url = str(server.make_url("/payouts/"))
        yield here


def payout_gateway(url: str) -> PayoutGateway:
    return PayoutGateway(url, SECRET, SystemClock())


async def test_a_payout_is_asked_for_under_its_reference(fake_gateway: FakeGateway):
    """What, whereto and under which name, signed over its bytes; the fee comes back."""
    told = await payout_gateway(fake_gateway.url).submit(PAYOUT, REFERENCE)
    [(method, path, raw, headers)] = fake_gateway.requests

    assert told == ProviderReport(ProviderStatus.PAID, 250)
    assert (method, path) == ("PUT", f"/payouts/{REFERENCE}")
    assert msgspec.json.decode(raw) == {
        "payoutId": "pout_1",
        "reference": REFERENCE,
        "amount": 60_000,
        "currency": "XAF",
        "destination": {"phone": "+237 670 00 00 00"},
    }
    assert is_signed(SECRET, raw, headers)
    assert not is_signed(SECRET, raw.replace(b"60000", b"90000"), headers)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": "PAID"}, ProviderReport(ProviderStatus.PAID)),
        ({"status": "PENDING", "colour": "red"}, ProviderReport(ProviderStatus.UNKNOWN)),
        (
            {"status": "FAILED", "reason": "no such phone"},
            ProviderReport(ProviderStatus.FAILED, 0, "no such phone"),
        ),
    ],
)
async def test_the_gateways_word_is_taken(
    fake_gateway: FakeGateway, answer: Any, told: ProviderReport
):
    """Asked to pay or asked after: the same three words."""
    fake_gateway.response = answer
    ours = payout_gateway(fake_gateway.url)

    assert [await ours.submit(PAYOUT, REFERENCE), await ours.check_status(PAYOUT, REFERENCE)] == [
        told
    ] * 2
    assert is_signed(SECRET, b"", fake_gateway.requests[1][3])


async def test_a_reference_never_heard_of_is_known_by_404(fake_gateway: FakeGateway):
    """Of a look; a 404 to the request to pay is no word at all."""
    fake_gateway.status = 404
    ours = payout_gateway(fake_gateway.url)

    assert (await ours.check_status(PAYOUT, REFERENCE)).status is ProviderStatus.NOT_FOUND
    assert (await ours.submit(PAYOUT, REFERENCE)).status is ProviderStatus.UNKNOWN


@pytest.mark.parametrize("status", [301, 400, 401, 409, 429, 500, 503])
async def test_a_refusal_that_is_no_word_leaves_it_open(fake_gateway: FakeGateway, status: int):
    """Whatever the body says: only a 2xx answer is a word; the money may have gone out."""
    fake_gateway.status, fake_gateway.response = status, {"status": "FAILED"}

    assert await payout_gateway(fake_gateway.url).submit(PAYOUT, REFERENCE) == ProviderReport(
        ProviderStatus.UNKNOWN
    )


@pytest.mark.parametrize(
    "answer",
    [b"", b"paid", {}, [], {"status": "OK"}, {"status": "PAID", "fee": -1}, b"\xff" * 100_000],
)
async def test_an_answer_that_says_nothing_leaves_it_open(fake_gateway: FakeGateway, answer: Any):
    """No JSON, no status, a fee below zero, or no end to it."""
    fake_gateway.response = answer

    assert await payout_gateway(fake_gateway.url).submit(PAYOUT, REFERENCE) == ProviderReport(
        ProviderStatus.UNKNOWN
    )


async def test_a_gateway_that_is_away_leaves_it_open():
    """Port 9 answers nobody."""
    assert await payout_gateway("http://127.0.0.1:9/payouts").check_status(
        PAYOUT, REFERENCE
    ) == ProviderReport(ProviderStatus.UNKNOWN)


def test_who_pays_out_is_a_setting():
    """A gateway where there is one, else the sandbox under --dev, else a person."""
    secrets = {"JWT_SECRET": "s" * 32, "WEBHOOK_SECRET": SECRET}
    there = {**secrets, "PAYOUT_URL": "http://gateway/payouts"}
    names = [
        _payout_provider(read(environ, dev=dev), SystemClock())[0]
        for environ, dev in [
            (there, False),
            (there, True),
            ({**there, "PAYOUT_PROVIDER": "momo"}, False),
            (secrets, True),
            (secrets, False),
        ]
    ]
    assert names == ["gateway", "gateway", "momo", "sandbox", "manual"]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PAYOUT_URL": "http://gateway"}, "PAYOUT_URL needs WEBHOOK_SECRET"),
        ({"PAYOUT_PROVIDER": "Mo Mo"}, "PAYOUT_PROVIDER"),
    ],
)
def test_a_gateway_without_a_secret_is_refused(environ: dict[str, str], words: str):
    """Nobody would know from whom a request to pay comes."""
    with pytest.raises(SettingsError, match=words):
        read({"JWT_SECRET": "s" * 32, **environ})
