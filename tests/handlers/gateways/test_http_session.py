"""Sessions to gateways do what was chosen and nothing that the library does on its own."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from handlers.gateways.http_session import open_http_session


class Gateway:
    """A gateway that redirects, sets cookies and compresses, and records what it is sent."""

    def __init__(self) -> None:
        self.received: list[web.Request] = []
        self.may_answer = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{name}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.received.append(request)
        name = request.match_info["name"]
        if name.isdigit():
            return web.Response(status=int(name), headers={"Location": "/elsewhere"})
        if name == "slow":
            await self.may_answer.wait()
        packed = {"Content-Encoding": "gzip", "Set-Cookie": "a=b"}
        return web.Response(body=gzip.compress(bytes(1_000)), headers=packed)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    async with gateway.server:
        yield gateway
        gateway.may_answer.set()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_redirects_are_not_followed(gateway: Gateway, status: int, method: str):
    """A redirect is an error, and the body goes nowhere else."""
    url = gateway.server.make_url(f"/{status}")
    async with open_http_session(5) as http:
        with pytest.raises(aiohttp.ClientResponseError, match="redirects"):
            await http.request(method, url, data=b"signed")
    assert [request.path for request in gateway.received] == [f"/{status}"]


async def test_nothing_is_decompressed_or_kept(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    """A compressed answer stays as it is; cookies and the environment's proxy are ignored."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    url = gateway.server.make_url("/cookie")
    async with open_http_session(5) as http:
        for _ in range(2):
            async with http.get(url) as response:
                assert gzip.decompress(await response.read()) == bytes(1_000)
    assert [request.cookies for request in gateway.received] == [{}, {}]
    headers = gateway.received[0].headers
    assert (headers["Accept-Encoding"], headers["User-Agent"]) == ("identity", "reeyo-dispatch")


async def test_a_request_ends_in_time(gateway: Gateway):
    """A gateway that does not answer is given up."""
    async with open_http_session(0.05) as http:
        with pytest.raises(TimeoutError):
            await http.get(gateway.server.make_url("/slow"))
