"""Response headers: methods of a path, rate limits and CORS; and the count of every response."""

import math

from aiohttp import web

from dispatch import metrics
from handlers.http.framework.envelope import BUCKET, HTTP_EDGE

# Source: `docs/promises.md`, subscribers are back two seconds after a store is.
RETRY_AFTER_S = 2
# Browsers cache a preflight response this long. Source: chosen; ten minutes is the most that all of
# them accept.
PREFLIGHT_MAX_AGE_S = 600
_ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key"
_EXPOSED_HEADERS = "Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining"


def options_response(request: web.Request) -> web.Response | None:
    """The response to an OPTIONS request, a CORS preflight or not; None for other requests.

    Source: Fetch standard; RFC 9110 section 9.3.7.
    """
    if request.method != "OPTIONS":
        return None
    if "Access-Control-Request-Method" not in request.headers:
        return _allowed_methods_response(request)
    response = web.Response(status=204)
    if _is_origin_allowed(request):
        response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST, PUT, DELETE"
        response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_MAX_AGE_S)
    return response


def _allowed_methods_response(request: web.Request) -> web.Response | None:
    """204 with the methods of a path; None where it is not known, which is then refused."""
    error = request.match_info.http_exception
    if not isinstance(error, web.HTTPMethodNotAllowed):
        return None
    allowed = {*error.allowed_methods, "OPTIONS"}
    return web.Response(status=204, headers={"Allow": ", ".join(sorted(allowed))})


def finish_response(request: web.Request, response: web.StreamResponse, since_s: float) -> None:
    """Add rate limit and CORS headers, and count the response.

    Units: `since_s` seconds of the monotonic clock, when the request arrived.
    """
    edge = request.app[HTTP_EDGE]
    if not response.prepared:
        _add_rate_limit_headers(request, response)
        if "Origin" in request.headers:
            _add_cors_headers(request, response)
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "none"
    # Clients may invent methods; as label values they would make series without bound.
    method = request.method if resource is not None else "any"
    metrics.HTTP_REQUESTS.labels(route, method, str(response.status)).inc()
    metrics.HTTP_SECONDS.labels(route, method).observe(edge.clock.monotonic_s() - since_s)


def _add_rate_limit_headers(request: web.Request, response: web.StreamResponse) -> None:
    bucket = request.get(BUCKET)
    if bucket is not None:
        response.headers["X-RateLimit-Limit"] = str(int(bucket.burst))
        response.headers["X-RateLimit-Remaining"] = str(bucket.remaining)
    if response.status == 429 and "Retry-After" not in response.headers:
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
