"""The HTTP client of an actor's app, against a server with scripted responses."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from city.client.http_client import TRIES_MAX, Api, ApiRefused
from city.model.counters import Counters
from city.model.seeded_random import seeded_random

FINE = (200, {"success": True, "data": {"n": 1}}, {})
BUSY = (503, {"success": False, "error": {"code": "unavailable"}}, {})
LIMITED = (429, {"success": False, "error": {"code": "rate_limited"}}, {"Retry-After": "0"})
COMING_SOON = (503, {"success": False, "error": {"code": "service_disabled"}}, {})
NOT_FOUND = (404, {"success": False, "error": {"code": "not_found"}}, {})
NAKED = (200, {"n": 1}, {})


@dataclass
class ScriptedServer:
    """A server that responds from a list, and records the requests."""

    url: str = ""
    responses: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)

    async def respond(self, request: web.Request) -> web.Response:
        """The next response."""
        await request.read()
        self.requests.append(request)
        status, body, headers = self.responses.pop(0)
        return web.json_response(body, status=status, headers=headers)


@pytest_asyncio.fixture
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest_asyncio.fixture
async def api(
    scripted_server: ScriptedServer,
) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        counters, rng = Counters(), seeded_random(1)
        url = scripted_server.url
        yield Api(session, url, lambda: "a.token", counters, rng, backoff_base_s=0.001)


async def test_the_envelope_is_opened(api: Api, scripted_server: ScriptedServer) -> None:
    """A response's data is returned; the request has the token and the query."""
    scripted_server.responses = [FINE]
    assert await api.get("/orders", status="PENDING", limit=5) == {"n": 1}
    assert str(scripted_server.requests[0].rel_url) == "/api/v1/orders?status=PENDING&limit=5"
    assert scripted_server.requests[0].headers["Authorization"] == "Bearer a.token"


async def test_repeats_carry_one_key(api: Api, scripted_server: ScriptedServer) -> None:
    """Repeats after 503 and 429 carry the same idempotency key, a new request another one."""
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
    """A refusal that a repeat would not change is raised at once, with its code."""
    scripted_server.responses = [answer]
    with pytest.raises(ApiRefused) as refused:
        await api.put("/rider/profile", {})
    assert refused.value.code == code
    assert refused.value.route == "PUT /rider/profile"
    assert len(scripted_server.requests) == 1


async def test_repeats_are_bounded(api: Api, scripted_server: ScriptedServer) -> None:
    """A server that stays busy is asked TRIES_MAX times, then the refusal is raised."""
    scripted_server.responses = [BUSY] * TRIES_MAX
    with pytest.raises(ApiRefused, match="unavailable"):
        await api.get("/orders")
    assert len(scripted_server.requests) == TRIES_MAX


async def test_an_unreachable_server_has_status_0(api: Api) -> None:
    """Where no server listens the refusal has status 0."""
    api.url = "http://127.0.0.1:9"
    with pytest.raises(ApiRefused) as refused:
        await api.get("/orders")
    assert refused.value.status == 0
