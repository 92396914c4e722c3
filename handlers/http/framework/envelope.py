"""The frame around every HTTP endpoint: who may, how often, what came in and how it is answered."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.settings import Settings
from handlers.sessions.auth import Principal, TokenRefused, Tokens, UserType
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import Rate, RateLimits, TokenBucket
from handlers.sockets.validation_messages import explain

# Source: HTTP semantics, RFC 9110 section 15; 422 for what is understood and cannot be done so.
STATUS_OF: Mapping[Refusal, int] = {
    Refusal.MALFORMED: 400,
    Refusal.RATE_LIMITED: 429,
    Refusal.WRONG_CREDENTIALS: 401,
    Refusal.FORBIDDEN: 403,
    Refusal.NOT_FOUND: 404,
    Refusal.WRONG_STATE: 409,
    Refusal.OFFER_TAKEN: 409,
    Refusal.OFFER_EXPIRED: 409,
    Refusal.CONFLICT: 409,
    Refusal.SERVICE_DISABLED: 503,
    Refusal.VENDOR_CLOSED: 422,
    Refusal.UNKNOWN_ITEM: 422,
    Refusal.ITEM_UNAVAILABLE: 422,
    Refusal.TOO_HEAVY: 422,
    Refusal.BELOW_MINIMUM: 422,
    Refusal.PROMO_REFUSED: 422,
    Refusal.CASH_LIMIT: 422,
    Refusal.INSUFFICIENT_FUNDS: 402,
    Refusal.UNAVAILABLE: 503,
    Refusal.INTERNAL: 500,
}
_CODE_OF = {400: "malformed", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
# Source: promises, a store that was away has its listeners back within two seconds.
RETRY_AFTER_S = 2
# Source: promises, slow senders end within ten seconds.
BODY_S_MAX = 10
# Browsers keep a preflight's answer this long. Source: ten minutes is what all of them take.
PREFLIGHT_MAX_AGE_S = 600
_ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key"
_EXPOSED_HEADERS = "Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining"

Roles = tuple[UserType, ...]
PUBLIC: Roles = ()
EVERYONE: Roles = ("USER", "VENDOR", "RIDER", "ADMIN")
Handler = Callable[[web.Request], Awaitable[object]]
BodyT = TypeVar("BodyT")

_encoder = msgspec.json.Encoder()


class Route(NamedTuple):
    """One endpoint: `handler` gives plain data, `Created`, or a whole response of its own.

    Without roles anyone may ask. `body` names the request's struct for the API's description.
    """

    method: str
    path: str
    roles: Roles
    handler: Handler
    body: Any = None
    is_limited: bool = True


class Created(NamedTuple):
    """An answer with status 201."""

    data: object


class HttpEdge(NamedTuple):
    """What the frame itself needs of the composition."""

    settings: Settings
    clock: Clock
    tokens: Tokens
    limits: RateLimits
    origins: AllowedOrigins
    proxies: TrustedProxies


HTTP_EDGE = web.AppKey("edge", HttpEdge)
BUCKET = web.RequestKey("bucket", TokenBucket)
PRINCIPAL = web.RequestKey("principal", Principal)
ROUTES = web.AppKey("routes", list[Route])


def register_routes(app: web.Application, routes: Iterable[Route]) -> None:
    """Serve `routes`; the application keeps them for its description of itself."""
    if ROUTES not in app:
        app[ROUTES] = []
    for route in routes:
        app[ROUTES].append(route)
        app.router.add_route(route.method, route.path, _endpoint(route))


def _endpoint(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        edge = request.app[HTTP_EDGE]
        principal, refused = _authenticate(request, edge) if route.roles else (None, None)
        if route.is_limited:
            await _enforce_http_limit(request, edge, principal)
        if refused is not None:
            raise refused
        if principal is not None:
            if principal.user_type not in route.roles:
                raise Refused(Refusal.FORBIDDEN, f"this is not for a {principal.user_type}")
            request[PRINCIPAL] = principal
        return success_response(await route.handler(request))

    return endpoint


def _authenticate(
    request: web.Request, edge: HttpEdge
) -> tuple[Principal | None, TokenRefused | None]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else None
    try:
        return edge.tokens.verify(given, edge.clock.now_ms()), None
    except TokenRefused as refused:
        return None, refused


async def _enforce_http_limit(
    request: web.Request, edge: HttpEdge, principal: Principal | None
) -> None:
    who = principal.identity if principal else f"from:{edge.proxies.client_address(request)}"
    per_min = edge.limits.http_per_min
    await enforce_rate_limit(
        request, edge.limits.http_rate, who, f"at most {per_min} requests a minute"
    )


async def enforce_rate_limit(request: web.Request, rate: Rate, subject: str, message: str) -> None:
    """Take one from somebody's buckets; the answer's headers then speak of them.

    Errors: Refused RATE_LIMITED; StoreUnavailable where a rate is kept by all nodes or not at all.
    """
    edge = request.app[HTTP_EDGE]
    request[BUCKET] = edge.limits.bucket(rate, subject)
    if not await edge.limits.take(rate, subject, edge.clock.monotonic_s()):
        raise Refused(Refusal.RATE_LIMITED, message)


async def read_body(request: web.Request, body_type: type[BodyT]) -> BodyT:
    """The request's JSON body; an empty one counts as `{}`.

    Errors: Refused MALFORMED says what is wrong.
    """
    try:
        async with asyncio.timeout(BODY_S_MAX):
            raw = await request.read()
        return msgspec.json.decode(raw or b"{}", type=body_type)
    except TimeoutError:
        raise Refused(Refusal.MALFORMED, "the body did not arrive") from None
    except msgspec.DecodeError as error:
        raise Refused(Refusal.MALFORMED, explain(error)) from None
    except RecursionError:
        raise Refused(Refusal.MALFORMED, "the payload is nested too deeply") from None


# Answers.


def success_response(result: object) -> web.StreamResponse:
    """A success."""
    if isinstance(result, web.StreamResponse):
        return result
    if isinstance(result, Created):
        return _json(201, {"success": True, "data": result.data})
    return _json(200, {"success": True, "data": result})


def failure_response(
    status: int, code: str, message: str, details: Mapping[str, object] | None = None
) -> web.Response:
    """A failure."""
    error: dict[str, object] = {"code": code, "message": message}
    if details:
        error["details"] = details
    return _json(status, {"success": False, "error": error})


def refusal_response(refused: Refused) -> web.Response:
    """A refusal of the house."""
    code = refused.code
    return failure_response(STATUS_OF[code], code.value, refused.message, refused.details)


def token_refusal_response(refused: TokenRefused) -> web.Response:
    """A request without a token that would let it in."""
    response = failure_response(401, refused.code, str(refused))
    # Source: RFC 6750 section 3.
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def framework_refusal_response(error: web.HTTPException) -> web.Response:
    """What the framework refuses by itself: unknown paths, wrong methods, long bodies."""
    code = _CODE_OF.get(error.status, "malformed")
    response = failure_response(error.status, code, error.reason.lower())
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _json(status: int, body: object) -> web.Response:
    return web.Response(
        status=status,
        body=_encoder.encode(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


# What every answer gets on its way out.


def preflight_response(request: web.Request) -> web.Response | None:
    """The answer to a browser that asks whether it may ask. Source: Fetch standard, CORS."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    response = web.Response(status=204)
    if _is_origin_allowed(request):
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE"
        response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_MAX_AGE_S)
    return response


def finish_response(request: web.Request, response: web.StreamResponse, since_s: float) -> None:
    """Add limits and origins to an answer's headers, and count it."""
    edge = request.app[HTTP_EDGE]
    if not response.prepared:
        _add_rate_limit_headers(request, response)
        if "Origin" in request.headers:
            _add_cors_headers(request, response)
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    # A method is the client's word; those that no route has are one kind.
    method = request.method if resource is not None else "any"
    metrics.HTTP_REQUESTS.labels(route, method, str(response.status)).inc()
    metrics.HTTP_SECONDS.labels(route, method).observe(edge.clock.monotonic_s() - since_s)


def _add_rate_limit_headers(request: web.Request, response: web.StreamResponse) -> None:
    bucket = request.get(BUCKET)
    if bucket is not None:
        response.headers["X-RateLimit-Limit"] = str(int(bucket.burst))
        response.headers["X-RateLimit-Remaining"] = str(bucket.remaining)
    if response.status == 429:
        wait_s = bucket.wait_s() if bucket is not None else 1
        response.headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
    elif response.status == 503 and "Retry-After" not in response.headers:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)


def _add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Vary"] = "Origin"
    if _is_origin_allowed(request):
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS


def _is_origin_allowed(request: web.Request) -> bool:
    origin = request.headers.get("Origin", "")
    return request.app[HTTP_EDGE].origins.is_allowed(origin, request.host)
