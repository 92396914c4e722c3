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
from handlers.sessions.client_address import Proxies
from handlers.sessions.origins import Origins
from handlers.sessions.rate_limits import CONNECTIONS, Bucket, Limits
from handlers.sessions.session_registry import Session
from handlers.transport.accept_queue import Headers
from handlers.transport.engineio_session import (
    OPEN,
    PARTINGS,
    BadFrame,
    Connection,
    Timings,
    Waits,
)
from handlers.transport.read_batch import Turn
from handlers.transport.send_buffer import text_frame
from handlers.transport.upgrade import NoHandshake, answer_to, take_over
from handlers.transport.websocket import WebSocket

log = structlog.get_logger(__name__)

# Source: wire contract.
SOCKET_PATH = "/socket.io/"
# CONNECT packets one connection may send; an app joins one namespace, sometimes again.
CONNECTS_MAX = 20
# What says that a request goes on after its headers.
_BODY_HEADERS = frozenset({"content-length", "transfer-encoding"})
# Lines a second about frames that were refused; the counters have them all.
COMPLAINTS_PER_S = 1
COMPLAINTS_BURST = 10


class Json:
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


class Door(Protocol):
    """Who decides about clients and answers their commands."""

    namespaces: frozenset[str]

    def admit(self, connection: Connection, namespace: str, auth: object) -> Session:
        """Let a client into a namespace. Errors: NotAdmitted, TooOften."""
        ...

    def welcome(self, session: Session, auth: object) -> None:
        """The session is open; CONNECT went out."""
        ...

    def hear(self, session: Session, said: list[Any], ack_id: int | None) -> None:
        """Handle one event: its name, then its arguments."""
        ...

    def receipt(self, session: Session, ack_id: int) -> bool:
        """The client acknowledges an event; False where none waits for that."""
        ...

    def part(self, session: Session) -> None:
        """The session is over."""
        ...


class NotAdmitted(Exception):
    """A client may not join a namespace; the code goes into its CONNECT_ERROR."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class TooOften(Exception):
    """Somebody joins again and again; he is cut.

    The official client then comes back later by itself, which it does not after a CONNECT_ERROR.
    """


class Engine(engineio.AsyncServer):
    """The Engine.IO server: handshakes, polls and upgrades."""

    host: "Server"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._async: Any = {**driver._async, "translate_request": self._environ}
        self.sockets: dict[str, Connection]

    async def handle_request(self, *args: Any, **kwargs: Any) -> Any:
        """Serve one HTTP request; a client that begins with a WebSocket takes the short way."""
        request: web.Request = args[0]
        query = request.query
        if self.host.is_closing:
            return web.Response(status=503, headers={"Retry-After": "1"})
        if "sid" not in query and (refused := self._turn_away(request)) is not None:
            return refused
        if "j" in query:
            return web.Response(status=400, text='"JSONP is not served"')
        if request.method == "POST":
            return await self._take_post(request, query.get("sid", ""))
        is_upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        is_new = request.method == "GET" and is_upgrade and "sid" not in query
        if not is_new or query.get("transport") != "websocket" or query.get("EIO") != "4":
            return await super().handle_request(request)
        return self._take_websocket(request)

    def open(self, transport: asyncio.Transport, headers: Headers, beyond: bytes) -> bool:
        """Open a WebSocket on a connection whose first request asks for one.

        False, with nothing done, leaves it to `handle_request`, which also says why not.
        """
        host = self.host
        is_plain = "Host" in headers and not _BODY_HEADERS & {name.lower() for name in headers}
        if host.is_closing or not is_plain:
            return False
        if not host.may_enter(headers.get("Origin"), headers["Host"]):
            return False
        try:
            answer = answer_to(headers)
        except NoHandshake:
            return False
        address = host.proxies.client_behind(transport.get_extra_info("peername")[0], headers)
        if host.limits.wait_s(CONNECTIONS, address, host.clock.monotonic_s()):
            return False
        ws = WebSocket(host.frame_bytes_max, host.turn)
        transport.set_protocol(ws)
        ws.connection_made(transport)
        transport.write(answer)
        self._let_in(address, ws, beyond)
        return True

    def _let_in(self, address: str, ws: WebSocket, beyond: bytes) -> None:
        """Begin with a WebSocket; `beyond` came in one piece with its request."""
        self.admit(address, "websocket").open(ws)
        ws.read(beyond)

    def _turn_away(self, request: web.Request) -> web.Response | None:
        """Refuse an address that begins too many connections."""
        address, now_s = self.host.proxies.client_of(request), self.host.clock.monotonic_s()
        wait_s = self.host.limits.wait_s(CONNECTIONS, address, now_s)
        if not wait_s:
            return None
        self._log_error_once("", "too-many")
        headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
        return web.Response(status=429, headers=headers)

    def admit(self, address: str, transport: str) -> Connection:
        """Open a session; its first packet says how to go on."""
        connection = Connection(self.host, self.generate_id(), address)
        self.sockets[connection.sid] = connection
        opening = {
            "sid": connection.sid,
            "upgrades": self._upgrades(connection.sid, transport),
            "pingTimeout": int(self.host.timings.ping_timeout_s * 1000),
            "pingInterval": int(self.host.timings.ping_interval_s * 1000),
            "maxPayload": self.host.frame_bytes_max,
        }
        connection.pipe.send(text_frame(OPEN.encode() + orjson.dumps(opening)))
        return connection

    def _log_error_once(self, message: str, message_key: str) -> None:
        """Refused handshakes are counted; what the library would log holds the client's words."""
        metrics.SOCKETS_ENDED.labels("none", f"handshake_{message_key}").inc()

    async def _handle_connect(
        self, environ: Mapping[str, Any], transport: str, jsonp_index: int | None = None
    ) -> Any:
        assert transport == "polling", "WebSockets are taken before the library sees them"
        assert jsonp_index is None, "JSONP is refused before the library sees it"
        connection = self.admit(environ["REMOTE_ADDR"], transport)
        return self._ok(await connection.poll())

    def _take_websocket(self, request: web.Request) -> web.Response:
        if not self.host.may_enter(request.headers.get("Origin"), request.host):
            self._log_error_once("", "bad-origin")
            return web.Response(status=400, text='"Not an accepted origin"')
        address = self.host.proxies.client_of(request)
        ws = WebSocket(self.host.frame_bytes_max, self.host.turn)
        try:
            beyond = take_over(request, ws)
        except NoHandshake as refused:
            return web.Response(status=400, text=f'"{refused}"')
        except ConnectionError:
            # The client has gone before there was anything to be closed.
            return web.Response(status=400)
        self._let_in(address, ws, beyond)
        return web.Response()

    async def _take_post(self, request: web.Request, sid: str) -> Any:
        environ = self._environ(request)
        connection = self.sockets.get(sid)
        if connection is None or connection.upgraded or not self._is_welcome(environ):
            return await self._make_response(self._bad_request("Bad request"), environ)
        frames = await connection.read_post(request)
        # The first bad frame ends the connection; those behind it are not looked at.
        is_good = frames is not None and all(connection.receive(frame) for frame in frames)
        answer = self._ok() if is_good else self._bad_request("Bad request")
        return await self._make_response(answer, environ)

    def _environ(self, request: web.Request) -> dict[str, Any]:
        """The library's view of a request, with the client's true address."""
        address = self.host.proxies.client_of(request)
        return {**driver.translate_request(request), "REMOTE_ADDR": address}

    def _is_welcome(self, environ: Mapping[str, Any]) -> bool:
        return self.host.may_enter(environ.get("HTTP_ORIGIN"), environ.get("HTTP_HOST", ""))


class Server(socketio.AsyncServer):
    """The Socket.IO server: packets in, sessions joined and parted.

    The library's rooms, `emit` and manager are not used: every disconnect walks through all rooms,
    a room per socket makes that quadratic, and each emit costs a task per receiver. A session's
    outlet is the one way out.
    """

    door: Door
    eio: Engine

    def __init__(
        self, settings: Settings, clock: Clock, limits: Limits, timings: Timings | None = None
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.timings = timings or Timings.of(settings)
        self.waits = Waits(self.timings)
        self.turn = Turn()
        self.frame_bytes_max = settings.frame_bytes_max
        self.is_closing = False
        self.proxies = Proxies(settings)
        self._origins = Origins(settings)
        self._complaints = Bucket(COMPLAINTS_PER_S, COMPLAINTS_BURST)
        options: dict[str, Any] = {
            "async_mode": "aiohttp",
            "json": Json,
            "monitor_clients": False,
            "max_http_buffer_size": settings.frame_bytes_max,
            "cors_allowed_origins": self._allow_origin,
            "logger": logging.getLogger("socketio.server"),
            "engineio_logger": logging.getLogger("engineio.server"),
        }
        super().__init__(**options)
        self.eio.host = self
        self._handle: dict[int, Callable[[Connection, packets.Packet], None]] = {
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
        await asyncio.gather(*(connection.gone() for connection in connections))

    def may_enter(self, origin: str | None, host: str) -> bool:
        """Tell whether a page may open a socket; apps send no origin."""
        return origin is None or self._origins.allow(origin, host)

    def heard(self, connection: Connection, text: str) -> None:
        """Handle one Engine.IO message. Errors: BadFrame."""
        try:
            packet = packets.Packet(encoded_packet=text[1:])
        except (ValueError, RecursionError):
            raise BadFrame("malformed") from None
        kind = packet.packet_type
        if kind in (packets.BINARY_EVENT, packets.BINARY_ACK) or packet.attachment_count:
            raise BadFrame("binary")
        if kind not in self._handle:
            raise BadFrame("malformed")
        self._handle[kind](connection, packet)

    def ended(self, connection: Connection, reason: str) -> None:
        """Part with a connection's sessions, and say why it was cut."""
        self.eio.sockets.pop(connection.sid, None)
        sessions = list(connection.sessions.values())
        for session in sessions:
            self._part(session)
        if reason in PARTINGS:
            return
        namespace = sessions[0].namespace if sessions else "none"
        metrics.SOCKETS_ENDED.labels(namespace, reason).inc()
        if self._complaints.take(self.clock.monotonic_s()):
            who = sessions[0].identity if sessions else "nobody"
            log.info("socket_cut", reason=reason, who=who, remote=connection.address)

    def _on_connect(self, connection: Connection, packet: packets.Packet) -> None:
        namespace, auth = packet.namespace or "/", packet.data
        connection.connects += 1
        if connection.connects > CONNECTS_MAX or not isinstance(auth, dict | None):
            raise BadFrame("malformed")
        try:
            session = self._admit(connection, namespace, auth)
        except NotAdmitted as refused:
            self._say(connection, packets.CONNECT_ERROR, namespace, {"message": refused.code})
            return
        except TooOften:
            connection.end("too_many_joins", abort=True)
            return
        self._say(connection, packets.CONNECT, namespace, {"sid": session.sid})
        connection.join(namespace, session)
        metrics.SOCKETS.labels(namespace).inc()
        self.door.welcome(session, auth)

    def _admit(self, connection: Connection, namespace: str, auth: object) -> Session:
        if namespace not in self.door.namespaces:
            raise NotAdmitted("unknown_namespace")
        if namespace in connection.sessions:
            raise NotAdmitted("already_connected")
        return self.door.admit(connection, namespace, auth)

    def _on_disconnect(self, connection: Connection, packet: packets.Packet) -> None:
        session = connection.sessions.get(packet.namespace or "/")
        if session is None:
            connection.strike()
            return
        connection.leave(session.namespace)
        self._part(session)

    def _on_event(self, connection: Connection, packet: packets.Packet) -> None:
        session, said = connection.sessions.get(packet.namespace or "/"), packet.data
        if session is None:
            raise BadFrame("not_connected")
        if not isinstance(said, list) or not said or not isinstance(said[0], str):
            raise BadFrame("malformed")
        self.door.hear(session, said, packet.id)

    def _on_ack(self, connection: Connection, packet: packets.Packet) -> None:
        session = connection.sessions.get(packet.namespace or "/")
        if session is None:
            raise BadFrame("not_connected")
        if packet.id is None or not isinstance(packet.data, list):
            raise BadFrame("malformed")
        if not self.door.receipt(session, packet.id):
            connection.strike()

    def _part(self, session: Session) -> None:
        metrics.SOCKETS.labels(session.namespace).dec()
        self.door.part(session)

    def _say(self, connection: Connection, kind: int, namespace: str, body: object) -> None:
        prefix = "" if namespace == "/" else f"{namespace},"
        connection.pipe.send(text_frame(f"4{kind}{prefix}".encode() + orjson.dumps(body)))

    def _allow_origin(self, origin: str, environ: Mapping[str, Any]) -> bool:
        return self.may_enter(origin, environ.get("HTTP_HOST", ""))

    def _engineio_server_class(self) -> type[Engine]:
        return Engine
