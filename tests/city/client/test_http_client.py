"""The HTTP side of an actor's app against a small server with moods."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from city.client import http_client as city_web
from city.client.http_client import Api, ApiRefused
from city.demo.counters import Counters
from city.model.seeded_random import seeded_random

FINE = (200, {"success": True, "data": {"n": 1}}, {})
BUSY = (503, {"success": False, "error": {"code": "unavailable"}}, {})
LIMITED = (429, {"success": False, "error": {"code": "rate_limited"}}, {"Retry-After": "0"})
COMING_SOON = (503, {"success": False, "error": {"code": "service_disabled"}}, {})
NOT_FOUND = (404, {"success": False, "error": {"code": "not_found"}}, {})
NAKED = (200, {"n": 1}, {})


@dataclass
class ScriptedServer:
    """A server that answers from a list, and remembers what it was asked."""

    url: str = ""
    responses: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)

    async def respond(self, request: web.Request) -> web.Response:
        """The next answer."""
        await request.read()
        self.requests.append(request)
        status, body, headers = self.responses.pop(0)
        return web.json_response(body, status=status, headers=headers)


@pytest_asyncio.fixture
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    moody = ScriptedServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", moody.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    moody.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield moody
    await runner.cleanup()


@pytest_asyncio.fixture
async def api(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    monkeypatch.setattr(city_web, "BACKOFF_BASE_S", 0.001)
    async with aiohttp.ClientSession() as session:
        yield Api(session, scripted_server.url, lambda: "a.token", Counters(), seeded_random(1))


async def test_the_envelope_is_opened(api: Api, scripted_server: ScriptedServer) -> None:
    """The data comes back; the token and the query went along."""
    scripted_server.responses = [FINE]
    assert await api.get("/orders", status="PENDING", limit=5) == {"n": 1}
    assert str(scripted_server.requests[0].rel_url) == "/api/v1/orders?status=PENDING&limit=5"
    assert scripted_server.requests[0].headers["Authorization"] == "Bearer a.token"


async def test_repeats_carry_one_key(api: Api, scripted_server: ScriptedServer) -> None:
    """A busy or limiting server is asked again under the same key, a new request has a new one."""
    scripted_server.responses = [BUSY, LIMITED, FINE, FINE]
    await api.post("/orders", {"a": 1})
    await api.post("/orders", {"a": 1})
    keys = [request.headers["Idempotency-Key"] for request in scripted_server.requests]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert api.counters.counts["http_repeated:unavailable"] == 1
    assert api.counters.counts["http_repeated:rate_limited"] == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [(NOT_FOUND, "not_found"), (COMING_SOON, "service_disabled"), (NAKED, "no_envelope")],
)
async def test_refusals_are_raised_at_once(
    api: Api, scripted_server: ScriptedServer, answer: tuple[int, Any, dict[str, str]], code: str
) -> None:
    """What asking again would not help is raised with its code."""
    scripted_server.responses = [answer]
    with pytest.raises(ApiRefused) as refused:
        await api.put("/rider/profile", {})
    assert refused.value.code == code
    assert refused.value.route == "PUT /rider/profile"
    assert len(scripted_server.requests) == 1


async def test_patience_ends(api: Api, scripted_server: ScriptedServer) -> None:
    """A server that stays busy is given up."""
    scripted_server.responses = [BUSY] * city_web.TRIES_MAX
    with pytest.raises(ApiRefused, match="unavailable"):
        await api.get("/orders")


async def test_nobody_home(api: Api) -> None:
    """A server that is not there is a refusal without a status."""
    api.url = "http://127.0.0.1:9"
    with pytest.raises(ApiRefused) as refused:
        await api.get("/orders")
    assert refused.value.status == 0
