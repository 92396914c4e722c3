"""What every HTTP endpoint has around it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from structlog.testing import capture_logs
from yarl import URL

from dispatch import metrics
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.wire.http.wallets import TopUp
from handlers.http.framework.envelope import (
    EVERYONE,
    PRINCIPAL,
    PUBLIC,
    ROUTES,
    STATUS_OF,
    Created,
    Route,
    read_body,
    register_routes,
)
from handlers.sessions.auth import UserType
from ledger.dynamodb.table import TableUnavailable
from tests.handlers.socket_edge import SECRET, RunningEdge, run_edge

ERRORS: dict[str, Exception] = {
    "bug": ZeroDivisionError("an internal detail"),
    "redis": StoreUnavailable("redis", "timeout"),
    "dynamo": TableUnavailable("deadline"),
    "detailed": Refused(Refusal.CONFLICT, "no", {"version": 3}),
    "redirect": web.HTTPFound("/elsewhere"),
    "teapot": web.HTTPBadRequest(text="<b>html</b>"),
}


class OrderAnswer(msgspec.Struct, rename="camel"):
    order_id: str


async def get_me(request: web.Request) -> object:
    return {"you": request[PRINCIPAL].identity}


async def post_order(request: web.Request) -> object:
    return Created(await read_body(request, TopUp))


async def get_struct(_request: web.Request) -> object:
    return OrderAnswer(order_id="ord_1")


async def get_error(request: web.Request) -> object:
    name = request.match_info["name"]
    raise ERRORS.get(name) or Refused(Refusal(name), "no")


async def get_hang(_request: web.Request) -> object:
    await asyncio.Event().wait()
    return None


async def get_plain_response(_request: web.Request) -> object:
    return web.Response(text="as it is", headers={"X-Own": "1"})


TEST_ROUTES = [
    Route("GET", "/api/v1/me", EVERYONE, get_me),
    Route("POST", "/api/v1/orders", ("USER",), post_order, TopUp),
    Route("GET", "/api/v1/orders/{orderId}", PUBLIC, get_struct),
    Route("GET", "/api/v1/error/{name}", PUBLIC, get_error, is_limited=False),
    Route("GET", "/own", PUBLIC, get_plain_response),
    Route("GET", "/hang", PUBLIC, get_hang),
]


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge(routes=TEST_ROUTES) as house:
        yield house


async def request(
    edge: RunningEdge, path: str, method: str = "GET", **options: Any
) -> tuple[int, Any, Any]:
    """Status, JSON body and headers."""
    async with edge.http.request(method, edge.url + path, **options) as answer:
        text = await answer.text()
        return answer.status, json.loads(text or "null"), answer.headers


def auth_headers(
    edge: RunningEdge, kind: UserType = "USER", owner: str = "usr_1"
) -> dict[str, str]:
    return {"Authorization": f"Bearer {edge.issue_token(kind, owner)}"}


# Success.


async def test_an_answer_is_in_the_envelope(edge: RunningEdge):
    """`success` and `data`; structs and plain data alike; nothing is cached."""
    status, body, headers = await request(edge, "/api/v1/me", headers=auth_headers(edge))
    assert (status, body) == (200, {"success": True, "data": {"you": "user:usr_1"}})
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/json"
    _, body, _ = await request(edge, "/api/v1/orders/ord_1")
    assert body == {"success": True, "data": {"orderId": "ord_1"}}


async def test_a_new_thing_is_201(edge: RunningEdge):
    """`Created` says so."""
    posted = {"amount": 500, "provider": "sandbox"}
    status, body, _ = await request(
        edge, "/api/v1/orders", "POST", json=posted, headers=auth_headers(edge)
    )
    assert (status, body) == (201, {"success": True, "data": posted})


async def test_a_whole_response_goes_out_as_it_is(edge: RunningEdge):
    """Files, pages and figures are not wrapped."""
    async with edge.http.get(f"{edge.url}/own") as answer:
        assert (answer.status, await answer.text(), answer.headers["X-Own"]) == (
            200, "as it is", "1",
        )  # fmt: skip


async def test_the_application_keeps_its_table(edge: RunningEdge):
    """The description of the API is made of the same lines that serve it."""
    app = web.Application()
    register_routes(app, TEST_ROUTES[:1])
    register_routes(app, TEST_ROUTES[1:])
    assert app[ROUTES] == TEST_ROUTES


# Who.


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "token_required"),
        ({"Authorization": ""}, "token_required"),
        ({"Authorization": "Bearer"}, "token_required"),
        ({"Authorization": "Bearer "}, "token_required"),
        ({"Authorization": "Basic dTpw"}, "token_required"),
        ({"Authorization": "Bearer hello"}, "token_invalid"),
        ({"Authorization": "Bearer a b"}, "token_invalid"),
    ],
)
async def test_without_a_good_token_nobody_is_anybody(
    edge: RunningEdge, headers: dict[str, str], code: str
):
    """401, a code of the contract, and the scheme that is expected."""
    status, body, answered = await request(edge, "/api/v1/me", headers=headers)
    assert (status, body["success"], body["error"]["code"]) == (401, False, code)
    assert answered["WWW-Authenticate"] == "Bearer"


async def test_an_old_token_is_401_and_told_apart(edge: RunningEdge):
    """The app fetches a new one."""
    headers = auth_headers(edge)
    edge.clock.advance(3_600_000)
    status, body, _ = await request(edge, "/api/v1/me", headers=headers)
    assert (status, body["error"]["code"]) == (401, "token_expired")


@pytest.mark.parametrize("kind", ["VENDOR", "RIDER", "ADMIN"])
async def test_a_role_that_may_not_is_forbidden(edge: RunningEdge, kind: UserType):
    """403 before the body is looked at."""
    status, body, _ = await request(
        edge, "/api/v1/orders", "POST", data="x", headers=auth_headers(edge, kind)
    )
    assert (status, body["error"]["code"]) == (403, "forbidden")


async def test_schemes_are_read_without_regard_to_case(edge: RunningEdge):
    """Source: RFC 9110 section 11.1."""
    headers = {"Authorization": auth_headers(edge)["Authorization"].replace("Bearer", "bearer")}
    assert (await request(edge, "/api/v1/me", headers=headers))[0] == 200


# What came in.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "`amount` is required"),
        (b"{}", "`amount` is required"),
        (b"[]", "the payload must be an object"),
        (b"{", "the payload is not one JSON object"),
        (b"\xff", "the payload is not one JSON object"),
        (b'{"amount":"5"}', "`amount` must be a whole number"),
        (b'{"amount":0}', "`amount` must be at least 1"),
        (b'{"amount":5,"provider":"A!"}', "`provider` has the wrong form"),
        (b'{"amount":5,"provider":"a","price":1}', "`price` is not known here"),
    ],
)
async def test_a_bad_body_is_explained(edge: RunningEdge, data: bytes, message: str):
    """400 with one sentence that names the field."""
    status, body, _ = await request(
        edge, "/api/v1/orders", "POST", data=data, headers=auth_headers(edge)
    )
    assert (status, body["error"]) == (400, {"code": "malformed", "message": message})


async def test_deep_nesting_is_malformed(edge: RunningEdge):
    """It ends at the decoder, not in the stack."""
    for data in ("[" * 50_000, '{"x":' * 10_000):
        status, body, _ = await request(
            edge, "/api/v1/orders", "POST", data=data, headers=auth_headers(edge)
        )
        assert (status, body["error"]["code"]) == (400, "malformed")


@pytest.mark.parametrize("extra", [{}, {"chunked": True}])
async def test_a_long_body_is_413(edge: RunningEdge, extra: dict[str, Any]):
    """Sixty-four kilobytes, however they are announced."""
    data = json.dumps({"amount": 5, "provider": "a" * 70_000})
    status, body, _ = await request(
        edge, "/api/v1/orders", "POST", data=data, headers=auth_headers(edge), **extra
    )
    assert (status, body["error"]["code"]) == (413, "too_large")


async def test_a_body_that_does_not_arrive_is_not_waited_for(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
):
    """A slow sender holds a request for a bounded time."""
    monkeypatch.setattr("handlers.http.framework.envelope.BODY_S_MAX", 0.05)
    url = URL(edge.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = "POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    head += f"Authorization: {auth_headers(edge)['Authorization']}\r\n\r\n"
    writer.write(head.encode() + b'{"amount":')
    answer = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the body did not arrive" in answer


# What went wrong.


@pytest.mark.parametrize("code", list(Refusal))
async def test_every_refusal_has_a_status(edge: RunningEdge, code: Refusal):
    """No code of the contract is forgotten."""
    status, body, _ = await request(edge, f"/api/v1/error/{code.value}")
    assert status == STATUS_OF[code]
    assert body == {"success": False, "error": {"code": code.value, "message": "no"}}


async def test_what_is_not_there_is_never_told_quickly(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
):
    """The same over HTTP: what is not yours and what is not there take as long."""
    monkeypatch.setattr("handlers.sockets.gate.NOT_FOUND_S_MIN", 0.05)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    status, _, _ = await request(edge, "/api/v1/error/not_found")
    assert (status, loop.time() - began_s >= 0.05) == (404, True)


async def test_details_are_told(edge: RunningEdge):
    """Where a refusal has some."""
    _, body, _ = await request(edge, "/api/v1/error/detailed")
    assert body["error"] == {"code": "conflict", "message": "no", "details": {"version": 3}}


@pytest.mark.parametrize("store", ["redis", "dynamo"])
async def test_a_store_that_is_away_is_503_with_a_hint(edge: RunningEdge, store: str):
    """`Retry-After` says when; nothing of the cause is told."""
    status, body, headers = await request(edge, f"/api/v1/error/{store}")
    assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "unavailable", "2")
    assert "timeout" not in json.dumps(body)


async def test_a_request_ends(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch):
    """An endpoint that hangs is given up; the caller may try again."""
    monkeypatch.setattr("handlers.sockets.gate.REQUEST_S_MAX", 0.05)
    status, body, _ = await request(edge, "/hang")
    assert (status, body["error"]["code"]) == (503, "unavailable")


async def test_a_bug_is_500_and_only_the_log_knows_more(edge: RunningEdge):
    """No traceback leaves the house."""
    with capture_logs() as logs:
        status, body, _ = await request(edge, "/api/v1/error/bug")
    assert (status, body["error"]) == (
        500, {"code": "internal", "message": "something went wrong on our side"},
    )  # fmt: skip
    assert [entry["event"] for entry in logs] == ["request_failed"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/me/", 404, "not_found"),
        ("GET", "/api/v1/../me", 404, "not_found"),
        ("PUT", "/api/v1/me", 405, "method_not_allowed"),
        ("PATCH", "/api/v1/me", 405, "method_not_allowed"),
        ("OPTIONS", "/api/v1/me", 405, "method_not_allowed"),
        ("GET", "/api/v1/error/teapot", 400, "malformed"),
    ],
)
async def test_what_the_framework_refuses_is_in_the_envelope(
    edge: RunningEdge, method: str, path: str, status: int, code: str
):
    """No page of HTML or plain text comes between."""
    answered, body, _ = await request(edge, path, method)
    assert (answered, body["success"], body["error"]["code"]) == (status, False, code)


async def test_a_wrong_method_names_the_right_one(edge: RunningEdge):
    """Source: RFC 9110 section 15.5.6."""
    _, _, headers = await request(edge, "/api/v1/me", "POST")
    assert headers["Allow"] == "GET"


async def test_a_redirection_is_one(edge: RunningEdge):
    """It is no failure."""
    url = f"{edge.url}/api/v1/error/redirect"
    async with edge.http.get(url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")


# How often.


async def test_requests_are_counted_down(edge: RunningEdge):
    """The caller sees what is left."""
    _, _, first = await request(edge, "/api/v1/me", headers=auth_headers(edge))
    _, _, second = await request(edge, "/api/v1/me", headers=auth_headers(edge))
    assert first["X-RateLimit-Limit"] == "300"
    assert [h["X-RateLimit-Remaining"] for h in (first, second)] == ["299", "298"]


async def test_too_many_requests_are_429_with_a_hint():
    """An identity has its own bucket; bad tokens take from their address's."""
    async with run_edge(routes=TEST_ROUTES, http_requests_per_min=2) as house:
        headers, bad = auth_headers(house), {"Authorization": "Bearer x"}
        tries = [await request(house, "/api/v1/me", headers=headers) for _ in range(3)]
        assert [status for status, _, _ in tries] == [200, 200, 429]
        _, body, answered = tries[2]
        assert body["error"] == {"code": "rate_limited", "message": "at most 2 requests a minute"}
        assert (answered["Retry-After"], answered["X-RateLimit-Remaining"]) == ("30", "0")
        other = auth_headers(house, "USER", "usr_2")
        assert (await request(house, "/api/v1/me", headers=other))[0] == 200
        tries = [await request(house, "/api/v1/me", headers=bad) for _ in range(3)]
        assert [status for status, _, _ in tries] == [401, 401, 429]
        house.clock.advance(30_000)
        assert (await request(house, "/api/v1/me", headers=headers))[0] == 200
        free = [await request(house, "/api/v1/error/detailed") for _ in range(5)]
        assert [status for status, _, _ in free] == [409] * 5


# From where.


async def test_pages_of_the_allow_list_may_ask():
    """And read what the limits say; others get an answer their browser withholds."""
    ours, theirs = "https://ops.example", "https://evil.example"
    async with run_edge(routes=TEST_ROUTES, allowed_origins=(ours,)) as house:
        _, _, allowed = await request(house, "/api/v1/orders/1", headers={"Origin": ours})
        assert allowed["Access-Control-Allow-Origin"] == ours
        assert "X-RateLimit-Remaining" in allowed["Access-Control-Expose-Headers"]
        _, _, refused = await request(house, "/api/v1/orders/1", headers={"Origin": theirs})
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
async def test_a_browser_asks_first(origin: str, dev: bool, allowed: bool):
    """The preflight's answer names methods and headers, for whom they are meant."""
    options = {"allowed_origins": ("https://ops.example",), "dev": dev}
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with run_edge(routes=TEST_ROUTES, **options) as house:
        url = f"{house.url}/api/v1/orders"
        async with house.http.options(url, headers=headers) as answer:
            assert answer.status == 204
            assert ("Access-Control-Allow-Methods" in answer.headers) is allowed
            assert ("Access-Control-Allow-Origin" in answer.headers) is allowed


# How it is counted.


async def test_requests_are_counted_by_route_and_never_by_path(edge: RunningEdge):
    """A label names a kind; ids and invented methods would make series without end."""

    def count(route: str, method: str, status: str) -> float:
        return metrics.HTTP_REQUESTS.labels(route, method, status)._value.get()

    kinds = [("/api/v1/orders/{orderId}", "GET", "200"), ("none", "any", "404")]
    before = [count(*kind) for kind in kinds]
    for number, method in enumerate(("GET", "TRACE", "LOCK")):
        await request(edge, f"/api/v1/orders/ord_{number}")
        await request(edge, f"/nowhere/{number}", method)
    assert [count(*kind) - old for kind, old in zip(kinds, before, strict=True)] == [3, 3]


async def test_secrets_do_not_leave_through_failures(edge: RunningEdge):
    """Neither a token nor the key is in any answer."""
    headers = auth_headers(edge)
    for path in ("/api/v1/error/bug", "/nowhere", "/api/v1/me"):
        async with edge.http.get(edge.url + path, headers=headers) as answer:
            text = await answer.text()
        assert SECRET not in text
        assert headers["Authorization"][7:] not in text
