"""The HTTP envelope: authentication, limits, bodies, errors, CORS and metrics of every endpoint."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.settings import Settings
from dispatch.wire.http.wallets import TopUp
from dispatch.wire.phones import PhoneNumbers
from handlers.http.framework.envelope import (
    EVERYONE,
    HTTP_EDGE,
    PRINCIPAL,
    PUBLIC,
    ROUTES,
    STATUS_OF,
    Created,
    HttpEdge,
    Route,
    read_body,
    register_routes,
)
from handlers.http.framework.middleware import http_gate
from handlers.sessions.auth import Tokens, UserType
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import RateLimits
from ledger.dynamodb.table import TableUnavailable
from tests.handlers.socket_edge import SECRET, RunningEdge, run_edge
from tests.waiting import Until

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
    Route("POST", "/api/v1/shared", ("USER", "ADMIN"), post_order, TopUp),
    Route("GET", "/api/v1/orders/{orderId}", PUBLIC, get_struct),
    Route("GET", "/api/v1/error/{name}", PUBLIC, get_error, is_limited=False),
    Route("GET", "/own", PUBLIC, get_plain_response),
    Route("GET", "/hang", PUBLIC, get_hang),
]


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge(routes=TEST_ROUTES) as edge:
        yield edge


async def request(
    edge: RunningEdge, path: str, method: str = "GET", **options: Any
) -> tuple[int, Any, Any]:
    """Status, JSON body and headers."""
    async with edge.http.request(method, edge.url + path, **options) as answer:
        text = await answer.text()
        return answer.status, json.loads(text or "null"), answer.headers


class ServedEnvelope(NamedTuple):
    """The routes of this test behind the envelope alone, without sockets."""

    host: str
    port: int
    tokens: Tokens
    clock: ManualClock


@asynccontextmanager
async def run_envelope(body_timeout_s: float) -> AsyncIterator[ServedEnvelope]:
    """Serve TEST_ROUTES with other timeouts than the server's."""
    settings, clock = Settings(jwt_secret=SECRET), ManualClock()
    tokens = Tokens(settings)
    app = web.Application(middlewares=[http_gate])
    app[HTTP_EDGE] = HttpEdge(
        clock,
        tokens,
        RateLimits(settings),
        AllowedOrigins(settings),
        TrustedProxies(settings),
        PhoneNumbers(settings.phone_region),
        body_timeout_s=body_timeout_s,
    )
    register_routes(app, TEST_ROUTES)
    async with TestServer(app) as server:
        assert server.port is not None
        yield ServedEnvelope(server.host, server.port, tokens, clock)


def auth_headers(
    edge: RunningEdge, kind: UserType = "USER", owner: str = "usr_1"
) -> dict[str, str]:
    return {"Authorization": f"Bearer {edge.issue_token(kind, owner)}"}


# Success.


async def test_data_is_answered_in_the_envelope(edge: RunningEdge):
    """Structs and plain data alike as `{success, data}`, and never cached."""
    status, body, headers = await request(edge, "/api/v1/me", headers=auth_headers(edge))
    assert (status, body) == (200, {"success": True, "data": {"you": "user:usr_1"}})
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/json"
    _, body, _ = await request(edge, "/api/v1/orders/ord_1")
    assert body == {"success": True, "data": {"orderId": "ord_1"}}


async def test_created_is_answered_with_201(edge: RunningEdge):
    """With its data in the envelope."""
    posted = {"amount": 500, "provider": "sandbox"}
    status, body, _ = await request(
        edge, "/api/v1/orders", "POST", json=posted, headers=auth_headers(edge)
    )
    assert (status, body) == (201, {"success": True, "data": posted})


async def test_a_response_of_its_own_is_passed_through(edge: RunningEdge):
    """Files, pages and metrics are not wrapped."""
    async with edge.http.get(f"{edge.url}/own") as answer:
        assert (answer.status, await answer.text(), answer.headers["X-Own"]) == (
            200, "as it is", "1",
        )  # fmt: skip


async def test_the_application_lists_its_routes(edge: RunningEdge):
    """The API documents are made of the routes that are served."""
    app = web.Application()
    register_routes(app, TEST_ROUTES[:1])
    register_routes(app, TEST_ROUTES[1:])
    assert app[ROUTES] == TEST_ROUTES


# Authentication and roles.


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
async def test_a_missing_or_bad_token_is_401(edge: RunningEdge, headers: dict[str, str], code: str):
    """With a code of the contract, and the scheme that is expected."""
    status, body, answered = await request(edge, "/api/v1/me", headers=headers)
    assert (status, body["success"], body["error"]["code"]) == (401, False, code)
    assert answered["WWW-Authenticate"] == "Bearer"


async def test_an_expired_token_is_token_expired(edge: RunningEdge):
    """The app then fetches a new one."""
    headers = auth_headers(edge)
    edge.clock.advance(3_600_000)
    status, body, _ = await request(edge, "/api/v1/me", headers=headers)
    assert (status, body["error"]["code"]) == (401, "token_expired")


@pytest.mark.parametrize("kind", ["VENDOR", "RIDER", "ADMIN"])
async def test_another_role_is_forbidden(edge: RunningEdge, kind: UserType):
    """403 before the body is decoded."""
    status, body, _ = await request(
        edge, "/api/v1/orders", "POST", data="x", headers=auth_headers(edge, kind)
    )
    assert (status, body["error"]["code"]) == (403, "forbidden")


async def test_the_scheme_is_case_insensitive(edge: RunningEdge):
    """Source: RFC 9110 section 11.1."""
    headers = {"Authorization": auth_headers(edge)["Authorization"].replace("Bearer", "bearer")}
    assert (await request(edge, "/api/v1/me", headers=headers))[0] == 200


# Bodies.


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
    ],
)
async def test_a_bad_body_is_explained(edge: RunningEdge, data: bytes, message: str):
    """400 with one sentence that names the field."""
    status, body, _ = await request(
        edge, "/api/v1/orders", "POST", data=data, headers=auth_headers(edge)
    )
    assert (status, body["error"]) == (400, {"code": "malformed", "message": message})


WITH_MORE = b'{"amount":5.0,"provider":"a","price":1,"of":{"tomorrow":[1]}}'


async def test_unknown_fields_of_clients_are_ignored(edge: RunningEdge):
    """An app that is newer than the server is served; production says nothing of it."""
    headers = auth_headers(edge)
    status, body, _ = await request(edge, "/api/v1/orders", "POST", data=WITH_MORE, headers=headers)
    assert (status, body) == (201, {"success": True, "data": {"amount": 5, "provider": "a"}})


async def test_unknown_fields_of_operators_are_refused(edge: RunningEdge):
    """On every route, also on those that customers share."""
    headers = {"Authorization": f"Bearer {edge.issue_token('ADMIN', 'adm_1')}"}
    status, body, _ = await request(edge, "/api/v1/shared", "POST", data=WITH_MORE, headers=headers)
    assert (status, body["error"]["message"]) == (400, "`price` is not known here")


async def test_under_dev_ignored_fields_are_named():
    """The answer warns the developer of the client."""
    async with run_edge(routes=TEST_ROUTES, dev=True) as edge:
        headers = auth_headers(edge)
        _, body, _ = await request(edge, "/api/v1/orders", "POST", data=WITH_MORE, headers=headers)
    assert body["warnings"] == ["unknown field `price` is ignored", "unknown field `of` is ignored"]


async def test_deep_nesting_is_malformed(edge: RunningEdge):
    """Refused by the decoder, without exhausting the stack."""
    for data in ("[" * 50_000, '{"x":' * 10_000):
        status, body, _ = await request(
            edge, "/api/v1/orders", "POST", data=data, headers=auth_headers(edge)
        )
        assert (status, body["error"]["code"]) == (400, "malformed")


@pytest.mark.parametrize("extra", [{}, {"chunked": True}])
async def test_a_long_body_is_413(edge: RunningEdge, extra: dict[str, Any]):
    """Over 64 kilobytes, with and without a Content-Length."""
    data = json.dumps({"amount": 5, "provider": "a" * 70_000})
    status, body, _ = await request(
        edge, "/api/v1/orders", "POST", data=data, headers=auth_headers(edge), **extra
    )
    assert (status, body["error"]["code"]) == (413, "too_large")
    assert body["error"]["details"] == {"limit": 64 * 1024}


async def test_a_text_over_its_limit_is_told_the_limit(edge: RunningEdge):
    """The answer names the field, its limit and what it had."""
    body = {"amount": 5, "provider": "a" * 33}
    _, answer, _ = await request(
        edge, "/api/v1/orders", "POST", json=body, headers=auth_headers(edge)
    )
    assert answer["error"]["details"] == {"field": "provider", "limit": 32, "got": 33}


async def test_waiting_for_a_body_is_bounded():
    """A slow sender gets 400 after `body_timeout_s`."""
    async with run_envelope(body_timeout_s=0.05) as served:
        token = served.tokens.issue("USER", "usr_1", 60, served.clock.now_ms())
        reader, writer = await asyncio.open_connection(served.host, served.port)
        head = "POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        head += f"Authorization: Bearer {token}\r\n\r\n"
        writer.write(head.encode() + b'{"amount":')
        answer = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the body did not arrive" in answer


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\n{ }\r\n", b"the body is not valid HTTP"),
        (b"Content-Length: 100\r\n\r\n{", b"the body did not arrive"),
    ],
    ids=["bad chunk", "client gone"],
)
async def test_a_broken_body_is_malformed(edge: RunningEdge, sent: bytes, message: bytes):
    """A body that ends in the middle or breaks HTTP is refused, and nothing is logged."""
    token = auth_headers(edge)["Authorization"].encode()
    head = b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + b"\r\n"
    with capture_logs() as logs:
        reader, writer = await edge.open_tcp(head + sent)
        await Until().true(lambda: any(each.is_busy for each in edge.http_server.connections))
        writer.write(b"zz\r\n")
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer == b"" or (answer.startswith(b"HTTP/1.1 400 ") and message in answer)
    assert logs == []


# Errors.


@pytest.mark.parametrize("code", list(Refusal))
async def test_every_refusal_has_a_status(edge: RunningEdge, code: Refusal):
    """Every code of the contract has a status."""
    status, body, _ = await request(edge, f"/api/v1/error/{code.value}")
    assert status == STATUS_OF[code]
    assert body == {"success": False, "error": {"code": code.value, "message": "no"}}


async def test_not_found_is_never_answered_quickly(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
):
    """An object of another owner and a missing one take equally long."""
    monkeypatch.setattr("handlers.http.framework.middleware.NOT_FOUND_S_MIN", 0.05)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    status, _, _ = await request(edge, "/api/v1/error/not_found")
    assert (status, loop.time() - began_s >= 0.05) == (404, True)


async def test_details_of_a_refusal_are_answered(edge: RunningEdge):
    """A refusal's details are in the error."""
    _, body, _ = await request(edge, "/api/v1/error/detailed")
    assert body["error"] == {"code": "conflict", "message": "no", "details": {"version": 3}}


@pytest.mark.parametrize("store", ["redis", "dynamo"])
async def test_an_unavailable_store_is_503_with_retry_after(edge: RunningEdge, store: str):
    """Nothing of the cause is answered."""
    status, body, headers = await request(edge, f"/api/v1/error/{store}")
    assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "unavailable", "2")
    assert "timeout" not in json.dumps(body)


async def test_the_time_of_a_request_is_bounded(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch):
    """An endpoint that hangs is answered 503, so that the client may try again."""
    monkeypatch.setattr("handlers.http.framework.middleware.REQUEST_S_MAX", 0.05)
    status, body, _ = await request(edge, "/hang")
    assert (status, body["error"]["code"]) == (503, "unavailable")


async def test_a_bug_is_500_and_its_traceback_is_logged_only(edge: RunningEdge):
    """The response says nothing of the error."""
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
        ("OPTIONS", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/error/teapot", 400, "malformed"),
    ],
)
async def test_errors_of_aiohttp_are_answered_in_the_envelope(
    edge: RunningEdge, method: str, path: str, status: int, code: str
):
    """Unknown paths and wrong methods get no HTML and no plain text."""
    answered, body, _ = await request(edge, path, method)
    assert (answered, body["success"], body["error"]["code"]) == (status, False, code)


@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/orders/ord_1", "/own"])
async def test_head_is_answered_like_get_without_a_body(edge: RunningEdge, path: str):
    """Status and headers are the same. Source: RFC 9110 section 9.3.2."""
    headers = auth_headers(edge)
    async with edge.http.get(edge.url + path, headers=headers) as got:
        expected = {name: got.headers[name] for name in ("Content-Type", "Content-Length")}
    async with edge.http.head(edge.url + path, headers=headers) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert {name: answer.headers[name] for name in expected} == expected


async def test_a_redirect_is_passed_through(edge: RunningEdge):
    """It is no failure."""
    url = f"{edge.url}/api/v1/error/redirect"
    async with edge.http.get(url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")


# Rate limits.


async def test_headers_say_how_many_requests_are_left(edge: RunningEdge):
    """X-RateLimit-Remaining counts down from X-RateLimit-Limit."""
    _, _, first = await request(edge, "/api/v1/me", headers=auth_headers(edge))
    _, _, second = await request(edge, "/api/v1/me", headers=auth_headers(edge))
    assert first["X-RateLimit-Limit"] == "300"
    assert [h["X-RateLimit-Remaining"] for h in (first, second)] == ["299", "298"]


async def test_too_many_requests_are_429_with_retry_after():
    """Each identity has a bucket; bad tokens take from the bucket of their address."""
    async with run_edge(routes=TEST_ROUTES, http_requests_per_min=2) as edge:
        headers, bad = auth_headers(edge), {"Authorization": "Bearer x"}
        tries = [await request(edge, "/api/v1/me", headers=headers) for _ in range(3)]
        assert [status for status, _, _ in tries] == [200, 200, 429]
        _, body, answered = tries[2]
        assert body["error"] == {"code": "rate_limited", "message": "at most 2 requests a minute"}
        assert (answered["Retry-After"], answered["X-RateLimit-Remaining"]) == ("30", "0")
        other = auth_headers(edge, "USER", "usr_2")
        assert (await request(edge, "/api/v1/me", headers=other))[0] == 200
        tries = [await request(edge, "/api/v1/me", headers=bad) for _ in range(3)]
        assert [status for status, _, _ in tries] == [401, 401, 429]
        edge.clock.advance(30_000)
        assert (await request(edge, "/api/v1/me", headers=headers))[0] == 200
        free = [await request(edge, "/api/v1/error/detailed") for _ in range(5)]
        assert [status for status, _, _ in free] == [409] * 5


# Secrets.


async def test_failures_hold_no_secrets(edge: RunningEdge):
    """Neither the token nor the signing key is in any answer."""
    headers = auth_headers(edge)
    for path in ("/api/v1/error/bug", "/nowhere", "/api/v1/me"):
        async with edge.http.get(edge.url + path, headers=headers) as answer:
            text = await answer.text()
        assert SECRET not in text
        assert headers["Authorization"][7:] not in text
