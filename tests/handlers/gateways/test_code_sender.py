"""Codes on their way to phones."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatch.clock import SystemClock
from dispatch.errors import Refusal, Refused
from dispatch.settings import Settings, SettingsError, read
from handlers.gateways.code_sender import CodeSender
from handlers.http.webhooks import is_signed

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


class FakeGateway:
    """The operator's gateway: keeps what it is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 202
        self.requests: list[tuple[bytes, dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((await request.read(), dict(request.headers)))
        return web.Response(status=self.status)


@pytest_asyncio.fixture
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    here, app = FakeGateway(), web.Application()
    app.router.add_post("/codes", here.handle)
    async with TestServer(app) as server:
        here.url = str(server.make_url("/codes"))
        yield here


def code_sender(url: str | None, *, dev: bool = False) -> CodeSender:
    ours = Settings(jwt_secret="s" * 32, code_url=url, webhook_secret=SECRET, dev=dev)
    return CodeSender(ours, SystemClock())


async def test_a_gateway_is_sent_the_code_and_knows_from_whom(fake_gateway: FakeGateway):
    """Signed over its bytes as webhooks are, and nothing of it comes back to whoever asked."""
    ours = code_sender(fake_gateway.url, dev=True)
    ours.require_enabled()
    assert await ours.send("237600000001", "012345", 1_000) == {}
    [(body, headers)] = fake_gateway.requests
    assert body == b'{"phone":"+237600000001","code":"012345","expiresAt":1000}'
    assert is_signed(SECRET, body, headers)
    assert not is_signed(SECRET, body + b" ", headers)


async def test_a_gateway_that_fails_is_told(fake_gateway: FakeGateway):
    """The app may try again; nobody waits for a message that was not sent."""
    fake_gateway.status = 500
    with pytest.raises(Refused) as refused:
        await code_sender(fake_gateway.url).send("237600000001", "012345", 1_000)
    assert refused.value.code is Refusal.UNAVAILABLE


async def test_a_gateway_that_is_away_is_told():
    """Port 9 answers nobody."""
    with pytest.raises(Refused) as refused:
        await code_sender("http://127.0.0.1:9/codes").send("237600000001", "012345", 1_000)
    assert refused.value.code is Refusal.UNAVAILABLE


async def test_a_developer_is_shown_the_code():
    """Only where there is no gateway, and only under --dev."""
    ours = code_sender(None, dev=True)
    ours.require_enabled()
    assert await ours.send("237600000001", "012345", 1_000) == {"devCode": "012345"}
    with pytest.raises(Refused) as refused:
        code_sender(None).require_enabled()
    assert refused.value.code is Refusal.SERVICE_DISABLED


def test_what_is_sent_is_signed():
    """A gateway that cannot tell us from others would send anybody's messages."""
    with pytest.raises(SettingsError, match="WEBHOOK_SECRET"):
        read({"CODE_URL": "http://gateway/codes"}, dev=True)
