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
from handlers.sessions.client_address import Proxies
from handlers.sessions.origins import Origins
from handlers.sessions.rate_limits import Limits
from handlers.sessions.session_registry import Resume, Session, Sessions
from handlers.sockets.gate import (
    Audience,
    Command,
    Gate,
    Limit,
    http_gate,
)
from handlers.transport.accept_queue import Porch
from handlers.transport.engineio_server import Server
from handlers.transport.engineio_session import Timings
from handlers.transport.log_filter import NO_HTTP
from ledger.dynamodb.table import TableUnavailable

SECRET = "s" * 32
WS = "/socket.io/?EIO=4&transport=websocket"
# Long enough for a busy machine; a test that waits so long has failed.
DEADLINE_S = 10.0


def settings(**changes: Any) -> Settings:
    return Settings(jwt_secret=SECRET, **changes)


@dataclass
class Desk:
    """What the test's handlers keep, and how they are held up."""

    heard: list[Any] = field(default_factory=list)
    came: list[tuple[Session, Resume | None]] = field(default_factory=list)
    went: list[Session] = field(default_factory=list)
    # Closed, it holds every awaiting command.
    door: asyncio.Event = field(default_factory=asyncio.Event)
    errors: dict[str, Exception] = field(default_factory=dict)


def take_fix(desk: Desk, _session: Session, fix: commands.Fix) -> object:
    desk.heard.append(fix)
    if fix.seq == 13:
        raise Refused(Refusal.MALFORMED, "an unlucky number")
    if fix.seq == 14:
        raise ZeroDivisionError("the secret of the house")
    return None


async def take_order(desk: Desk, session: Session, command: commands.OrderCommand) -> object:
    await desk.door.wait()
    desk.heard.append(command.order_id)
    error = desk.errors.get(command.order_id)
    if error is not None:
        raise error
    return {"orderId": command.order_id, "by": session.principal.id}


async def unanswerable(
    _desk: Desk, _session: Session, _command: commands.SetAvailability
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
class House:
    """The running edge."""

    desk: Desk
    clock: ManualClock
    server: Server
    sessions: Sessions
    gate: Gate
    tokens: Tokens
    url: str
    http: aiohttp.ClientSession
    http_server: web.Server
    porch: Porch

    def token(self, kind: UserType = "RIDER", owner: str = "rdr_1", ttl_s: int = 3600) -> str:
        return self.tokens.issue(kind, owner, ttl_s, self.clock.now_ms())

    @asynccontextmanager
    async def raw(self, **headers: str) -> AsyncIterator["Raw"]:
        """A WebSocket after the Engine.IO handshake."""
        async with self.http.ws_connect(self.url + WS, headers=headers, max_msg_size=0) as ws:
            raw = Raw(ws)
            opening = await raw.next()
            raw.opening = json.loads(opening[1:])
            yield raw

    @asynccontextmanager
    async def rider(self, owner: str = "rdr_1", **auth: Any) -> AsyncIterator["Raw"]:
        """A rider's socket after CONNECT."""
        async with self.raw() as raw:
            await raw.join("/rider", token=self.token(owner=owner), **auth)
            yield raw


class Raw:
    """A client that says exactly what it is told to, and answers pings."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.opening: dict[str, Any] = {}

    async def say(self, frame: str) -> Self:
        await self.ws.send_str(frame)
        return self

    async def join(self, namespace: str, **auth: Any) -> str:
        """Say CONNECT; the answering packet."""
        await self.say(f"40{namespace},{json.dumps(auth)}")
        return await self.next()

    async def next(self) -> str:
        """The next packet that is no ping; `closed` at the end."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = await self.ws.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return "closed"
                if message.data != "2":
                    return message.data
                await self.ws.send_str("3")

    async def ask(self, name: str, payload: object = None, ack_id: int = 1) -> dict[str, Any]:
        """Send a command to /rider; its acknowledgement."""
        said = json.dumps([name] if payload is None else [name, payload])
        await self.say(f"42/rider,{ack_id}{said}")
        return await self.answer(ack_id)

    async def answer(self, ack_id: int = 1) -> dict[str, Any]:
        """The acknowledgement that comes next."""
        packet = await self.next()
        head = f"43/rider,{ack_id}["
        assert packet.startswith(head), packet
        return json.loads(packet[len(head) - 1 :])[0]


@asynccontextmanager
async def edge(
    timings: Timings | None = None, routes: list[envelope.Route] | None = None, **changes: Any
) -> AsyncIterator[House]:
    """Serve riders and users on a free port; `changes` are settings."""
    ours, clock, desk = settings(**changes), ManualClock(), Desk(errors=ERRORS)
    desk.door.set()
    limits, tokens, sessions = Limits(ours), Tokens(ours), Sessions(clock)
    server = Server(ours, clock, limits, timings)
    gate = Gate(server, sessions, tokens, desk, _audiences(desk))
    app = web.Application(middlewares=[http_gate], client_max_size=ours.http_body_bytes_max)
    app[envelope.EDGE] = envelope.Edge(ours, clock, tokens, limits, Origins(ours), Proxies(ours))
    envelope.register(app, routes or [])
    server.serve_in(app)
    runner = web.AppRunner(app, access_log=None, logger=NO_HTTP, shutdown_timeout=1)
    await runner.setup()
    assert runner.server is not None
    porch = Porch(server.eio, runner.server)
    door = await asyncio.get_running_loop().create_server(porch, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as http:
        yield House(desk, clock, server, sessions, gate, tokens, url, http, runner.server, porch)
        desk.door.set()
        door.close()
        porch.close()
        await server.close_all()
        await gate.finish()
    await runner.cleanup()


def _audiences(desk: Desk) -> list[Audience]:
    async def on_connect(session: Session, resume: Resume | None) -> None:
        hello = f'42{session.namespace},["hello",{{"you":"{session.principal.id}"}}]'
        session.outlet.tell(hello.encode())
        desk.came.append((session, resume))

    async def fail(_session: Session, _resume: Resume | None) -> None:
        raise StoreUnavailable("redis", "timeout")

    async def on_disconnect(session: Session) -> None:
        desk.went.append(session)

    rider = {
        "location_update": Command(commands.Fix, take_fix, Limit.FIX),
        "accept_delivery": Command(commands.AcceptDelivery, take_order),
        "arrived_pickup": Command(commands.ArrivedPickup, take_order),
        "set_availability": Command(commands.SetAvailability, unanswerable),
    }
    return [
        Audience("rider", rider, None, on_disconnect),
        Audience(
            "user", {"subscribe_order": Command(commands.SubscribeOrder, take_order)}, on_connect
        ),
        Audience("vendor", {}, fail),
    ]
