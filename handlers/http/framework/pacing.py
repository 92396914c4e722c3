"""Pacing: delays the answers to requests without a valid token from an address that sends many.

A refusal costs about as much as an answer, so that refusing alone stops nobody who does not wait
between requests; a connection whose answers are delayed cannot send more. Orchestrators' probes are
answered in any case, in time for their timeouts.
"""

import asyncio

from aiohttp import web

from handlers.http.framework.envelope import HTTP_EDGE, PRINCIPAL
from handlers.sessions.rate_limits import Rate
from handlers.transport.socketio_server import SOCKET_PATH

# Answers to one address before they are delayed, by one node. Source: chosen; loading the console
# takes some ten requests, an office of operators shares an address, and apps send a token.
ANONYMOUS_RATE = Rate("anonymous", 50, 200)
# Units: seconds. Source: chosen; forty connections then get 160 answers a second, a twentieth of a
# core, and an orchestrator's probe with the usual timeout of one second succeeds.
DELAY_S = 0.25


async def pace(request: web.Request, response: web.StreamResponse) -> None:
    """Wait before an anonymous answer, if the client's address got too many of them.

    Handshakes and polls of sockets are anonymous only when they are refused; others have a rate of
    their own.
    """
    is_socket = request.path.startswith(SOCKET_PATH)
    if PRINCIPAL in request or (is_socket and response.status < 400):
        return
    edge = request.app[HTTP_EDGE]
    bucket = edge.limits.bucket(ANONYMOUS_RATE, edge.proxies.client_address(request))
    if not bucket.take(edge.clock.monotonic_s()):
        await asyncio.sleep(DELAY_S)
