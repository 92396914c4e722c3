"""Codes on their way to phones."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatch.clock import SystemClock
from dispatch.errors import Refusal, Refused
from dispatch.settings import Settings, SettingsError, read
from handlers.gateways.code_sender import Courier
from handlers.http.webhooks import is_signed

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


class Gateway:
    """The operator's gateway: keeps what it is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 202
        self.heard: list[tuple[bytes, dict[str, str]]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.heard.append((await request.read(), dict(request.headers)))
        return web.Response(status=self.status)


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    here, app = Gateway(), web.Application()
    app.router.add_post("/codes", here.take)
    async with TestServer(app) as server:
        here.url = str(server.make_url("/codes"))
        yield here


def courier(url: str | None, *, dev: bool = False) -> Courier:
    ours = Settings(jwt_secret="s" * 32, code_url=url, webhook_secret=SECRET, dev=dev)
    return Courier(ours, SystemClock())


async def test_a_gateway_is_sent_the_code_and_knows_from_whom(gateway: Gateway):
    """Signed over its bytes as webhooks are, and nothing of it comes back to whoever asked."""
    ours = courier(gateway.url, dev=True)
    ours.check()
    assert await ours.send("237600000001", "012345", 1_000) == {}
    [(body, headers)] = gateway.heard
    assert body == b'{"phone":"+237600000001","code":"012345","expiresAt":1000}'
    assert is_signed(SECRET, body, headers)
    assert not is_signed(SECRET, body + b" ", headers)


async def test_a_gateway_that_fails_is_told(gateway: Gateway):
    """The app may try again; nobody waits for a message that was not sent."""
    gateway.status = 500
    with pytest.raises(Refused) as refused:
        await courier(gateway.url).send("237600000001", "012345", 1_000)
    assert refused.value.code is Refusal.UNAVAILABLE


async def test_a_gateway_that_is_away_is_told():
    """Port 9 answers nobody."""
    with pytest.raises(Refused) as refused:
        await courier("http://127.0.0.1:9/codes").send("237600000001", "012345", 1_000)
    assert refused.value.code is Refusal.UNAVAILABLE


async def test_a_developer_is_shown_the_code():
    """Only where there is no gateway, and only under --dev."""
    ours = courier(None, dev=True)
    ours.check()
    assert await ours.send("237600000001", "012345", 1_000) == {"devCode": "012345"}
    with pytest.raises(Refused) as refused:
        courier(None).check()
    assert refused.value.code is Refusal.SERVICE_DISABLED


def test_what_is_sent_is_signed():
    """A gateway that cannot tell us from others would send anybody's messages."""
    with pytest.raises(SettingsError, match="WEBHOOK_SECRET"):
        read({"CODE_URL": "http://gateway/codes"}, dev=True)
