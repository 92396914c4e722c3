"""Our Engine.IO driver and Socket.IO server: the libraries' handshakes, our frames and ends."""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import engineio
import orjson
import socketio
import structlog
from aiohttp import web
from engineio.async_drivers import aiohttp as driver
from socketio import packet as packets

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.settings import Settings
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import CONNECTION_RATE, RateLimits, TokenBucket
from handlers.sessions.session_registry import Session
from handlers.transport.accept_queue import Headers
from handlers.transport.engineio_session import (
    CLOSE_REASONS,
    OPEN,
    BadPacket,
    EngineIoSession,
    SessionDeadlines,
    SessionTimeouts,
)
from handlers.transport.read_batch import ReadBatch
from handlers.transport.send_buffer import text_frame
from handlers.transport.upgrade import BadUpgrade, switch_protocol, upgrade_response
from handlers.transport.websocket import WebSocket

log = structlog.get_logger(__name__)

# Source: wire contract.
SOCKET_PATH = "/socket.io/"
# CONNECT packets one connection may send; an app joins one namespace, sometimes again.
CONNECTS_MAX = 20
# What says that a request goes on after its headers.
_BODY_HEADERS = frozenset({"content-length", "transfer-encoding"})
# Lines a second about frames that were refused; the counters have them all.
CUT_LOG_LINES_PER_S = 1
CUT_LOG_BURST = 10


class OrjsonCodec:
    """orjson in the shape of the standard library's module.

    Source: reliability design, hole 7: the standard one dies of deep nesting, this one says
    ValueError.
    """

    @staticmethod
    def dumps(value: Any, **_options: Any) -> str:
        """Encode; the caller's options ask for no white space, and there is none."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        """Decode. Errors: ValueError."""
        return orjson.loads(text)


class NamespaceHandler(Protocol):
    """Who decides about clients and answers their commands."""

    namespaces: frozenset[str]

    def admit(self, connection: EngineIoSession, namespace: str, auth: object) -> Session:
        """Let a client into a namespace. Errors: NotAdmitted, TooOften."""
        ...

    def on_join(self, session: Session, auth: object) -> None:
        """The session is open; CONNECT went out."""
        ...

    def on_event(self, session: Session, event: list[Any], ack_id: int | None) -> None:
        """Handle one event: its name, then its arguments."""
        ...

    def on_ack(self, session: Session, ack_id: int) -> bool:
        """The client acknowledges an event; False where none waits for that."""
        ...

    def on_leave(self, session: Session) -> None:
        """The session is over."""
        ...


class ConnectRefused(Exception):
    """A client may not join a namespace; the code goes into its CONNECT_ERROR."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class JoinRateExceeded(Exception):
    """Somebody joins again and again; he is cut.

    The official client then comes back later by itself, which it does not after a CONNECT_ERROR.
    """


class EngineIoServer(engineio.AsyncServer):
    """The Engine.IO server: handshakes, polls and upgrades."""

    host: "SocketIoServer"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._async: Any = {**driver._async, "translate_request": self._environ}
        self.sockets: dict[str, EngineIoSession]

    async def handle_request(self, *args: Any, **kwargs: Any) -> Any:
        """Serve one HTTP request; a client that begins with a WebSocket takes the short way."""
        request: web.Request = args[0]
        query = request.query
        if self.host.is_closing:
            return web.Response(status=503, headers={"Retry-After": "1"})
        if "sid" not in query and (refused := self._check_connection_rate(request)) is not None:
            return refused
        if "j" in query:
            return web.Response(status=400, text='"JSONP is not served"')
        if request.method == "POST":
            return await self._handle_post(request, query.get("sid", ""))
        is_upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        is_new = request.method == "GET" and is_upgrade and "sid" not in query
        if not is_new or query.get("transport") != "websocket" or query.get("EIO") != "4":
            return await super().handle_request(request)
        return self._accept_websocket(request)

    def open_websocket(self, transport: asyncio.Transport, headers: Headers, tail: bytes) -> bool:
        """Open a WebSocket on a connection whose first request asks for one.

        False, with nothing done, leaves it to `handle_request`, which also says why not.
        """
        host = self.host
        is_plain = "Host" in headers and not _BODY_HEADERS & {name.lower() for name in headers}
        if host.is_closing or not is_plain:
            return False
        if not host.is_origin_allowed(headers.get("Origin"), headers["Host"]):
            return False
        try:
            answer = upgrade_response(headers)
        except BadUpgrade:
            return False
        address = host.proxies.resolve_address(transport.get_extra_info("peername")[0], headers)
        if host.limits.take_or_wait_s(CONNECTION_RATE, address, host.clock.monotonic_s()):
            return False
        ws = WebSocket(host.frame_bytes_max, host.read_batch)
        transport.set_protocol(ws)
        ws.connection_made(transport)
        transport.write(answer)
        self._start_websocket_session(address, ws, tail)
        return True

    def _start_websocket_session(self, address: str, ws: WebSocket, tail: bytes) -> None:
        """Begin with a WebSocket; `beyond` came in one piece with its request."""
        self.open_session(address, "websocket").attach_websocket(ws)
        ws.consume(tail)

    def _check_connection_rate(self, request: web.Request) -> web.Response | None:
        """Refuse an address that begins too many connections."""
        address, now_s = self.host.proxies.client_address(request), self.host.clock.monotonic_s()
        wait_s = self.host.limits.take_or_wait_s(CONNECTION_RATE, address, now_s)
        if not wait_s:
            return None
        self._log_error_once("", "too-many")
        headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
        return web.Response(status=429, headers=headers)

    def open_session(self, address: str, transport: str) -> EngineIoSession:
        """Open a session; its first packet says how to go on."""
        connection = EngineIoSession(self.host, self.generate_id(), address)
        self.sockets[connection.sid] = connection
        opening = {
            "sid": connection.sid,
            "upgrades": self._upgrades(connection.sid, transport),
            "pingTimeout": int(self.host.timeouts.ping_timeout_s * 1000),
            "pingInterval": int(self.host.timeouts.ping_interval_s * 1000),
            "maxPayload": self.host.frame_bytes_max,
        }
        connection.send_buffer.send(text_frame(OPEN.encode() + orjson.dumps(opening)))
        return connection

    def _log_error_once(self, message: str, message_key: str) -> None:
        """Refused handshakes are counted; what the library would log holds the client's words."""
        metrics.SOCKETS_ENDED.labels("none", f"handshake_{message_key}").inc()

    async def _handle_connect(
        self, environ: Mapping[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        assert transport == "polling", "WebSockets are taken before the library sees them"
        assert jsonp_index is None, "JSONP is refused before the library sees it"
        connection = self.open_session(environ["REMOTE_ADDR"], transport)
        return self._ok(await connection.poll())

    def _accept_websocket(self, request: web.Request) -> web.Response:
        if not self.host.is_origin_allowed(request.headers.get("Origin"), request.host):
            self._log_error_once("", "bad-origin")
            return web.Response(status=400, text='"Not an accepted origin"')
        address = self.host.proxies.client_address(request)
        ws = WebSocket(self.host.frame_bytes_max, self.host.read_batch)
        try:
            beyond = switch_protocol(request, ws)
        except BadUpgrade as refused:
            return web.Response(status=400, text=f'"{refused}"')
        except ConnectionError:
            # The client has gone before there was anything to be closed.
            return web.Response(status=400)
        self._start_websocket_session(address, ws, beyond)
        return web.Response()

    async def _handle_post(self, request: web.Request, sid: str) -> Any:
        environ = self._environ(request)
        connection = self.sockets.get(sid)
        if connection is None or connection.upgraded or not self._is_origin_allowed(environ):
            return await self._make_response(self._bad_request("Bad request"), environ)
        frames = await connection.read_post(request)
        # The first bad frame ends the connection; those behind it are not looked at.
        is_good = frames is not None and all(connection.receive(frame) for frame in frames)
        answer = self._ok() if is_good else self._bad_request("Bad request")
        return await self._make_response(answer, environ)

    def _environ(self, request: web.Request) -> dict[str, Any]:
        """The library's view of a request, with the client's true address."""
        address = self.host.proxies.client_address(request)
        return {**driver.translate_request(request), "REMOTE_ADDR": address}

    def _is_origin_allowed(self, environ: Mapping[str, Any]) -> bool:
        return self.host.is_origin_allowed(environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", ""))


class SocketIoServer(socketio.AsyncServer):
    """The Socket.IO server: packets in, sessions joined and parted.

    The library's rooms, `emit` and manager are not used: every disconnect walks through all rooms,
    a room per socket makes that quadratic, and each emit costs a task per receiver. A session's
    outlet is the one way out.
    """

    namespace_handler: NamespaceHandler
    eio: EngineIoServer

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        limits: RateLimits,
        timeouts: SessionTimeouts | None = None,
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.timeouts = timeouts or SessionTimeouts.from_settings(settings)
        self.deadlines = SessionDeadlines(self.timeouts)
        self.read_batch = ReadBatch()
        self.frame_bytes_max = settings.frame_bytes_max
        self.is_closing = False
        self.proxies = TrustedProxies(settings)
        self._origins = AllowedOrigins(settings)
        self._cut_log_bucket = TokenBucket(CUT_LOG_LINES_PER_S, CUT_LOG_BURST)
        options: dict[str, Any] = {
            "async_mode": "aiohttp",
            "json": OrjsonCodec,
            "monitor_clients": False,
            "max_http_buffer_size": settings.frame_bytes_max,
            "cors_allowed_origins": self._is_cors_origin_allowed,
            "logger": logging.getLogger("socketio.server"),
            "engineio_logger": logging.getLogger("engineio.server"),
        }
        super().__init__(**options)
        self.eio.host = self
        self._packet_handlers: dict[int, Callable[[EngineIoSession, packets.Packet], None]] = {
            packets.CONNECT: self._on_connect,
            packets.DISCONNECT: self._on_disconnect,
            packets.EVENT: self._on_event,
            packets.ACK: self._on_ack,
        }

    async def emit(self, event: str, *_args: Any, **_kwargs: Any) -> None:
        """Refused: the library would drop it silently, nobody is in its rooms."""
        raise NotImplementedError(f"tell {event} through a session's outlet")

    def serve_in(self, app: web.Application) -> None:
        """Serve the sockets of an HTTP application."""
        self.attach(app, SOCKET_PATH)

    async def close_all(self) -> None:
        """End every connection and admit none any more, so that clients go elsewhere."""
        self.is_closing = True
        connections = list(self.eio.sockets.values())
        for connection in connections:
            connection.end("server_draining")
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    def is_origin_allowed(self, origin: str | None, host: str) -> bool:
        """Tell whether a page may open a socket; apps send no origin."""
        return origin is None or self._origins.is_allowed(origin, host)

    def on_message(self, connection: EngineIoSession, text: str) -> None:
        """Handle one Engine.IO message. Errors: BadFrame."""
        try:
            packet = packets.Packet(encoded_packet=text[1:])
        except (ValueError, RecursionError):
            raise BadPacket("malformed") from None
        kind = packet.packet_type
        if kind in (packets.BINARY_EVENT, packets.BINARY_ACK) or packet.attachment_count:
            raise BadPacket("binary")
        if kind not in self._packet_handlers:
            raise BadPacket("malformed")
        self._packet_handlers[kind](connection, packet)

    def on_session_end(self, connection: EngineIoSession, reason: str) -> None:
        """Part with a connection's sessions, and say why it was cut."""
        self.eio.sockets.pop(connection.sid, None)
        sessions = list(connection.sessions.values())
        for session in sessions:
            self._leave_namespace(session)
        if reason in CLOSE_REASONS:
            return
        namespace = sessions[0].namespace if sessions else "none"
        metrics.SOCKETS_ENDED.labels(namespace, reason).inc()
        if self._cut_log_bucket.take(self.clock.monotonic_s()):
            who = sessions[0].identity if sessions else "nobody"
            log.info("socket_cut", reason=reason, who=who, remote=connection.address)

    def _on_connect(self, connection: EngineIoSession, packet: packets.Packet) -> None:
        namespace, auth = packet.namespace or "/", packet.data
        connection.connect_count += 1
        if connection.connect_count > CONNECTS_MAX or not isinstance(auth, dict | None):
            raise BadPacket("malformed")
        try:
            session = self._admit(connection, namespace, auth)
        except ConnectRefused as refused:
            self._send_connect_reply(
                connection, packets.CONNECT_ERROR, namespace, {"message": refused.code}
            )
            return
        except JoinRateExceeded:
            connection.end("too_many_joins", abort=True)
            return
        self._send_connect_reply(connection, packets.CONNECT, namespace, {"sid": session.sid})
        connection.join(namespace, session)
        metrics.SOCKETS.labels(namespace).inc()
        self.namespace_handler.on_join(session, auth)

    def _admit(self, connection: EngineIoSession, namespace: str, auth: object) -> Session:
        if namespace not in self.namespace_handler.namespaces:
            raise ConnectRefused("unknown_namespace")
        if namespace in connection.sessions:
            raise ConnectRefused("already_connected")
        return self.namespace_handler.admit(connection, namespace, auth)

    def _on_disconnect(self, connection: EngineIoSession, packet: packets.Packet) -> None:
        session = connection.sessions.get(packet.namespace or "/")
        if session is None:
            connection.count_violation()
            return
        connection.leave(session.namespace)
        self._leave_namespace(session)

    def _on_event(self, connection: EngineIoSession, packet: packets.Packet) -> None:
        session, said = connection.sessions.get(packet.namespace or "/"), packet.data
        if session is None:
            raise BadPacket("not_connected")
        if not isinstance(said, list) or not said or not isinstance(said[0], str):
            raise BadPacket("malformed")
        self.namespace_handler.on_event(session, said, packet.id)

    def _on_ack(self, connection: EngineIoSession, packet: packets.Packet) -> None:
        session = connection.sessions.get(packet.namespace or "/")
        if session is None:
            raise BadPacket("not_connected")
        if packet.id is None or not isinstance(packet.data, list):
            raise BadPacket("malformed")
        if not self.namespace_handler.on_ack(session, packet.id):
            connection.count_violation()

    def _leave_namespace(self, session: Session) -> None:
        metrics.SOCKETS.labels(session.namespace).dec()
        self.namespace_handler.on_leave(session)

    def _send_connect_reply(
        self, connection: EngineIoSession, packet_type: int, namespace: str, body: object
    ) -> None:
        prefix = "" if namespace == "/" else f"{namespace},"
        connection.send_buffer.send(
            text_frame(f"4{packet_type}{prefix}".encode() + orjson.dumps(body))
        )

    def _is_cors_origin_allowed(self, origin: str, environ: Mapping[str, Any]) -> bool:
        return self.is_origin_allowed(origin, environ.get("HTTP_HOST", ""))

    def _engineio_server_class(self) -> type[EngineIoServer]:
        return EngineIoServer
