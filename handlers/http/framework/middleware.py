"""HTTP middleware: turns every error of a request into an enveloped response."""

import asyncio

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from dispatch.errors import Refusal, Refused
from handlers.http.framework import envelope
from handlers.refusals import NOT_FOUND_S_MIN, pad_not_found, refusal_of
from handlers.sessions.auth import TokenRefused
from handlers.transport.socketio_server import SOCKET_PATH

# Source: a body has ten seconds to arrive, and every store a deadline of its own.
REQUEST_S_MAX = 15.0

log = structlog.get_logger(__name__)


@web.middleware
async def http_gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Bound the time of a request, and answer it with nothing but the envelope.

    The sockets' handshakes and polls pass through as they are.
    """
    if request.path.startswith(SOCKET_PATH):
        return await handler(request)
    clock = request.app[envelope.HTTP_EDGE].clock
    received_at_s = clock.monotonic_s()
    try:
        async with asyncio.timeout(REQUEST_S_MAX):
            response = envelope.preflight_response(request) or await handler(request)
    except TokenRefused as refused:
        response = envelope.token_refusal_response(refused)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = envelope.framework_refusal_response(error)
    except TimeoutError:
        log.warning("request_timed_out", path=request.path[:200])
        response = envelope.refusal_response(Refused(Refusal.UNAVAILABLE, "this took too long"))
    except Exception as error:
        await pad_not_found(error, clock.monotonic_s() - received_at_s, NOT_FOUND_S_MIN)
        refused = refusal_of(error)
        if refused.code is Refusal.INTERNAL:
            log.exception("request_failed", path=request.path[:200])
        response = envelope.refusal_response(refused)
    envelope.finish_response(request, response, received_at_s)
    return response
