"""Engine.IO session: its WebSocket or long polling, its heartbeat, its time limits and its end."""

# The library has no types.
# pyright: reportMissingTypeStubs=false

from functools import partial
from typing import Any, Protocol

import msgspec
from aiohttp import web
from engineio import exceptions

from dispatch.clock import Clock
from dispatch.settings import Settings
from handlers.sessions.rate_limits import RateLimits, TokenBucket
from handlers.sessions.session_registry import FastPathHandler, Session
from handlers.transport.close_codes import close_status
from handlers.transport.deadline_queue import DeadlineQueue
from handlers.transport.engineio_packets import (
    BINARY_MESSAGE,
    CLOSE,
    MESSAGE,
    NOOP,
    PING,
    PONG,
    BadPacket,
    EncodedPacket,
    read_posted_packets,
)
from handlers.transport.send_buffer import SendBuffer
from handlers.transport.transport_upgrade import TransportUpgrade
from handlers.websocket.frame_writer import Frame, text_frame
from handlers.websocket.handshake import upgrade_request
from handlers.websocket.read_batch import ReadBatch
from handlers.websocket.websocket import WebSocket

_PING_FRAME: Frame = text_frame(PING.encode())

# Reasons of an end that the client chose; every other reason means that the server cut it.
CLOSE_REASONS = frozenset({"client_closed", "transport_closed"})


class SessionTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits of a session. Units: seconds."""

    ping_interval_s: float = 10
    ping_timeout_s: float = 10
    # Until a connection joins a namespace. Source: SECURITY.md, row 6 of the stock stack: one that
    # joins nothing is gone within ten seconds; aborting thousands takes half a second (measured).
    connect_timeout_s: float = 9
    # Source: docs/promises.md: a client that stops reading is gone within ten seconds.
    write_timeout_s: float = 8
    # For the body of a POST, and for a whole transport upgrade. Source: chosen; no longer than a
    # silent connection may live (docs/promises.md, ten seconds).
    transfer_timeout_s: float = 10
    # For the client's half of a WebSocket's closing handshake. Source: chosen; one round trip.
    close_timeout_s: float = 2

    @classmethod
    def from_settings(cls, settings: Settings) -> "SessionTimeouts":
        """Return the defaults with the heartbeat of the settings."""
        return cls(ping_interval_s=settings.ping_interval_s, ping_timeout_s=settings.ping_timeout_s)


class SessionHost(Protocol):
    """What a session needs of its server."""

    clock: Clock
    limits: RateLimits
    timeouts: SessionTimeouts
    deadlines: "SessionDeadlines"
    read_batch: ReadBatch
    frame_bytes_max: int

    def on_message(self, connection: "EngineIoSession", text: str) -> None:
        """Handle an Engine.IO message, its type character included. Errors: BadPacket."""
        ...

    def on_session_end(self, connection: "EngineIoSession", reason: str) -> None:
        """Handle the end; called once, while the connection's sessions are still listed."""
        ...


def _no_fast_path(_text: str) -> bool:
    """Handle nothing: no joined session has commands that run at once."""
    return False


class EngineIoSession:
    """One Engine.IO session, which carries one Socket.IO session per joined namespace.

    Input is handled in the tick that read it, so packets keep their order.
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
        "end_reason",
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
        # By namespace.
        self.sessions: dict[str, Session] = {}
        self._ws: WebSocket | None = None
        self._transport_upgrade: TransportUpgrade | None = None
        self._violation_budget: TokenBucket | None = None
        # Set by the gate when a session with frequent commands joins.
        self.try_fast_path: FastPathHandler = _no_fast_path
        # CONNECT packets received.
        self.connect_count = 0
        self.is_awaiting_pong = False
        self._deadlines.next_ping.start(self)
        self._deadlines.join.start(self)
        # Read by engineio's server; `connected` means that the handshake is done.
        self.connected = True
        self.upgraded = False
        self.closed = False
        # Why it ended; empty before.
        self.end_reason = ""

    def receive(self, text: str) -> bool:
        """Handle one Engine.IO packet; a bad one ends the connection and returns False."""
        if self.closed:
            return False
        return self.try_fast_path(text) or self.run_slow_path(text)

    def run_slow_path(self, text: str) -> bool:
        """Handle a packet that the fast path does not take; returns as `receive`."""
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
            raise BadPacket("binary" if text[:1] == BINARY_MESSAGE else "malformed")

    def end(self, reason: str, *, abort: bool = False) -> None:
        """End the session and close its transport; a second call does nothing.

        With `abort` nothing more is sent and unread output is dropped.
        """
        if self.closed:
            return
        self.closed = True
        self.end_reason = reason
        self._deadlines.cancel_all(self)
        try:
            self._host.on_session_end(self, reason)
        finally:
            # Also where the host raises, the connection is freed.
            self.sessions.clear()
            self.try_fast_path = _no_fast_path
            self.send_buffer.close()
            self._close_transport(abort=abort)

    def _close_transport(self, *, abort: bool) -> None:
        if self._transport_upgrade is not None:
            self._transport_upgrade.cancel()
        if self._ws is None:
            return
        if abort:
            self._ws.abort()
        else:
            self._ws.close(self._host.timeouts.close_timeout_s, *close_status(self.end_reason))

    def count_violation(self) -> None:
        """Count a request over a limit; the connection is aborted when its budget is used up.

        No DISCONNECT is sent, so the official client may reconnect: after a long outage it sends
        its whole buffer at once.
        """
        if self._violation_budget is None:
            self._violation_budget = self._host.limits.violation_budget()
        if not self._violation_budget.take(self._host.clock.monotonic_s()):
            self.end("too_many_violations", abort=True)

    def join(self, namespace: str, session: Session) -> None:
        """Add a namespace's session; the deadline for joining ends."""
        self.sessions[namespace] = session
        self._deadlines.join.cancel(self)

    def leave(self, namespace: str) -> None:
        """Remove a namespace's session; without any left the deadline for joining restarts."""
        self.sessions.pop(namespace, None)
        self.try_fast_path = _no_fast_path
        if not self.sessions and not self.closed:
            self._deadlines.join.start(self)

    def attach_websocket(self, ws: WebSocket) -> None:
        """Read from and write to a WebSocket from now on."""
        self._ws = ws
        self.upgraded = True
        ws.on_text = self.receive
        ws.on_end = self.end
        ws.on_overhead_frame = self.count_violation
        self.send_buffer.attach_transport(ws)

    async def wait_closed(self) -> None:
        """Wait until the WebSocket of an ended session is closed."""
        if self._ws is not None:
            await self._ws.wait_closed()

    # Long polling; called by engineio's server.

    async def handle_get_request(
        self, environ: dict[str, Any]
    ) -> web.Response | list[EncodedPacket]:
        """Answer a poll, or start a transport upgrade. Errors: QueueEmpty as `poll`."""
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return self._start_upgrade(environ["aiohttp.request"])
        if self.upgrading:
            return [EncodedPacket(NOOP)]
        return await self.poll()

    async def poll(self) -> list[EncodedPacket]:
        """Wait for packets and take all. Errors: QueueEmpty where another poll is waiting."""
        if self.send_buffer.is_polled:
            self.end("concurrent_poll")
            raise exceptions.QueueEmpty
        payloads = await self.send_buffer.poll()
        if self.closed:
            return [EncodedPacket(CLOSE)]
        return [EncodedPacket(payload.decode()) for payload in payloads] or [EncodedPacket(NOOP)]

    async def read_post(self, request: web.Request) -> list[str] | None:
        """Read the packets of a POST; None where the body is bad and the session has ended."""
        host = self._host
        try:
            return await read_posted_packets(
                request, host.frame_bytes_max, host.timeouts.transfer_timeout_s
            )
        except BadPacket as bad:
            self.end(bad.reason)
            return None

    async def close(self, **_kwargs: Any) -> None:
        """End the session; engineio's server calls it when it gives up on a request."""
        self.end("transport_closed")

    # Transport upgrade.

    def _start_upgrade(self, request: web.Request) -> web.Response:
        """Open a WebSocket beside the polls, to be probed."""
        if self.upgrading:
            return web.Response(status=400, text='"Another upgrade is in progress"')
        ws = WebSocket(self._host.frame_bytes_max, self._host.read_batch)
        return upgrade_request(request, ws, partial(self._probe, ws))

    def _probe(self, ws: WebSocket, tail: bytes) -> None:
        self._transport_upgrade = TransportUpgrade(ws, self, self._host.timeouts.transfer_timeout_s)
        ws.consume(tail)

    @property
    def upgrading(self) -> bool:
        """Whether a transport upgrade is in progress; read by engineio's server."""
        return self._transport_upgrade is not None

    def on_probed(self) -> None:
        """End the waiting poll: the WebSocket works."""
        self.send_buffer.release_poll()

    def on_upgraded(self, ws: WebSocket) -> None:
        """Use the WebSocket from now on."""
        self._transport_upgrade = None
        self.attach_websocket(ws)

    def on_upgrade_failed(self) -> None:
        """Keep polling."""
        self._transport_upgrade = None

    # Heartbeat and time limits.

    def ping(self) -> None:
        """Send a ping and start the deadline for its pong."""
        self.is_awaiting_pong = True
        self.send_buffer.send(_PING_FRAME)
        self._deadlines.pong.start(self)

    def _on_pong(self) -> None:
        if not self.is_awaiting_pong:
            self.count_violation()
            return
        self.is_awaiting_pong = False
        for session in self.sessions.values():
            session.on_activity()
        self._deadlines.pong.cancel(self)
        self._deadlines.next_ping.start(self)

    def on_ping_timeout(self) -> None:
        """Abort a connection that has not answered a ping in time."""
        self.end("ping_timeout", abort=True)

    def on_connect_timeout(self) -> None:
        """Abort a connection that has not joined a namespace in time."""
        self.end("connect_timeout", abort=True)

    def _on_slow_reader(self) -> None:
        self.end("slow_reader", abort=True)


class SessionDeadlines:
    """Deadlines of all sessions of a server, a queue for each kind."""

    def __init__(self, timeouts: SessionTimeouts) -> None:
        self.next_ping = DeadlineQueue(timeouts.ping_interval_s, EngineIoSession.ping)
        self.pong = DeadlineQueue(timeouts.ping_timeout_s, EngineIoSession.on_ping_timeout)
        self.join = DeadlineQueue(timeouts.connect_timeout_s, EngineIoSession.on_connect_timeout)

    def cancel_all(self, connection: EngineIoSession) -> None:
        """Cancel all deadlines of a session."""
        self.next_ping.cancel(connection)
        self.pong.cancel(connection)
        self.join.cancel(connection)
