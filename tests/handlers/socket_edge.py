"""A whole edge in this process, and a client that speaks in raw frames."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.settings import Settings
from dispatch.wire import commands
from handlers.http.framework import envelope
from handlers.sessions.auth import Tokens, UserType
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import RateLimits
from handlers.sessions.session_registry import ResumePoint, Session, SessionRegistry
from handlers.sockets.gate import (
    AudienceRoutes,
    CommandRoute,
    Gate,
    Limit,
    http_gate,
)
from handlers.transport.accept_queue import AcceptQueue
from handlers.transport.engineio_server import SocketIoServer
from handlers.transport.engineio_session import SessionTimeouts
from handlers.transport.log_filter import HTTP_SERVER_LOGGER
from ledger.dynamodb.table import TableUnavailable

SECRET = "s" * 32
WS_PATH = "/socket.io/?EIO=4&transport=websocket"
# Long enough for a busy machine; a test that waits so long has failed.
DEADLINE_S = 10.0


def settings(**changes: Any) -> Settings:
    return Settings(jwt_secret=SECRET, **changes)


@dataclass
class FakeDesk:
    """What the test's handlers keep, and how they are held up."""

    received: list[Any] = field(default_factory=list)
    joined: list[tuple[Session, ResumePoint | None]] = field(default_factory=list)
    left: list[Session] = field(default_factory=list)
    # Closed, it holds every awaiting command.
    commands_allowed: asyncio.Event = field(default_factory=asyncio.Event)
    errors: dict[str, Exception] = field(default_factory=dict)


def record_fix(desk: FakeDesk, _session: Session, fix: commands.Fix) -> object:
    desk.received.append(fix)
    if fix.seq == 13:
        raise Refused(Refusal.MALFORMED, "an unlucky number")
    if fix.seq == 14:
        raise ZeroDivisionError("the secret of the house")
    return None


async def record_order_command(
    desk: FakeDesk, session: Session, command: commands.OrderCommand
) -> object:
    await desk.commands_allowed.wait()
    desk.received.append(command.order_id)
    error = desk.errors.get(command.order_id)
    if error is not None:
        raise error
    return {"orderId": command.order_id, "by": session.principal.id}


async def return_unencodable(
    _desk: FakeDesk, _session: Session, _command: commands.SetAvailability
) -> object:
    return object()


ERRORS: dict[str, Exception] = {
    "hidden": Refused(Refusal.NOT_FOUND, "there is no such order of yours"),
    "taken": Refused(Refusal.OFFER_TAKEN, "another rider was faster"),
    "detailed": Refused(Refusal.CONFLICT, "no", {"version": 3}),
    "redis": StoreUnavailable("redis", "timeout"),
    "dynamo": TableUnavailable("deadline"),
    "bug": ZeroDivisionError("the secret of the house"),
}


@dataclass
class RunningEdge:
    """The running edge."""

    desk: FakeDesk
    clock: ManualClock
    server: SocketIoServer
    sessions: SessionRegistry
    gate: Gate
    tokens: Tokens
    url: str
    http: aiohttp.ClientSession
    http_server: web.Server
    accept_queue: AcceptQueue

    def issue_token(self, kind: UserType = "RIDER", owner: str = "rdr_1", ttl_s: int = 3600) -> str:
        return self.tokens.issue(kind, owner, ttl_s, self.clock.now_ms())

    @asynccontextmanager
    async def connect(self, **headers: str) -> AsyncIterator["RawClient"]:
        """A WebSocket after the Engine.IO handshake."""
        async with self.http.ws_connect(self.url + WS_PATH, headers=headers, max_msg_size=0) as ws:
            raw = RawClient(ws)
            opening = await raw.next_packet()
            raw.handshake = json.loads(opening[1:])
            yield raw

    @asynccontextmanager
    async def connect_rider(self, owner: str = "rdr_1", **auth: Any) -> AsyncIterator["RawClient"]:
        """A rider's socket after CONNECT."""
        async with self.connect() as raw:
            await raw.join("/rider", token=self.issue_token(owner=owner), **auth)
            yield raw


class RawClient:
    """A client that says exactly what it is told to, and answers pings."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.handshake: dict[str, Any] = {}

    async def send(self, frame: str) -> Self:
        await self.ws.send_str(frame)
        return self

    async def join(self, namespace: str, **auth: Any) -> str:
        """Say CONNECT; the answering packet."""
        await self.send(f"40{namespace},{json.dumps(auth)}")
        return await self.next_packet()

    async def next_packet(self) -> str:
        """The next packet that is no ping; `closed` at the end."""
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
        """Send a command to /rider; its acknowledgement."""
        said = json.dumps([name] if payload is None else [name, payload])
        await self.send(f"42/rider,{ack_id}{said}")
        return await self.next_ack(ack_id)

    async def next_ack(self, ack_id: int = 1) -> dict[str, Any]:
        """The acknowledgement that comes next."""
        packet = await self.next_packet()
        head = f"43/rider,{ack_id}["
        assert packet.startswith(head), packet
        return json.loads(packet[len(head) - 1 :])[0]


@asynccontextmanager
async def run_edge(
    timeouts: SessionTimeouts | None = None,
    routes: list[envelope.Route] | None = None,
    **changes: Any,
) -> AsyncIterator[RunningEdge]:
    """Serve riders and users on a free port; `changes` are settings."""
    ours, clock, desk = settings(**changes), ManualClock(), FakeDesk(errors=ERRORS)
    desk.commands_allowed.set()
    limits, tokens, sessions = RateLimits(ours), Tokens(ours), SessionRegistry(clock)
    server = SocketIoServer(ours, clock, limits, timeouts)
    gate = Gate(server, sessions, tokens, desk, _audiences(desk))
    app = web.Application(middlewares=[http_gate], client_max_size=ours.http_body_bytes_max)
    app[envelope.HTTP_EDGE] = envelope.HttpEdge(
        ours, clock, tokens, limits, AllowedOrigins(ours), TrustedProxies(ours)
    )
    envelope.register_routes(app, routes or [])
    server.serve_in(app)
    runner = web.AppRunner(app, access_log=None, logger=HTTP_SERVER_LOGGER, shutdown_timeout=1)
    await runner.setup()
    assert runner.server is not None
    porch = AcceptQueue(server.eio, runner.server)
    door = await asyncio.get_running_loop().create_server(porch, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as http:
        yield RunningEdge(
            desk, clock, server, sessions, gate, tokens, url, http, runner.server, porch
        )
        desk.commands_allowed.set()
        door.close()
        porch.close()
        await server.close_all()
        await gate.finish_commands()
    await runner.cleanup()


def _audiences(desk: FakeDesk) -> list[AudienceRoutes]:
    async def on_connect(session: Session, resume: ResumePoint | None) -> None:
        hello = f'42{session.namespace},["hello",{{"you":"{session.principal.id}"}}]'
        session.sender.send_event(hello.encode())
        desk.joined.append((session, resume))

    async def fail(_session: Session, _resume: ResumePoint | None) -> None:
        raise StoreUnavailable("redis", "timeout")

    async def on_disconnect(session: Session) -> None:
        desk.left.append(session)

    rider = {
        "location_update": CommandRoute(commands.Fix, record_fix, Limit.FIX),
        "accept_delivery": CommandRoute(commands.AcceptDelivery, record_order_command),
        "arrived_pickup": CommandRoute(commands.ArrivedPickup, record_order_command),
        "set_availability": CommandRoute(commands.SetAvailability, return_unencodable),
    }
    return [
        AudienceRoutes("rider", rider, None, on_disconnect),
        AudienceRoutes(
            "user",
            {"subscribe_order": CommandRoute(commands.SubscribeOrder, record_order_command)},
            on_connect,
        ),
        AudienceRoutes("vendor", {}, fail),
    ]
