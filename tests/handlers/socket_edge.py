"""The socket and HTTP edge in this process, and a client that sends raw Socket.IO packets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web
from prometheus_client import REGISTRY
from yarl import URL

from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.settings import Settings
from dispatch.wire import commands
from dispatch.wire.phones import PhoneNumbers
from handlers.http.framework import envelope
from handlers.http.framework.middleware import http_gate
from handlers.refusals import NOT_FOUND_S_MIN
from handlers.sessions.auth import Principal, Tokens, UserType
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import RateLimits
from handlers.sessions.session_registry import ResumePoint, Session, SessionRegistry
from handlers.sockets.admission import Admission
from handlers.sockets.command_routes import AudienceRoutes, fix_route, route
from handlers.sockets.command_runner import CommandRunner
from handlers.sockets.gate import Gate
from handlers.transport.accept_queue import AcceptQueue
from handlers.transport.engineio_session import SessionTimeouts
from handlers.transport.http_connection import HttpServer, open_http_server
from handlers.transport.load_shedding import LoadShedder
from handlers.transport.socketio_server import SocketIoServer
from ledger.dynamodb.table import TableUnavailable

SECRET = "s" * 32
WS_PATH = "/socket.io/?EIO=4&transport=websocket"
# Not the official clients' form: the accept queue leaves it to the HTTP server.
HTTP_SERVER_WS_PATH = f"{WS_PATH}&t=1"
POLL_PATH = "/socket.io/?EIO=4&transport=polling"
# Source: the example of RFC 6455 section 1.2.
UPGRADE_HEADERS = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
# Long enough for a busy machine; a test that waits so long has failed.
DEADLINE_S = 10.0


def settings(**changes: Any) -> Settings:
    return Settings(jwt_secret=SECRET, **changes)


def metric_value(name: str, /, **labels: str) -> float:
    """Read a metric of this process; 0 before its first value."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def upgrade_request_bytes(path: str = WS_PATH, *more_headers: str) -> bytes:
    """Encode a request for a WebSocket, with more header lines where there are any."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: x",
        *(f"{name}: {value}" for name, value in UPGRADE_HEADERS.items()),
        *more_headers,
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


@dataclass
class FakeContext:
    """Records what the test's command handlers receive, and can block or fail them."""

    received: list[Any] = field(default_factory=list)
    joined: list[tuple[Session, ResumePoint | None]] = field(default_factory=list)
    left: list[Session] = field(default_factory=list)
    # Cleared, it blocks every awaiting command.
    commands_allowed: asyncio.Event = field(default_factory=asyncio.Event)
    errors: dict[str, Exception] = field(default_factory=dict)


def record_fix(context: FakeContext, _session: Session, fix: commands.Fix) -> None:
    context.received.append(fix)
    if fix.seq == 13:
        raise Refused(Refusal.MALFORMED, "13 is refused")
    if fix.seq == 14:
        raise ZeroDivisionError("an internal detail")


def count_fixes(
    _context: FakeContext, _session: Session, command: commands.LocationBatch
) -> dict[str, int]:
    return {"fixes": len(command.fixes)}


async def record_order_command(
    context: FakeContext, session: Session, command: commands.OrderCommand
) -> dict[str, str]:
    await context.commands_allowed.wait()
    context.received.append(command.order_id)
    error = context.errors.get(command.order_id)
    if error is not None:
        raise error
    return {"orderId": command.order_id, "by": session.principal.id}


async def return_unencodable(
    _context: FakeContext, _session: Session, _command: commands.SetAvailability
) -> Any:
    return object()


ERRORS: dict[str, Exception] = {
    "hidden": Refused(Refusal.NOT_FOUND, "there is no such order of yours"),
    "taken": Refused(Refusal.OFFER_TAKEN, "another rider was faster"),
    "detailed": Refused(Refusal.CONFLICT, "no", {"version": 3}),
    "redis": StoreUnavailable("redis", "timeout"),
    "dynamo": TableUnavailable("deadline"),
    "bug": ZeroDivisionError("an internal detail"),
}


@dataclass
class RunningEdge:
    """A running edge with its parts."""

    context: FakeContext
    clock: ManualClock
    server: SocketIoServer
    sessions: SessionRegistry
    gate: Gate
    tokens: Tokens
    url: str
    http: aiohttp.ClientSession
    http_server: HttpServer
    accept_queue: AcceptQueue

    def issue_token(self, kind: UserType = "RIDER", owner: str = "rdr_1", ttl_s: int = 3600) -> str:
        return self.tokens.issue(kind, owner, ttl_s, self.clock.now_ms())

    async def open_tcp(
        self, data: bytes, read_limit: int = 2**16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a TCP connection and send bytes; the reader keeps at most twice `read_limit`."""
        url = URL(self.url)
        reader, writer = await asyncio.open_connection(url.host, url.port, limit=read_limit)
        writer.write(data)
        return reader, writer

    async def open_polling_session(self) -> tuple[str, dict[str, Any]]:
        """Open a session over long polling; returns its URL and the Engine.IO handshake."""
        async with self.http.get(self.url + POLL_PATH) as response:
            handshake = json.loads((await response.text())[1:])
        return f"{self.url}{POLL_PATH}&sid={handshake['sid']}", handshake

    @asynccontextmanager
    async def connect(self, **headers: str) -> AsyncIterator["RawClient"]:
        """Open a WebSocket; the Engine.IO handshake has been received."""
        async with self.http.ws_connect(self.url + WS_PATH, headers=headers, max_msg_size=0) as ws:
            raw = RawClient(ws)
            handshake = await raw.next_packet()
            raw.handshake = json.loads(handshake[1:])
            yield raw

    @asynccontextmanager
    async def connect_rider(self, owner: str = "rdr_1", **auth: Any) -> AsyncIterator["RawClient"]:
        """Open a rider's socket; CONNECT has been answered."""
        async with self.connect() as raw:
            await raw.join("/rider", token=self.issue_token(owner=owner), **auth)
            yield raw


class RawClient:
    """A client that sends exactly the given packets, and answers pings."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.handshake: dict[str, Any] = {}

    async def send(self, frame: str) -> Self:
        await self.ws.send_str(frame)
        return self

    async def join(self, namespace: str, **auth: Any) -> str:
        """Send CONNECT; returns the answering packet."""
        await self.send(f"40{namespace},{json.dumps(auth)}")
        return await self.next_packet()

    async def next_packet(self) -> str:
        """Receive the next packet other than a ping; `closed` at the end."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = await self.ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return "closed"
                if message.data != "2":
                    return message.data
                await self.ws.send_str("3")

    async def send_command(
        self, name: str, payload: object = None, ack_id: int = 1
    ) -> dict[str, Any]:
        """Send a command to /rider; returns its acknowledgement."""
        event = json.dumps([name] if payload is None else [name, payload])
        await self.send(f"42/rider,{ack_id}{event}")
        return await self.next_ack(ack_id)

    async def next_ack(self, ack_id: int = 1) -> dict[str, Any]:
        """Receive an acknowledgement, which must be the next packet."""
        packet = await self.next_packet()
        head = f"43/rider,{ack_id}["
        assert packet.startswith(head), packet
        return json.loads(packet[len(head) - 1 :])[0]


@asynccontextmanager
async def run_edge(
    timeouts: SessionTimeouts | None = None,
    routes: list[envelope.Route] | None = None,
    is_revoked: Callable[[Principal], bool] = lambda _principal: False,
    not_found_s_min: float = NOT_FOUND_S_MIN,
    **changes: Any,
) -> AsyncIterator[RunningEdge]:
    """Serve riders and users on a free port; `changes` are settings."""
    edge_settings, clock, context = settings(**changes), ManualClock(), FakeContext(errors=ERRORS)
    context.commands_allowed.set()
    limits, tokens = RateLimits(edge_settings), Tokens(edge_settings, is_revoked)
    sessions = SessionRegistry(clock, expiry_check_every_s=0.01)
    server = SocketIoServer(edge_settings, clock, limits, timeouts)
    gate = Gate(
        Admission(server, tokens),
        sessions,
        _audiences(context),
        CommandRunner(clock, not_found_s_min, warns=edge_settings.dev),
        LoadShedder(clock),
    )
    server.namespace_handler = gate
    app = web.Application(
        middlewares=[http_gate], client_max_size=edge_settings.http_body_bytes_max
    )
    app[envelope.HTTP_EDGE] = envelope.HttpEdge(
        clock,
        tokens,
        limits,
        AllowedOrigins(edge_settings),
        TrustedProxies(edge_settings),
        PhoneNumbers(edge_settings.phone_region),
        warns=edge_settings.dev,
    )
    envelope.register_routes(app, routes or [])
    server.serve_in(app)
    http_server = await open_http_server(app, app[envelope.HTTP_EDGE].faults)
    accept_queue = AcceptQueue(server.eio, http_server)
    listener = await asyncio.get_running_loop().create_server(accept_queue, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as http:
        yield RunningEdge(
            context, clock, server, sessions, gate, tokens, url, http, http_server, accept_queue
        )
        context.commands_allowed.set()
        listener.close()
        accept_queue.close()
        await server.close_all()
        await gate.finish_commands()
    await http_server.close()


def _audiences(context: FakeContext) -> list[AudienceRoutes[FakeContext]]:
    async def on_connect(session: Session, resume: ResumePoint | None) -> None:
        hello = f'42{session.namespace},["hello",{{"you":"{session.principal.id}"}}]'
        session.sender.send_event(hello.encode())
        context.joined.append((session, resume))

    async def fail(_session: Session, _resume: ResumePoint | None) -> None:
        raise StoreUnavailable("redis", "timeout")

    async def on_disconnect(session: Session) -> None:
        context.left.append(session)

    rider = {
        "location_update": fix_route(record_fix),
        "location_batch": route(commands.LocationBatch, count_fixes),
        "accept_delivery": route(commands.AcceptDelivery, record_order_command),
        "arrived_pickup": route(commands.ArrivedPickup, record_order_command),
        "set_availability": route(commands.SetAvailability, return_unencodable),
    }
    user = {"subscribe_order": route(commands.SubscribeOrder, record_order_command)}
    return [
        AudienceRoutes("rider", context, rider, None, on_disconnect),
        AudienceRoutes("user", context, user, on_connect),
        AudienceRoutes("vendor", context, {}, fail),
    ]
