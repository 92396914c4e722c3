"""Payouts through an operator's gateway: asked under one reference, and doubted where unclear."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatch.clock import SystemClock
from dispatch.money.payout_providers import Told, Word
from dispatch.settings import SettingsError, read
from handlers.app.money_setup import _provider
from handlers.gateways.payout_gateway import Bank
from handlers.http.webhooks import is_signed
from ledger.records.payouts import Payout, reference_of

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
REFERENCE = reference_of("pout_1")


class Gateway:
    """The operator's gateway: says what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.answer: Any = {"status": "PAID", "fee": 250}
        self.heard: list[tuple[str, str, bytes, dict[str, str]]] = []

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.heard.append((request.method, request.path, raw, dict(request.headers)))
        body = self.answer if isinstance(self.answer, bytes) else msgspec.json.encode(self.answer)
        return web.Response(status=self.status, body=body)


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    here, app = Gateway(), web.Application()
    app.router.add_route("*", "/payouts/{reference}", here.take)
    async with TestServer(app) as server:
        here.url = str(server.make_url("/payouts/"))
        yield here


def bank(url: str) -> Bank:
    return Bank(url, SECRET, SystemClock())


async def test_a_payout_is_asked_for_under_its_reference(gateway: Gateway):
    """What, whereto and under which name, signed over its bytes; the fee comes back."""
    told = await bank(gateway.url).submit(PAYOUT, REFERENCE)
    [(method, path, raw, headers)] = gateway.heard

    assert told == Told(Word.PAID, 250)
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
        ({"status": "PAID"}, Told(Word.PAID)),
        ({"status": "PENDING", "colour": "red"}, Told(Word.UNKNOWN)),
        ({"status": "FAILED", "reason": "no such phone"}, Told(Word.FAILED, 0, "no such phone")),
    ],
)
async def test_the_gateways_word_is_taken(gateway: Gateway, answer: Any, told: Told):
    """Asked to pay or asked after: the same three words."""
    gateway.answer = answer
    ours = bank(gateway.url)

    assert [await ours.submit(PAYOUT, REFERENCE), await ours.find(PAYOUT, REFERENCE)] == [told] * 2
    assert is_signed(SECRET, b"", gateway.heard[1][3])


async def test_a_reference_never_heard_of_is_known_by_404(gateway: Gateway):
    """Of a look; a 404 to the request to pay is no word at all."""
    gateway.status = 404
    ours = bank(gateway.url)

    assert (await ours.find(PAYOUT, REFERENCE)).word is Word.NOT_FOUND
    assert (await ours.submit(PAYOUT, REFERENCE)).word is Word.UNKNOWN


@pytest.mark.parametrize("status", [301, 400, 401, 409, 429, 500, 503])
async def test_a_refusal_that_is_no_word_leaves_it_open(gateway: Gateway, status: int):
    """Whatever the body says: only a 2xx answer is a word; the money may have gone out."""
    gateway.status, gateway.answer = status, {"status": "FAILED"}

    assert await bank(gateway.url).submit(PAYOUT, REFERENCE) == Told(Word.UNKNOWN)


@pytest.mark.parametrize(
    "answer",
    [b"", b"paid", {}, [], {"status": "OK"}, {"status": "PAID", "fee": -1}, b"\xff" * 100_000],
)
async def test_an_answer_that_says_nothing_leaves_it_open(gateway: Gateway, answer: Any):
    """No JSON, no status, a fee below zero, or no end to it."""
    gateway.answer = answer

    assert await bank(gateway.url).submit(PAYOUT, REFERENCE) == Told(Word.UNKNOWN)


async def test_a_gateway_that_is_away_leaves_it_open():
    """Port 9 answers nobody."""
    assert await bank("http://127.0.0.1:9/payouts").find(PAYOUT, REFERENCE) == Told(Word.UNKNOWN)


def test_who_pays_out_is_a_setting():
    """A gateway where there is one, else the sandbox under --dev, else a person."""
    secrets = {"JWT_SECRET": "s" * 32, "WEBHOOK_SECRET": SECRET}
    there = {**secrets, "PAYOUT_URL": "http://gateway/payouts"}
    names = [
        _provider(read(environ, dev=dev), SystemClock())[0]
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
