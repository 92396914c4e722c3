"""Sending sign-in codes through the operator's gateway."""

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
    """The operator's gateway: records its requests."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 202
        self.requests: list[tuple[bytes, dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((await request.read(), dict(request.headers)))
        return web.Response(status=self.status)


@pytest_asyncio.fixture
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    gateway, app = FakeGateway(), web.Application()
    app.router.add_post("/codes", gateway.handle)
    async with TestServer(app) as server:
        gateway.url = str(server.make_url("/codes"))
        yield gateway


def code_sender(url: str | None, *, dev: bool = False) -> CodeSender:
    settings = Settings(jwt_secret="s" * 32, code_url=url, code_url_secret=(SECRET,), dev=dev)
    return CodeSender(settings, SystemClock())


async def test_the_gateway_gets_the_code_signed(fake_gateway: FakeGateway):
    """The request is signed over its bytes, and the caller of the endpoint gets nothing of it."""
    sender = code_sender(fake_gateway.url, dev=True)
    sender.require_enabled()
    assert await sender.send("+237600000001", "012345", 1_000) == {}
    [(body, headers)] = fake_gateway.requests
    assert body == b'{"phone":"+237600000001","code":"012345","expiresAt":1000}'
    assert is_signed(SECRET, body, headers)
    assert not is_signed(SECRET, body + b" ", headers)


async def test_a_failing_gateway_is_unavailable(fake_gateway: FakeGateway):
    """A status of 500 is refused as UNAVAILABLE, so that the app can try again."""
    fake_gateway.status = 500
    with pytest.raises(Refused) as refused:
        await code_sender(fake_gateway.url).send("+237600000001", "012345", 1_000)
    assert refused.value.code is Refusal.UNAVAILABLE


async def test_an_unreachable_gateway_is_unavailable():
    """Port 9 refuses connections."""
    with pytest.raises(Refused) as refused:
        await code_sender("http://127.0.0.1:9/codes").send("+237600000001", "012345", 1_000)
    assert refused.value.code is Refusal.UNAVAILABLE


async def test_under_dev_without_a_gateway_the_code_is_returned():
    """In production without a gateway the service is disabled."""
    sender = code_sender(None, dev=True)
    sender.require_enabled()
    assert await sender.send("+237600000001", "012345", 1_000) == {"devCode": "012345"}
    with pytest.raises(Refused) as refused:
        code_sender(None).require_enabled()
    assert refused.value.code is Refusal.SERVICE_DISABLED


def test_code_url_needs_a_secret():
    """A gateway could not tell unsigned requests from anyone else's."""
    with pytest.raises(SettingsError, match="CODE_URL needs CODE_URL_SECRET"):
        read({"CODE_URL": "http://gateway/codes"}, dev=True)
