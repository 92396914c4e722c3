"""Socket.IO server: decodes packets, joins clients to namespaces and counts the ends of sockets."""

# The library has no types, and this class extends it; docs/library-internals.md has the names.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson
import socketio
import structlog
from aiohttp import web
from socketio import packet as packets

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.settings import Settings
from dispatch.wire import frames
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import RateLimits, TokenBucket
from handlers.sessions.session_registry import Session
from handlers.transport.engineio_packets import BadPacket
from handlers.transport.engineio_server import EngineIoServer
from handlers.transport.engineio_session import (
    CLOSE_REASONS,
    EngineIoSession,
    SessionDeadlines,
    SessionTimeouts,
)
from handlers.websocket.frame_writer import text_frame
from handlers.websocket.read_batch import ReadBatch

log = structlog.get_logger(__name__)

# Source: docs/contract.md.
SOCKET_PATH = "/socket.io/"
# CONNECT packets one connection may send. Source: chosen; an app joins one namespace, and again
# after a new token.
CONNECTS_MAX = 20
# Log lines about cut sockets; metrics count all of them. Units: lines a second, lines at once.
# Source: SECURITY.md, row 9 of the stock stack: bad clients must not fill the log.
CUT_LOG_LINES_PER_S = 1
CUT_LOG_BURST = 10


class OrjsonCodec:
    """orjson with the interface of the standard library's `json`, as socketio expects it.

    Source: SECURITY.md, row 7 of the stock stack: deep nesting raises RecursionError in `json`,
    ValueError in orjson.
    """

    @staticmethod
    def dumps(value: Any, **_options: Any) -> str:
        """Encode; the options of socketio ask for compact output, which orjson always writes."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        """Decode. Errors: ValueError."""
        return orjson.loads(text)


class NamespaceHandler(Protocol):
    """Admits clients to namespaces and answers their commands; implemented by the gate."""

    namespaces: frozenset[str]

    def admit(self, connection: EngineIoSession, namespace: str, auth: object) -> Session:
        """Authenticate a client for a namespace. Errors: ConnectRefused, JoinRateExceeded."""
        ...

    def on_join(self, session: Session, auth: object) -> None:
        """Handle an admitted session; its CONNECT has been sent."""
        ...

    def on_event(self, session: Session, event: list[Any], ack_id: int | None) -> None:
        """Handle one event. Shapes: `event` is its name, then its arguments."""
        ...

    def on_ack(self, session: Session, ack_id: int) -> bool:
        """Handle an acknowledgement; False where none is outstanding under that id."""
        ...

    def on_leave(self, session: Session) -> None:
        """Handle the end of a session."""
        ...


class ConnectRefused(Exception):
    """A client may not join a namespace; code and details are sent in its CONNECT_ERROR."""

    def __init__(self, code: str, details: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.details = details


class JoinRateExceeded(Exception):
    """An identity joins too often; its connection is aborted.

    The official client reconnects after that by itself, which it does not after a CONNECT_ERROR.
    """


class SocketIoServer(socketio.AsyncServer):
    """socketio's server with our sessions.

    The library's rooms, manager and `emit` are not used: each disconnect would walk all rooms,
    which is quadratic with a room per socket, and each emit costs a task per receiver. Events are
    sent through a session's sender. Source: docs/decisions/0005.
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
            # Compressing a poll's packets would block the loop, for a transport that few use.
            "http_compression": False,
            # Apps send a token; cookies of other pages of the company's domain are not wanted.
            "cors_credentials": False,
            "cookie": None,
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
        """Refuse the library's emit: its rooms are empty, so that it would be lost."""
        raise NotImplementedError(f"send {event} through Session.sender")

    def serve_in(self, app: web.Application) -> None:
        """Register the sockets' route in an HTTP application."""
        self.attach(app, SOCKET_PATH)

    async def close_all(self) -> None:
        """Refuse new connections, end every open one and wait until they are closed."""
        self.is_closing = True
        connections = list(self.eio.sockets.values())
        for connection in connections:
            connection.end("server_draining")
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    def is_origin_allowed(self, origin: str | None, host: str) -> bool:
        """Return whether a page of this origin may open a connection; apps send no origin."""
        return origin is None or self._origins.is_allowed(origin, host)

    def on_message(self, connection: EngineIoSession, text: str) -> None:
        """Handle one Engine.IO message. Errors: BadPacket."""
        try:
            packet = packets.Packet(encoded_packet=text[1:])
        except (ValueError, RecursionError):
            raise BadPacket("malformed") from None
        packet_type = packet.packet_type
        if packet_type in (packets.BINARY_EVENT, packets.BINARY_ACK) or packet.attachment_count:
            raise BadPacket("binary")
        if packet_type not in self._packet_handlers:
            raise BadPacket("malformed")
        self._packet_handlers[packet_type](connection, packet)

    def on_session_end(self, connection: EngineIoSession, reason: str) -> None:
        """Leave a connection's namespaces; count and log an end that the client did not choose."""
        self.eio.sockets.pop(connection.sid, None)
        sessions = list(connection.sessions.values())
        for session in sessions:
            self._leave_namespace(session)
        if reason in CLOSE_REASONS:
            return
        namespace = sessions[0].namespace if sessions else "none"
        metrics.SOCKETS_ENDED.labels(namespace, reason).inc()
        if self._cut_log_bucket.take(self.clock.monotonic_s()):
            identity = sessions[0].identity if sessions else "none"
            log.info("socket_cut", reason=reason, identity=identity, remote=connection.address)

    def _on_connect(self, connection: EngineIoSession, packet: packets.Packet) -> None:
        namespace, auth = packet.namespace or "/", packet.data
        connection.connect_count += 1
        if connection.connect_count > CONNECTS_MAX or not isinstance(auth, dict | None):
            raise BadPacket("malformed")
        try:
            session = self._admit(connection, namespace, auth)
        except ConnectRefused as refused:
            error: dict[str, object] = {"message": refused.code}
            if refused.details is not None:
                error["data"] = refused.details
            body = orjson.dumps(error)
            connection.send_buffer.send(text_frame(frames.encode_connect_error(namespace, body)))
            return
        except JoinRateExceeded:
            connection.end("too_many_joins", abort=True)
            return
        body = orjson.dumps({"sid": session.sid})
        connection.send_buffer.send(text_frame(frames.encode_connect(namespace, body)))
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
        session, event = connection.sessions.get(packet.namespace or "/"), packet.data
        if session is None:
            raise BadPacket("not_connected")
        if not isinstance(event, list) or not event or not isinstance(event[0], str):
            raise BadPacket("malformed")
        self.namespace_handler.on_event(session, event, packet.id)

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

    def _is_cors_origin_allowed(self, origin: str, environ: Mapping[str, Any]) -> bool:
        return self.is_origin_allowed(origin, environ.get("HTTP_HOST", ""))

    def _engineio_server_class(self) -> type[EngineIoServer]:
        return EngineIoServer
