"""Engine.IO server: engineio's HTTP handshake and polling, with our own sessions and WebSockets."""

# The library has no types, and this class extends it; docs/library-internals.md has the names.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import engineio
import orjson
from aiohttp import web
from engineio.async_drivers import aiohttp as driver

from dispatch import metrics
from handlers.sessions.client_address import TrustedProxies, network_of
from handlers.sessions.rate_limits import CONNECTION_RATE
from handlers.transport.accept_queue import Headers
from handlers.transport.close_codes import close_status
from handlers.transport.engineio_packets import OPEN
from handlers.transport.engineio_session import EngineIoSession, SessionHost
from handlers.websocket.frame_writer import text_frame
from handlers.websocket.handshake import (
    BadUpgrade,
    switch_protocol,
    upgrade_request,
    upgrade_response,
)
from handlers.websocket.websocket import WebSocket

# Headers that announce a body.
_BODY_HEADERS = frozenset({"content-length", "transfer-encoding"})


class EngineIoHost(SessionHost, Protocol):
    """What the Engine.IO server needs of the server above it."""

    is_closing: bool
    proxies: TrustedProxies

    def is_origin_allowed(self, origin: str | None, host: str) -> bool:
        """Return whether a page of this origin may open a connection."""
        ...


class EngineIoServer(engineio.AsyncServer):
    """engineio's server with our sessions; it serves handshakes, long polls and upgrades.

    It overrides and calls private members of the library, which docs/library-internals.md lists
    with the tests that hold them.
    """

    host: EngineIoHost

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._async: Any = {
            **driver._async,
            "translate_request": self._environ,
            "create_route": _create_route,
        }
        self.sockets: dict[str, EngineIoSession]

    async def handle_request(self, *args: Any, **kwargs: Any) -> Any:
        """Serve one HTTP request; a new session over WebSocket does not reach the library."""
        request: web.Request = args[0]
        query = request.query
        if self.host.is_closing:
            return web.Response(status=503, headers={"Retry-After": "1"})
        if "sid" not in query and (refused := self._check_connection_rate(request)) is not None:
            return refused
        if "j" in query:
            return web.Response(status=400, text='"JSONP is not supported"')
        if request.method == "POST":
            return await self._handle_post(request, query.get("sid", ""))
        is_upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        is_new = request.method == "GET" and is_upgrade and "sid" not in query
        if not is_new or query.get("transport") != "websocket" or query.get("EIO") != "4":
            return await super().handle_request(request)
        return self._accept_websocket(request)

    def open_websocket(self, transport: asyncio.Transport, headers: Headers, tail: bytes) -> bool:
        """Open a session on a new connection whose first request asks for a WebSocket.

        False, with nothing changed, leaves the request to `handle_request`, which sends the reason.
        Implements `accept_queue.WebSocketOpener`.
        """
        host = self.host
        is_plain = "Host" in headers and not _BODY_HEADERS & {name.lower() for name in headers}
        if host.is_closing or not is_plain:
            return False
        if not host.is_origin_allowed(headers.get("Origin"), headers["Host"]):
            return False
        try:
            response = upgrade_response(headers)
        except BadUpgrade:
            return False
        address = host.proxies.resolve_address(transport.get_extra_info("peername")[0], headers)
        now_s = host.clock.monotonic_s()
        if host.limits.take_or_wait_s(CONNECTION_RATE, network_of(address), now_s):
            return False
        ws = WebSocket(host.frame_bytes_max, host.read_batch)
        switch_protocol(transport, ws, response)
        self._start_websocket_session(address, ws, tail)
        return True

    def _start_websocket_session(self, address: str, ws: WebSocket, tail: bytes) -> None:
        """Open a session over a WebSocket; `tail` is the input behind its request."""
        self.open_session(address, "websocket").attach_websocket(ws)
        ws.consume(tail)

    def _check_connection_rate(self, request: web.Request) -> web.Response | None:
        """Refuse an address that opens too many connections."""
        address, now_s = self.host.proxies.client_address(request), self.host.clock.monotonic_s()
        wait_s = self.host.limits.take_or_wait_s(CONNECTION_RATE, network_of(address), now_s)
        if not wait_s:
            return None
        self._log_error_once("", "too-many")
        headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
        return web.Response(status=429, headers=headers)

    def open_session(self, address: str, transport: str) -> EngineIoSession:
        """Open a session; its first packet is the Engine.IO handshake."""
        connection = EngineIoSession(self.host, self.generate_id(), address)
        self.sockets[connection.sid] = connection
        handshake = {
            "sid": connection.sid,
            "upgrades": self._upgrades(connection.sid, transport),
            "pingTimeout": int(self.host.timeouts.ping_timeout_s * 1000),
            "pingInterval": int(self.host.timeouts.ping_interval_s * 1000),
            "maxPayload": self.host.frame_bytes_max,
        }
        connection.send_buffer.send(text_frame(OPEN.encode() + orjson.dumps(handshake)))
        return connection

    def _log_error_once(self, message: str, message_key: str) -> None:
        """Count a refused handshake instead of logging it; the message holds client input."""
        metrics.SOCKETS_ENDED.labels("none", f"handshake_{message_key}").inc()

    async def _handle_connect(
        self, environ: Mapping[str, Any], transport: str, jsonp_index: int | None = None
    ) -> dict[str, Any]:
        assert transport == "polling", "WebSocket requests do not reach the library"
        assert jsonp_index is None, "JSONP requests do not reach the library"
        connection = self.open_session(environ["REMOTE_ADDR"], transport)
        return self._ok(await connection.poll())

    def _accept_websocket(self, request: web.Request) -> web.Response:
        if not self.host.is_origin_allowed(request.headers.get("Origin"), request.host):
            self._log_error_once("", "bad-origin")
            return web.Response(status=400, text='"Not an accepted origin"')
        address = self.host.proxies.client_address(request)
        ws = WebSocket(self.host.frame_bytes_max, self.host.read_batch)
        return upgrade_request(request, ws, partial(self._start_websocket_session, address, ws))

    async def _handle_post(self, request: web.Request, sid: str) -> web.Response:
        environ = self._environ(request)
        connection = self.sockets.get(sid)
        if connection is None or connection.upgraded or not self._is_origin_allowed(environ):
            return await self._make_response(self._bad_request("Bad request"), environ)
        posted = await connection.read_post(request)
        # The first bad packet ends the connection; those behind it are not handled.
        is_good = posted is not None and all(connection.receive(packet) for packet in posted)
        text = close_status(connection.end_reason).text
        response = self._ok() if is_good else self._bad_request(text or "Bad request")
        return await self._make_response(response, environ)

    def _environ(self, request: web.Request) -> dict[str, Any]:
        """Return engineio's view of a request, with the client's own address."""
        address = self.host.proxies.client_address(request)
        return {**driver.translate_request(request), "REMOTE_ADDR": address}

    def _is_origin_allowed(self, environ: Mapping[str, Any]) -> bool:
        return self.host.is_origin_allowed(environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", ""))


def _create_route(app: web.Application, server: EngineIoServer, path: str) -> None:
    """Serve the sockets' path; the library's own route would take HEAD as well."""
    for method in ("GET", "POST", "OPTIONS"):
        app.router.add_route(method, path, server.handle_request)
