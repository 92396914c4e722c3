"""HTTP envelope: authenticates, authorizes, limits and answers the requests of every endpoint."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec
from aiohttp import web

from dispatch.accounts.standing import not_approved
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.wire.decoding import decode_json, unknown_fields
from dispatch.wire.phones import PhoneNumbers
from handlers.sessions.auth import Principal, TokenRefused, Tokens, UserType
from handlers.sessions.barred_identities import StandingLookup, not_barred
from handlers.sessions.client_address import TrustedProxies, network_of
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.pacing import Pacing
from handlers.sessions.rate_limits import Rate, RateLimits, TokenBucket
from handlers.transport.http_connection import Faults
from handlers.validation_messages import explain, limit_details, unknown_field_warnings

# Source: RFC 9110 section 15; 422 for a request that is understood and cannot be carried out.
STATUS_OF: Mapping[Refusal, int] = {
    Refusal.MALFORMED: 400,
    Refusal.RATE_LIMITED: 429,
    Refusal.WRONG_CREDENTIALS: 401,
    **dict.fromkeys((
        Refusal.FORBIDDEN, Refusal.REGISTRATION_CLOSED, Refusal.NOT_APPROVED,
        Refusal.PHONE_UNVERIFIED,
    ), 403),
    Refusal.NOT_FOUND: 404,
    **dict.fromkeys((
        Refusal.WRONG_STATE, Refusal.OFFER_TAKEN, Refusal.OFFER_EXPIRED, Refusal.CONFLICT,
    ), 409),
    Refusal.SERVICE_DISABLED: 503,
    Refusal.UNAVAILABLE: 503,
    **dict.fromkeys((
        Refusal.VENDOR_CLOSED, Refusal.OUT_OF_AREA, Refusal.UNKNOWN_ITEM,
        Refusal.ITEM_UNAVAILABLE, Refusal.TOO_HEAVY, Refusal.BELOW_MINIMUM,
        Refusal.PROMO_REFUSED, Refusal.UNPAID_LIMIT, Refusal.DEBT_OPEN, Refusal.CASH_LIMIT,
        Refusal.COUNTRY_NOT_SERVED,
    ), 422),
    Refusal.INSUFFICIENT_FUNDS: 402,
    Refusal.INTERNAL: 500,
}  # fmt: skip
_CODE_OF = {400: "malformed", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
# Source: RFC 9110 section 15.3.3; another person must agree first.
ACCEPTED = 202
# Source: `docs/promises.md`, a slow sender is disconnected within ten seconds.
BODY_S_MAX = 10

Roles = tuple[UserType, ...]
PUBLIC: Roles = ()
EVERYONE: Roles = ("USER", "VENDOR", "RIDER", "ADMIN")
# The result is JSON data, a struct, `Created`, or a whole response.
Handler = Callable[[web.Request], Awaitable[object]]
# JSON data of a service that has no type of its own.
JsonObject = Mapping[str, object]
BodyT = TypeVar("BodyT")
DataT = TypeVar("DataT")

_encoder = msgspec.json.Encoder()


class Route(NamedTuple):
    """One endpoint.

    Without roles no token is needed. `body` is the type of the request body, for the API
    documentation only: a struct, a union of structs, or None.
    """

    method: str
    path: str
    roles: Roles
    handler: Handler
    body: Any = None
    is_limited: bool = True


class Created(NamedTuple, Generic[DataT]):
    """The result of a handler that created something, or whose effect waits (status `ACCEPTED`)."""

    data: DataT
    status: int = 201


class HttpEdge(NamedTuple):
    """What the envelope uses; the context of all endpoints."""

    clock: Clock
    tokens: Tokens
    limits: RateLimits
    origins: AllowedOrigins
    proxies: TrustedProxies
    phones: PhoneNumbers
    body_timeout_s: float = BODY_S_MAX
    # Under --dev answers name the fields of a body that were ignored.
    warns: bool = False
    # Who is suspended or closed may do nothing, whatever token its issuer gives it.
    standing_of: StandingLookup = not_barred

    @property
    def pacing(self) -> Pacing:
        """How long answers to anonymous requests wait."""
        return Pacing(self.limits, self.proxies, self.clock)

    @property
    def faults(self) -> Faults:
        """How the HTTP server answers what is not a request."""
        return Faults(failure_response, self.pacing.delay_s)


HTTP_EDGE = web.AppKey("http_edge", HttpEdge)
BUCKET = web.RequestKey("bucket", TokenBucket)
PRINCIPAL = web.RequestKey("principal", Principal)
WARNINGS = web.RequestKey("warnings", list[str])
ROUTES = web.AppKey("routes", list[Route])


def register_routes(app: web.Application, routes: Iterable[Route]) -> None:
    """Serve `routes`, and list them under `app[ROUTES]` for the API documentation."""
    if ROUTES not in app:
        app[ROUTES] = []
    for route in routes:
        app[ROUTES].append(route)
        methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        resource = app.router.add_resource(route.path)
        for method in methods:
            resource.add_route(method, _endpoint(route))


def _endpoint(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        edge = request.app[HTTP_EDGE]
        principal, refused = _authenticate(request, edge) if route.roles else (None, None)
        if route.is_limited:
            # Before a bad token is refused, so that guessing tokens is limited as well.
            await _enforce_http_limit(request, edge, principal)
        if refused is not None:
            raise refused
        if principal is not None:
            if principal.user_type not in route.roles:
                raise Refused(Refusal.FORBIDDEN, f"not available to {principal.user_type}")
            barred = edge.standing_of(principal.identity)
            if barred is not None:
                raise not_approved(*barred)
            request[PRINCIPAL] = principal
        result = await route.handler(request)
        return success_response(result, request.get(WARNINGS, ()))

    return endpoint


def _authenticate(
    request: web.Request, edge: HttpEdge
) -> tuple[Principal | None, TokenRefused | None]:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    token = credentials.strip() if scheme.lower() == "bearer" else None
    try:
        return edge.tokens.verify(token, edge.clock.now_ms()), None
    except TokenRefused as refused:
        return None, refused


async def _enforce_http_limit(
    request: web.Request, edge: HttpEdge, principal: Principal | None
) -> None:
    subject = principal.identity if principal else address_subject(request)
    per_min = edge.limits.http_per_min
    await enforce_rate_limit(
        request, edge.limits.http_rate, subject, f"at most {per_min} requests a minute"
    )


def address_subject(request: web.Request) -> str:
    """The rate limit subject of a client's network."""
    return f"address:{client_network(request)}"


def client_network(request: web.Request) -> str:
    """The network of a client, by which limits count: an IPv4 address, or a /64 of IPv6."""
    return network_of(request.app[HTTP_EDGE].proxies.client_address(request))


async def enforce_rate_limit(request: web.Request, rate: Rate, subject: str, message: str) -> None:
    """Take a token of `subject`; the X-RateLimit headers of the answer then describe this rate.

    Errors: Refused RATE_LIMITED; StoreUnavailable for a rate without local fallback while Redis
    is away.
    """
    edge = request.app[HTTP_EDGE]
    request[BUCKET] = edge.limits.bucket(rate, subject)
    if not await edge.limits.take(rate, subject, edge.clock.monotonic_s()):
        raise Refused(Refusal.RATE_LIMITED, message)


async def read_body(request: web.Request, body_type: type[BodyT]) -> BodyT:
    """Decode the JSON body; an empty one counts as `{}`.

    Errors: Refused MALFORMED, whose message names the field at fault.
    """
    raw = await read_raw_body(request) or b"{}"
    try:
        body = decode_json(raw, body_type, request.app[HTTP_EDGE].phones.decode)
    except msgspec.DecodeError as error:
        details = limit_details(error, _parsed(raw))
        raise Refused(Refusal.MALFORMED, explain(error), details) from None
    except RecursionError:
        raise Refused(Refusal.MALFORMED, "the payload is nested too deeply") from None
    _check_unknown_fields(request, raw, body)
    return body


def _parsed(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None


def _check_unknown_fields(request: web.Request, raw: bytes, body: object) -> None:
    """Refuse unknown fields of operators; under --dev, warn of those of clients.

    A field that an operator mistyped would leave a rate or a charge as it is, unnoticed.
    """
    principal = request.get(PRINCIPAL)
    is_operator = principal is not None and principal.user_type == "ADMIN"
    if not isinstance(body, msgspec.Struct) or not (is_operator or request.app[HTTP_EDGE].warns):
        return
    payload = msgspec.json.decode(raw)
    if is_operator and (unknown := unknown_fields(payload, body)):
        raise Refused(Refusal.MALFORMED, f"`{unknown[0]}` is not known here")
    request[WARNINGS] = unknown_field_warnings(payload, body)


async def read_raw_body(request: web.Request) -> bytes:
    """Read the body's bytes within `body_timeout_s`. Errors: Refused MALFORMED."""
    try:
        async with asyncio.timeout(request.app[HTTP_EDGE].body_timeout_s):
            return await request.read()
    except (TimeoutError, ConnectionError):
        raise Refused(Refusal.MALFORMED, "the body did not arrive") from None
    except web.RequestPayloadError:
        raise Refused(Refusal.MALFORMED, "the body is not valid HTTP") from None


# Responses.


def success_response(result: object, warnings: Sequence[str] = ()) -> web.StreamResponse:
    """The response for a handler's result; a response of its own is passed through."""
    if isinstance(result, web.StreamResponse):
        return result
    status, data = 200, result
    if isinstance(result, Created):
        data, status = cast("Created[object]", result)
    answer: dict[str, object] = {"success": True, "data": data}
    if warnings:
        answer["warnings"] = warnings
    return _json(status, answer)


def failure_response(
    status: int, code: str, message: str, details: Mapping[str, object] | None = None
) -> web.Response:
    """A failure in the envelope: `{success: false, error: {code, message, details?}}`."""
    error: dict[str, object] = {"code": code, "message": message}
    if details:
        error["details"] = details
    return _json(status, {"success": False, "error": error})


def refusal_response(refused: Refused) -> web.Response:
    """The response for a refusal of the domain or of the envelope."""
    code, details = refused.code, refused.details
    response = failure_response(STATUS_OF[code], code.value, refused.message, details)
    wait_ms = (details or {}).get("retryAfterMs")
    if isinstance(wait_ms, int):
        response.headers["Retry-After"] = str(max(1, math.ceil(wait_ms / 1000)))
    return response


def token_refusal_response(refused: TokenRefused) -> web.Response:
    """The response for a missing or bad token: 401 with the scheme that is expected."""
    response = failure_response(401, refused.code, str(refused))
    # Source: RFC 6750 section 3.
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def framework_refusal_response(
    error: web.HTTPException, body_bytes_max: int | None = None
) -> web.Response:
    """The response for what aiohttp refuses: unknown paths, wrong methods, long bodies.

    A body that is too long is told the limit.
    """
    code = _CODE_OF.get(error.status, "malformed")
    details = {"limit": body_bytes_max} if error.status == 413 else None
    response = failure_response(error.status, code, error.reason.lower(), details)
    if "Allow" in error.headers:
        # OPTIONS is answered for every path.
        allowed = {*error.headers["Allow"].split(","), "OPTIONS"}
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _json(status: int, body: object) -> web.Response:
    return web.Response(
        status=status,
        body=_encoder.encode(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )
