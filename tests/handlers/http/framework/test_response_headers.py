"""Headers that every response may get: methods, CORS, and the count by route."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from multidict import CIMultiDictProxy
from prometheus_client import REGISTRY

from handlers.http.framework.envelope import EVERYONE, PUBLIC, Route
from tests.handlers.socket_edge import RunningEdge, run_edge


async def answer(_request: web.Request) -> object:
    return None


TEST_ROUTES = [
    Route("GET", "/api/v1/me", EVERYONE, answer),
    Route("POST", "/api/v1/orders", ("USER",), answer),
    Route("GET", "/api/v1/orders/{orderId}", PUBLIC, answer),
]


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge(routes=TEST_ROUTES) as edge:
        yield edge


async def request(
    edge: RunningEdge, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, CIMultiDictProxy[str]]:
    """Status, body and headers."""
    async with edge.http.request(method, edge.url + path, headers=headers) as response:
        return response.status, await response.read(), response.headers


async def test_a_wrong_method_is_answered_with_the_allowed_ones(edge: RunningEdge):
    """Source: RFC 9110 section 15.5.6; the same to OPTIONS, section 9.3.7."""
    _, _, headers = await request(edge, "/api/v1/me", "POST")
    assert headers["Allow"] == "GET, HEAD, OPTIONS"
    status, _, headers = await request(edge, "/api/v1/orders", "OPTIONS")
    assert (status, headers["Allow"]) == (204, "OPTIONS, POST")


async def test_allowed_origins_get_cors_headers():
    """Others get a response that their browser withholds."""
    ours, theirs = "https://ops.example", "https://evil.example"
    async with run_edge(routes=TEST_ROUTES, allowed_origins=(ours,)) as edge:
        _, _, allowed = await request(edge, "/api/v1/orders/1", Origin=ours)
        assert allowed["Access-Control-Allow-Origin"] == ours
        assert "X-RateLimit-Remaining" in allowed["Access-Control-Expose-Headers"]
        _, _, refused = await request(edge, "/api/v1/orders/1", Origin=theirs)
        assert "Access-Control-Allow-Origin" not in refused
        assert allowed["Vary"] == refused["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("origin", "dev", "allowed"),
    [
        ("https://ops.example", False, True),
        ("http://localhost:5173", True, True),
        ("http://localhost:5173", False, False),
        ("http://localhost.evil.example", True, False),
        ("https://evil.example", True, False),
        ("null", True, False),
        ("http://[", True, False),
    ],
)
async def test_preflights_are_answered(origin: str, dev: bool, allowed: bool):
    """Methods and headers are named to allowed origins only."""
    options = {"allowed_origins": ("https://ops.example",), "dev": dev}
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with run_edge(routes=TEST_ROUTES, **options) as edge:
        url = f"{edge.url}/api/v1/orders"
        async with edge.http.options(url, headers=headers) as answer:
            assert answer.status == 204
            assert ("Access-Control-Allow-Methods" in answer.headers) is allowed
            assert ("Access-Control-Allow-Origin" in answer.headers) is allowed


async def test_requests_are_counted_by_route_and_not_by_path(edge: RunningEdge):
    """Ids in paths and invented methods would make series without bound."""

    def count(route: str, method: str, status: str) -> float:
        labels = {"route": route, "method": method, "status": status}
        return REGISTRY.get_sample_value("reeyo_http_requests_total", labels) or 0

    kinds = [("/api/v1/orders/{orderId}", "GET", "200"), ("none", "any", "404")]
    before = [count(*kind) for kind in kinds]
    for number, method in enumerate(("GET", "MOVE", "LOCK")):
        await request(edge, f"/api/v1/orders/ord_{number}")
        await request(edge, f"/nowhere/{number}", method)
    assert [count(*kind) - old for kind, old in zip(kinds, before, strict=True)] == [3, 3]
