"""HTTP middleware: turns every error of a request into an enveloped response."""

import asyncio

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from dispatch.errors import Refusal, Refused
from handlers.http.framework import envelope
from handlers.http.framework.response_headers import finish_response, options_response
from handlers.refusals import NOT_FOUND_S_MIN, pad_not_found, refusal_of
from handlers.sessions.auth import TokenRefused
from handlers.transport.socketio_server import SOCKET_PATH
from handlers.transport.unread_body import is_long, send_before_body, stop_reading

# Source: a body has ten seconds to arrive, and every store a deadline of its own.
REQUEST_S_MAX = 15.0

log = structlog.get_logger(__name__)


@web.middleware
async def http_gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Bound the time of a request, and answer it with nothing but the envelope.

    The sockets' handshakes and polls pass through as they are.
    """
    if request.path.startswith(SOCKET_PATH):
        response = await _pass_through(request, handler)
    else:
        response = await _answer(request, handler)
    if is_long(request):
        stop_reading(request)
        response.force_close()
    await _pace(request, response)
    # The library would name itself and its version.
    response.headers["Server"] = "reeyo"
    response = await _send_head(request, response)
    await send_before_body(request, response)
    return response


async def _pace(request: web.Request, response: web.StreamResponse) -> None:
    """Wait before an anonymous answer, if the client's address got too many of them.

    Handshakes and polls of sockets are anonymous only when they are refused; others have a rate of
    their own.
    """
    is_socket = request.path.startswith(SOCKET_PATH)
    if envelope.PRINCIPAL in request or (is_socket and response.status < 400):
        return
    pacing = request.app[envelope.HTTP_EDGE].pacing
    if delay_s := pacing.delay_s(request.remote or "", request.headers):
        await asyncio.sleep(delay_s)


async def _pass_through(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return envelope.framework_refusal_response(error)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    clock = request.app[envelope.HTTP_EDGE].clock
    received_at_s = clock.monotonic_s()
    try:
        async with asyncio.timeout(REQUEST_S_MAX):
            response = options_response(request) or await handler(request)
    except TokenRefused as refused:
        response = envelope.token_refusal_response(refused)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = envelope.framework_refusal_response(error, request.client_max_size)
    except TimeoutError:
        log.warning("request_timed_out", path=request.path[:200])
        response = envelope.refusal_response(Refused(Refusal.UNAVAILABLE, "this took too long"))
    except Exception as error:
        await pad_not_found(error, clock.monotonic_s() - received_at_s, NOT_FOUND_S_MIN)
        refused = refusal_of(error)
        if refused.code is Refusal.INTERNAL:
            log.exception("request_failed", path=request.path[:200])
        response = envelope.refusal_response(refused)
    finish_response(request, response, received_at_s)
    return response


async def _send_head(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send the status line and headers; where they cannot be encoded, another response is left."""
    try:
        await response.prepare(request)
    except ConnectionError:
        # The client has gone; the library notices it as well.
        return response
    except Exception:
        log.exception("response_failed", path=request.path[:200])
        if request.writer.output_size:
            raise
        return envelope.refusal_response(
            Refused(Refusal.INTERNAL, "something went wrong on our side")
        )
    return response
