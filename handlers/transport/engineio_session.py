"""One Engine.IO session: its WebSocket or its polls, its heartbeat, and its end."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aiohttp import web
from engineio import exceptions

from dispatch.clock import Clock
from dispatch.settings import Settings
from handlers.sessions.rate_limits import Bucket, Limits
from handlers.transport.deadline_queue import Deadlines
from handlers.transport.read_batch import Turn
from handlers.transport.send_buffer import Frame, Pipe, text_frame
from handlers.transport.transport_upgrade import Probe
from handlers.transport.upgrade import NoHandshake, take_over
from handlers.transport.websocket import WebSocket

if TYPE_CHECKING:
    from handlers.sessions.session_registry import Session

# Source: Engine.IO protocol version 4, packet types.
OPEN, CLOSE, PING, PONG, MESSAGE, _UPGRADE, NOOP = "0123456"
_SEPARATOR = "\x1e"
_PING: Frame = text_frame(PING.encode())

# How a connection may end without anybody having cut it.
PARTINGS = frozenset({"client_closed", "client_left", "transport_closed"})


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """How long a connection may keep us waiting. Units: seconds."""

    ping_interval_s: float = 10
    ping_timeout_s: float = 10
    # Source: reliability design, hole 6: whoever joins no namespace is gone within ten seconds, the
    # last of thousands too; measured, their ends take half a second.
    connect_s: float = 9
    # Source: promises, a stuck reader is gone within ten seconds.
    stuck_s: float = 8
    # For the body of a poll's POST, and from the wish for a WebSocket to its last handshake frame.
    transfer_s: float = 10
    # For the peer's half of a WebSocket's closing handshake.
    close_s: float = 2

    @classmethod
    def of(cls, settings: Settings) -> "Timings":
        """The timings an operator has set."""
        return cls(ping_interval_s=settings.ping_interval_s, ping_timeout_s=settings.ping_timeout_s)


class BadFrame(Exception):
    """A frame outside of the protocol; its connection ends at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Host(Protocol):
    """What a connection asks of its server."""

    clock: Clock
    limits: Limits
    timings: Timings
    waits: "Waits"
    turn: Turn
    frame_bytes_max: int

    def heard(self, connection: "Connection", text: str) -> None:
        """One Engine.IO message, type and all. Errors: BadFrame."""
        ...

    def ended(self, connection: "Connection", reason: str) -> None:
        """The connection is over; called once, while its sessions are still there."""
        ...


class _Encoded:
    """An encoded packet in the shape the library's polling wants."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def encode(self, *, b64: bool = False) -> str:
        """The packet; there is no binary in it."""
        _ = b64
        return self._text


def _hear_nothing(_text: str) -> bool:
    """Before there is a session with frequent commands, and after it."""
    return False


class Connection:
    """One Engine.IO session.

    Everything that is heard is handled in the reader's own step, so frames keep their order.
    """

    __slots__ = (
        "__weakref__", "_host", "_patience", "_probe", "_waits", "_ws", "address", "closed",
        "connected", "connects", "hear_quickly", "is_pinged", "pipe", "sessions", "sid", "upgraded",
    )  # fmt: skip

    def __init__(self, host: Host, sid: str, address: str) -> None:
        self._host = host
        self._waits = host.waits
        self.sid = sid
        self.address = address
        self.pipe = Pipe(self._on_slow_reader, host.timings.stuck_s, host.turn)
        # At most one session per namespace.
        self.sessions: dict[str, Session] = {}
        self._ws: WebSocket | None = None
        self._probe: Probe | None = None
        self._patience: Bucket | None = None
        # Takes a frequent command whole, and says whether it did; set by the door.
        self.hear_quickly: Callable[[str], bool] = _hear_nothing
        # CONNECT packets it has sent.
        self.connects = 0
        self.is_pinged = False
        self._waits.to_be_pinged.begin(self)
        self._waits.for_a_session.begin(self)
        # Read by the library's server; `connected` means that the handshake is done.
        self.connected = True
        self.upgraded = False
        self.closed = False

    def receive(self, text: str) -> bool:
        """Handle one Engine.IO packet; a bad one ends the connection and gives False."""
        if self.closed:
            return False
        return self.hear_quickly(text) or self.hear_slowly(text)

    def hear_slowly(self, text: str) -> bool:
        """The same for what is no frequent command in its usual form."""
        try:
            self._take(text)
        except BadFrame as bad:
            self.end(bad.reason)
            return False
        return True

    def _take(self, text: str) -> None:
        if text[:1] == MESSAGE:
            self._host.heard(self, text)
        elif text == PONG:
            self._on_pong()
        elif text == CLOSE:
            self.end("client_closed")
        else:
            raise BadFrame("malformed")

    def end(self, reason: str, *, abort: bool = False) -> None:
        """End the session and close its transport; the second call does nothing.

        With `abort` nothing more is sent, and what the peer has not read is thrown away.
        """
        if self.closed:
            return
        self.closed = True
        self._waits.forget(self)
        try:
            self._host.ended(self, reason)
        finally:
            # Whatever the host does, nothing is left of the connection.
            self.sessions.clear()
            self.hear_quickly = _hear_nothing
            self.pipe.close()
            self._close_transport(abort=abort)

    def strike(self) -> None:
        """Count one request over the limits; a connection that goes on and on is cut.

        It may come back: the official client empties the buffer of a long outage all at once.
        """
        if self._patience is None:
            self._patience = self._host.limits.patience()
        if not self._patience.take(self._host.clock.monotonic_s()):
            self.end("flood", abort=True)

    def join(self, namespace: str, session: "Session") -> None:
        """Add a session; the connection has shown what it is for."""
        self.sessions[namespace] = session
        self._waits.for_a_session.end(self)

    def leave(self, namespace: str) -> None:
        """Remove a session; one without any has its time to join again."""
        self.sessions.pop(namespace, None)
        self.hear_quickly = _hear_nothing
        if not self.sessions and not self.closed:
            self._waits.for_a_session.begin(self)

    def open(self, ws: WebSocket) -> None:
        """From now on talk over a WebSocket."""
        self._ws = ws
        self.upgraded = True
        ws.hear = self.receive
        ws.ended = self.end
        ws.overheard = self.strike
        self.pipe.open(ws)

    # What the library's server calls.

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        """Answer a poll, or make a WebSocket of it."""
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return self._upgrade(environ["aiohttp.request"])
        if self.upgrading:
            return [_Encoded(NOOP)]
        return await self.poll()

    async def poll(self) -> list[_Encoded]:
        """Everything there is to tell. Errors: QueueEmpty where another poll waits already."""
        if self.pipe.is_polled:
            self.end("concurrent_poll")
            raise exceptions.QueueEmpty
        payloads = await self.pipe.poll()
        if self.closed:
            return [_Encoded(CLOSE)]
        return [_Encoded(payload.decode()) for payload in payloads] or [_Encoded(NOOP)]

    async def close(self, **_kwargs: Any) -> None:
        """End the session on the library's wish."""
        self.end("transport_closed")

    def _upgrade(self, request: web.Request) -> web.Response:
        """Try a WebSocket beside the polls."""
        if self.upgrading:
            return web.Response(status=400, text='"Upgrade runs already"')
        ws = WebSocket(self._host.frame_bytes_max, self._host.turn)
        try:
            beyond = take_over(request, ws)
        except NoHandshake as refused:
            return web.Response(status=400, text=f'"{refused}"')
        except ConnectionError:
            # It has gone; the polls go on.
            return web.Response(status=400)
        self._probe = Probe(ws, self, self._host.timings.transfer_s)
        ws.read(beyond)
        return web.Response()

    @property
    def upgrading(self) -> bool:
        """Whether a WebSocket is being tried."""
        return self._probe is not None

    def answered(self) -> None:
        """The WebSocket works: the poll that waits lets go."""
        self.pipe.release()

    def move(self, ws: WebSocket) -> None:
        """The client has moved to the WebSocket."""
        self._probe = None
        self.open(ws)

    def stay(self) -> None:
        """The client goes on polling."""
        self._probe = None

    async def read_post(self, request: web.Request) -> list[str] | None:
        """The packets of a POST; None where it is too long, too slow or not text."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._host.timings.transfer_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > self._host.frame_bytes_max:
                        self.end("oversized")
                        return None
            return body.decode().split(_SEPARATOR)
        except TimeoutError:
            self.end("slow_sender")
        except UnicodeDecodeError:
            self.end("malformed")
        return None

    async def gone(self) -> None:
        """Wait until the WebSocket of a session that was ended is gone."""
        if self._ws is not None:
            await self._ws.gone()

    # Time.

    def cut_silent(self) -> None:
        """It has joined no namespace in its time."""
        self.end("no_connect", abort=True)

    def ping(self) -> None:
        """Ask whether anybody is there."""
        self.is_pinged = True
        self.pipe.send(_PING)
        self._waits.for_a_pong.begin(self)

    def _on_pong(self) -> None:
        if not self.is_pinged:
            self.strike()
            return
        self.is_pinged = False
        self._waits.for_a_pong.end(self)
        self._waits.to_be_pinged.begin(self)

    def cut_dead(self) -> None:
        """It has not answered a ping in its time."""
        self.end("ping_timeout", abort=True)

    def _on_slow_reader(self) -> None:
        self.end("slow_reader", abort=True)

    # The end.

    def _close_transport(self, *, abort: bool) -> None:
        if self._probe is not None:
            self._probe.give_up()
        if self._ws is None:
            return
        if abort:
            self._ws.abort()
        else:
            self._ws.close(self._host.timings.close_s)


class Waits:
    """What the connections of a server wait for."""

    def __init__(self, timings: Timings) -> None:
        self.to_be_pinged = Deadlines(timings.ping_interval_s, Connection.ping)
        self.for_a_pong = Deadlines(timings.ping_timeout_s, Connection.cut_dead)
        self.for_a_session = Deadlines(timings.connect_s, Connection.cut_silent)

    def forget(self, connection: Connection) -> None:
        """It waits for nothing more."""
        self.to_be_pinged.end(connection)
        self.for_a_pong.end(connection)
        self.for_a_session.end(connection)
