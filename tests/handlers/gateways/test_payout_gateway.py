"""Payouts through the operator's gateway: one reference each, and UNKNOWN if in doubt."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatch.clock import SystemClock
from dispatch.money.payouts.providers import ProviderReport, ProviderStatus
from dispatch.settings import SettingsError, read
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
    """The operator's gateway: answers as set, and records its requests."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.response: Any = {"status": "PAID", "fee": 250}
        # In how many parts the answer is sent.
        self.parts = 1
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.requests.append((request.method, request.path, raw, dict(request.headers)))
        body = (
            self.response
            if isinstance(self.response, bytes)
            else msgspec.json.encode(self.response)
        )
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        size = len(body) // self.parts + 1
        for start in range(0, len(body), size):
            await response.write(body[start : start + size])
            # The client, in the same event loop, gets its turns to read this part.
            for _ in range(20):
                await asyncio.sleep(0)
        return response


@pytest_asyncio.fixture
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    gateway, app = FakeGateway(), web.Application()
    app.router.add_route("*", "/payouts/{reference}", gateway.handle)
    async with TestServer(app) as server:
        gateway.url = str(server.make_url("/payouts/"))
        yield gateway


def payout_gateway(url: str) -> PayoutGateway:
    return PayoutGateway(url, [SECRET], SystemClock())


async def test_a_payout_is_submitted_under_its_reference(fake_gateway: FakeGateway):
    """The signed request holds amount and destination; the answer's fee is reported."""
    report = await payout_gateway(fake_gateway.url).submit(PAYOUT, REFERENCE)
    [(method, path, raw, headers)] = fake_gateway.requests

    assert report == ProviderReport(ProviderStatus.PAID, 250)
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
    ("answer", "report"),
    [
        ({"status": "PAID"}, ProviderReport(ProviderStatus.PAID)),
        ({"status": "PENDING", "colour": "red"}, ProviderReport(ProviderStatus.UNKNOWN)),
        (
            {"status": "FAILED", "reason": "no such phone"},
            ProviderReport(ProviderStatus.FAILED, 0, "no such phone"),
        ),
    ],
)
async def test_the_gateways_status_is_reported(
    fake_gateway: FakeGateway, answer: Any, report: ProviderReport
):
    """Submitting and checking report the same three statuses."""
    fake_gateway.response = answer
    gateway = payout_gateway(fake_gateway.url)
    reports = [
        await gateway.submit(PAYOUT, REFERENCE),
        await gateway.check_status(PAYOUT, REFERENCE),
    ]

    assert reports == [report] * 2
    assert is_signed(SECRET, b"", fake_gateway.requests[1][3])


async def test_404_means_an_unknown_reference_only_for_a_check(fake_gateway: FakeGateway):
    """A 404 to a submission is no clear answer."""
    fake_gateway.status = 404
    gateway = payout_gateway(fake_gateway.url)

    assert (await gateway.check_status(PAYOUT, REFERENCE)).status is ProviderStatus.NOT_FOUND
    assert (await gateway.submit(PAYOUT, REFERENCE)).status is ProviderStatus.UNKNOWN


@pytest.mark.parametrize("status", [301, 400, 401, 409, 429, 500, 503])
async def test_a_status_other_than_2xx_is_unknown(fake_gateway: FakeGateway, status: int):
    """Whatever the body says: the money may have gone out."""
    fake_gateway.status, fake_gateway.response = status, {"status": "FAILED"}

    assert await payout_gateway(fake_gateway.url).submit(PAYOUT, REFERENCE) == ProviderReport(
        ProviderStatus.UNKNOWN
    )


@pytest.mark.parametrize(
    "answer",
    [b"", b"paid", {}, [], {"status": "OK"}, {"status": "PAID", "fee": -1}, b"\xff" * 100_000],
)
async def test_an_invalid_answer_is_unknown(fake_gateway: FakeGateway, answer: Any):
    """No JSON, no status, a negative fee, or an answer that is too long."""
    fake_gateway.response = answer

    assert await payout_gateway(fake_gateway.url).submit(PAYOUT, REFERENCE) == ProviderReport(
        ProviderStatus.UNKNOWN
    )


async def test_an_unreachable_gateway_is_unknown():
    """Port 9 refuses connections."""
    assert await payout_gateway("http://127.0.0.1:9/payouts").check_status(
        PAYOUT, REFERENCE
    ) == ProviderReport(ProviderStatus.UNKNOWN)


async def test_an_answer_in_two_parts_is_read_whole(fake_gateway: FakeGateway):
    """A gateway whose answer arrived in two TCP segments was once never understood.

    Its payouts stayed SUBMITTED although they were paid.
    """
    fake_gateway.parts = 2
    report = await payout_gateway(fake_gateway.url).check_status(PAYOUT, REFERENCE)

    assert report == ProviderReport(ProviderStatus.PAID, 250)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PAYOUT_URL": "http://gateway"}, "PAYOUT_URL needs PAYOUT_URL_SECRET"),
        ({"PAYOUT_PROVIDER": "Mo Mo"}, "PAYOUT_PROVIDER"),
    ],
)
def test_payout_settings_are_checked(environ: dict[str, str], message: str):
    """A gateway needs PAYOUT_URL_SECRET, and a provider's name has a fixed form."""
    with pytest.raises(SettingsError, match=message):
        read({"JWT_SECRET": "s" * 32, **environ})
