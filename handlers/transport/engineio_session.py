"""One Engine.IO session: its WebSocket or its polls, its heartbeat, and its end."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aiohttp import web
from engineio import exceptions

from dispatch.clock import Clock
from dispatch.settings import Settings
from handlers.sessions.rate_limits import RateLimits, TokenBucket
from handlers.transport.deadline_queue import DeadlineQueue
from handlers.transport.read_batch import ReadBatch
from handlers.transport.send_buffer import Frame, SendBuffer, text_frame
from handlers.transport.transport_upgrade import TransportUpgrade
from handlers.transport.upgrade import BadUpgrade, switch_protocol
from handlers.transport.websocket import WebSocket

if TYPE_CHECKING:
    from handlers.sessions.session_registry import Session

# Source: Engine.IO protocol version 4, packet types.
OPEN, CLOSE, PING, PONG, MESSAGE, _UPGRADE, NOOP = "0123456"
_SEPARATOR = "\x1e"
_PING_FRAME: Frame = text_frame(PING.encode())

# How a connection may end without anybody having cut it.
CLOSE_REASONS = frozenset({"client_closed", "client_left", "transport_closed"})


class SessionTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long a connection may keep us waiting. Units: seconds."""

    ping_interval_s: float = 10
    ping_timeout_s: float = 10
    # Source: reliability design, hole 6: whoever joins no namespace is gone within ten seconds, the
    # last of thousands too; measured, their ends take half a second.
    connect_timeout_s: float = 9
    # Source: promises, a stuck reader is gone within ten seconds.
    write_timeout_s: float = 8
    # For the body of a poll's POST, and from the wish for a WebSocket to its last handshake frame.
    transfer_timeout_s: float = 10
    # For the peer's half of a WebSocket's closing handshake.
    close_timeout_s: float = 2

    @classmethod
    def from_settings(cls, settings: Settings) -> "SessionTimeouts":
        """The timings an operator has set."""
        return cls(ping_interval_s=settings.ping_interval_s, ping_timeout_s=settings.ping_timeout_s)


class BadPacket(Exception):
    """A frame outside of the protocol; its connection ends at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SessionHost(Protocol):
    """What a connection asks of its server."""

    clock: Clock
    limits: RateLimits
    timeouts: SessionTimeouts
    deadlines: "SessionDeadlines"
    read_batch: ReadBatch
    frame_bytes_max: int

    def on_message(self, connection: "EngineIoSession", text: str) -> None:
        """One Engine.IO message, type and all. Errors: BadFrame."""
        ...

    def on_session_end(self, connection: "EngineIoSession", reason: str) -> None:
        """The connection is over; called once, while its sessions are still there."""
        ...


class _EncodedPacket:
    """An encoded packet in the shape the library's polling wants."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def encode(self, *, b64: bool = False) -> str:
        """The packet; there is no binary in it."""
        _ = b64
        return self._text


def _no_fast_path(_text: str) -> bool:
    """Before there is a session with frequent commands, and after it."""
    return False


class EngineIoSession:
    """One Engine.IO session.

    Everything that is heard is handled in the reader's own step, so frames keep their order.
    """

    __slots__ = (
        "__weakref__",
        "_deadlines",
        "_host",
        "_transport_upgrade",
        "_violation_budget",
        "_ws",
        "address",
        "closed",
        "connect_count",
        "connected",
        "is_awaiting_pong",
        "send_buffer",
        "sessions",
        "sid",
        "try_fast_path",
        "upgraded",
    )  # fmt: skip

    def __init__(self, host: SessionHost, sid: str, address: str) -> None:
        self._host = host
        self._deadlines = host.deadlines
        self.sid = sid
        self.address = address
        self.send_buffer = SendBuffer(
            self._on_slow_reader, host.timeouts.write_timeout_s, host.read_batch
        )
        # At most one session per namespace.
        self.sessions: dict[str, Session] = {}
        self._ws: WebSocket | None = None
        self._transport_upgrade: TransportUpgrade | None = None
        self._violation_budget: TokenBucket | None = None
        # Takes a frequent command whole, and says whether it did; set by the door.
        self.try_fast_path: Callable[[str], bool] = _no_fast_path
        # CONNECT packets it has sent.
        self.connect_count = 0
        self.is_awaiting_pong = False
        self._deadlines.next_ping.start(self)
        self._deadlines.join.start(self)
        # Read by the library's server; `connected` means that the handshake is done.
        self.connected = True
        self.upgraded = False
        self.closed = False

    def receive(self, text: str) -> bool:
        """Handle one Engine.IO packet; a bad one ends the connection and gives False."""
        if self.closed:
            return False
        return self.try_fast_path(text) or self.run_slow_path(text)

    def run_slow_path(self, text: str) -> bool:
        """The same for what is no frequent command in its usual form."""
        try:
            self._handle_packet(text)
        except BadPacket as bad:
            self.end(bad.reason)
            return False
        return True

    def _handle_packet(self, text: str) -> None:
        if text[:1] == MESSAGE:
            self._host.on_message(self, text)
        elif text == PONG:
            self._on_pong()
        elif text == CLOSE:
            self.end("client_closed")
        else:
            raise BadPacket("malformed")

    def end(self, reason: str, *, abort: bool = False) -> None:
        """End the session and close its transport; the second call does nothing.

        With `abort` nothing more is sent, and what the peer has not read is thrown away.
        """
        if self.closed:
            return
        self.closed = True
        self._deadlines.cancel_all(self)
        try:
            self._host.on_session_end(self, reason)
        finally:
            # Whatever the host does, nothing is left of the connection.
            self.sessions.clear()
            self.try_fast_path = _no_fast_path
            self.send_buffer.close()
            self._close_transport(abort=abort)

    def count_violation(self) -> None:
        """Count one request over the limits; a connection that goes on and on is cut.

        It may come back: the official client empties the buffer of a long outage all at once.
        """
        if self._violation_budget is None:
            self._violation_budget = self._host.limits.violation_budget()
        if not self._violation_budget.take(self._host.clock.monotonic_s()):
            self.end("flood", abort=True)

    def join(self, namespace: str, session: "Session") -> None:
        """Add a session; the connection has shown what it is for."""
        self.sessions[namespace] = session
        self._deadlines.join.cancel(self)

    def leave(self, namespace: str) -> None:
        """Remove a session; one without any has its time to join again."""
        self.sessions.pop(namespace, None)
        self.try_fast_path = _no_fast_path
        if not self.sessions and not self.closed:
            self._deadlines.join.start(self)

    def attach_websocket(self, ws: WebSocket) -> None:
        """From now on talk over a WebSocket."""
        self._ws = ws
        self.upgraded = True
        ws.on_text = self.receive
        ws.on_end = self.end
        ws.on_overhead_frame = self.count_violation
        self.send_buffer.attach_transport(ws)

    # What the library's server calls.

    async def handle_get_request(self, environ: dict[str, Any]) -> Any:
        """Answer a poll, or make a WebSocket of it."""
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return self._start_upgrade(environ["aiohttp.request"])
        if self.upgrading:
            return [_EncodedPacket(NOOP)]
        return await self.poll()

    async def poll(self) -> list[_EncodedPacket]:
        """Everything there is to tell. Errors: QueueEmpty where another poll waits already."""
        if self.send_buffer.is_polled:
            self.end("concurrent_poll")
            raise exceptions.QueueEmpty
        payloads = await self.send_buffer.poll()
        if self.closed:
            return [_EncodedPacket(CLOSE)]
        return [_EncodedPacket(payload.decode()) for payload in payloads] or [_EncodedPacket(NOOP)]

    async def close(self, **_kwargs: Any) -> None:
        """End the session on the library's wish."""
        self.end("transport_closed")

    def _start_upgrade(self, request: web.Request) -> web.Response:
        """Try a WebSocket beside the polls."""
        if self.upgrading:
            return web.Response(status=400, text='"Upgrade runs already"')
        ws = WebSocket(self._host.frame_bytes_max, self._host.read_batch)
        try:
            beyond = switch_protocol(request, ws)
        except BadUpgrade as refused:
            return web.Response(status=400, text=f'"{refused}"')
        except ConnectionError:
            # It has gone; the polls go on.
            return web.Response(status=400)
        self._transport_upgrade = TransportUpgrade(ws, self, self._host.timeouts.transfer_timeout_s)
        ws.consume(beyond)
        return web.Response()

    @property
    def upgrading(self) -> bool:
        """Whether a WebSocket is being tried."""
        return self._transport_upgrade is not None

    def on_probed(self) -> None:
        """The WebSocket works: the poll that waits lets go."""
        self.send_buffer.release_poll()

    def on_upgraded(self, ws: WebSocket) -> None:
        """The client has moved to the WebSocket."""
        self._transport_upgrade = None
        self.attach_websocket(ws)

    def on_upgrade_failed(self) -> None:
        """The client goes on polling."""
        self._transport_upgrade = None

    async def read_post(self, request: web.Request) -> list[str] | None:
        """The packets of a POST; None where it is too long, too slow or not text."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._host.timeouts.transfer_timeout_s):
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

    async def wait_closed(self) -> None:
        """Wait until the WebSocket of a session that was ended is gone."""
        if self._ws is not None:
            await self._ws.wait_closed()

    # Time.

    def on_connect_timeout(self) -> None:
        """It has joined no namespace in its time."""
        self.end("no_connect", abort=True)

    def ping(self) -> None:
        """Ask whether anybody is there."""
        self.is_awaiting_pong = True
        self.send_buffer.send(_PING_FRAME)
        self._deadlines.pong.start(self)

    def _on_pong(self) -> None:
        if not self.is_awaiting_pong:
            self.count_violation()
            return
        self.is_awaiting_pong = False
        self._deadlines.pong.cancel(self)
        self._deadlines.next_ping.start(self)

    def on_ping_timeout(self) -> None:
        """It has not answered a ping in its time."""
        self.end("ping_timeout", abort=True)

    def _on_slow_reader(self) -> None:
        self.end("slow_reader", abort=True)

    # The end.

    def _close_transport(self, *, abort: bool) -> None:
        if self._transport_upgrade is not None:
            self._transport_upgrade.cancel()
        if self._ws is None:
            return
        if abort:
            self._ws.abort()
        else:
            self._ws.close(self._host.timeouts.close_timeout_s)


class SessionDeadlines:
    """What the connections of a server wait for."""

    def __init__(self, timeouts: SessionTimeouts) -> None:
        self.next_ping = DeadlineQueue(timeouts.ping_interval_s, EngineIoSession.ping)
        self.pong = DeadlineQueue(timeouts.ping_timeout_s, EngineIoSession.on_ping_timeout)
        self.join = DeadlineQueue(timeouts.connect_timeout_s, EngineIoSession.on_connect_timeout)

    def cancel_all(self, connection: EngineIoSession) -> None:
        """It waits for nothing more."""
        self.next_ping.cancel(connection)
        self.pong.cancel(connection)
        self.join.cancel(connection)
