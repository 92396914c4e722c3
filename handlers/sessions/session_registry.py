"""Session registry: the connected sockets of this process, by socket id and by identity."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from math import inf
from typing import Any, Protocol

import msgspec

from dispatch.clock import Clock
from dispatch.keys import Identity
from dispatch.wire.frames import encode_disconnect
from handlers.sessions.auth import Principal
from handlers.sessions.rate_limits import RateLimits

# Sockets of one identity in one namespace. Source: chosen; a phone, a tablet, a browser, and two
# that a bad network has left behind.
SOCKETS_PER_IDENTITY_MAX = 5
# Source: `docs/promises.md`, a socket is closed at most five seconds after its token expires.
EXPIRY_CHECK_EVERY_S = 1.0

Job = Callable[[], Awaitable[None]]


class ResumePoint(msgspec.Struct, frozen=True):
    """The last durable event that a client has seen; an impossible one is answered by `resync`."""

    epoch: str
    seq: int


class FastPathHandler(Protocol):
    """Handles a frequent command completely and returns True, or changes nothing."""

    def __call__(self, text: str, /) -> bool:
        """Handle one packet; False leaves it to the slow path."""
        ...


class SocketConnection(Protocol):
    """Connection that carries a session; implemented by `EngineIoSession`."""

    closed: bool
    try_fast_path: FastPathHandler

    def run_slow_path(self, text: str) -> bool:
        """Handle a packet that the fast path does not take; a bad one returns False."""
        ...

    def count_violation(self) -> None:
        """Count a request over a limit; too many abort the connection."""
        ...

    def end(self, reason: str, *, abort: bool = False) -> None:
        """End the connection; with `abort` unread output is dropped."""
        ...


class PacketSender(Protocol):
    """Sends packets to one session's client; implemented by `SocketSender`.

    Sending never blocks and never raises. Packets are encoded by `dispatch.wire.frames`.
    """

    def send_event(self, packet: bytes) -> None:
        """Send an EVENT packet."""
        ...

    def send_position(self, packet: bytes) -> None:
        """Send a coalescible EVENT packet at the end of the event loop's tick."""
        ...

    def send_packet(self, packet: bytes) -> None:
        """Send a packet that is not an event."""
        ...

    def send_with_ack(
        self, name: str, namespace: str, body: bytes, on_ack: Callable[[], None]
    ) -> None:
        """Send an event; `on_ack` is called once, when the client acknowledges it."""
        ...

    def resolve_ack(self, ack_id: int) -> bool:
        """Call an acknowledgement's callback; False where none is outstanding under that id."""
        ...

    def __hash__(self) -> int: ...


class Session:
    """One socket: one principal in one namespace of one connection."""

    __slots__ = (
        "command_bucket",
        "connected_at_ms",
        "connection",
        "fix_bucket",
        "held_fix",
        "identity",
        "jobs",
        "namespace",
        "on_activity",
        "principal",
        "sender",
        "sid",
        "state",
        "worker",
    )  # fmt: skip

    def __init__(
        self,
        connection: SocketConnection,
        sender: PacketSender,
        sid: str,
        principal: Principal,
        limits: RateLimits,
    ) -> None:
        self.connection = connection
        self.sender = sender
        self.sid = sid
        self.principal = principal
        self.namespace = f"/{principal.audience}"
        self.identity: Identity = principal.identity
        self.connected_at_ms = 0
        self.command_bucket = limits.command_bucket()
        self.fix_bucket = limits.fix_bucket()
        # Per-socket state of the command handlers and of event delivery, each under its own key.
        self.state: dict[str, Any] = {}
        # The newest fix over the rate limit; managed by the command runner.
        self.held_fix: Any = None
        # Commands waiting to run, the running one first; managed by the gate.
        self.jobs: deque[Job] | None = None
        self.worker: asyncio.Task[None] | None = None
        # Called for every packet but a fix that is handled, which its handler notes by itself.
        self.on_activity: Callable[[], None] = _ignore_activity

    def __str__(self) -> str:
        return f"{self.identity} ({self.sid})"

    def end(self, reason: str, *, may_return: bool = True) -> None:
        """Close the socket and count the reason.

        With `may_return=False` a DISCONNECT packet is sent first: the official client then does
        not reconnect by itself, as it does after a plain close.
        """
        if not may_return:
            self.sender.send_packet(encode_disconnect(self.namespace))
        self.connection.end(reason)


class SessionRegistry:
    """Every connected session of this process."""

    def __init__(self, clock: Clock, expiry_check_every_s: float = EXPIRY_CHECK_EVERY_S) -> None:
        self._clock = clock
        self._expiry_check_every_s = expiry_check_every_s
        self._by_sid: dict[str, Session] = {}
        self._by_identity: dict[Identity, list[Session]] = {}
        # No token expires before this, so that most checks need not look at 10,000 sessions.
        self._next_expiry_ms: float = inf

    def __len__(self) -> int:
        return len(self._by_sid)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_sid.values())

    def for_identity(self, identity: Identity) -> Sequence[Session]:
        """The sessions of one identity, oldest first."""
        return self._by_identity.get(identity, ())

    def add(self, session: Session) -> None:
        """Register a session; over the limit, the identity's oldest one is closed.

        The closed one may not return: two forgotten tabs would otherwise displace each other
        without end.
        """
        self._by_sid[session.sid] = session
        self._next_expiry_ms = min(self._next_expiry_ms, session.principal.expires_at_ms)
        siblings = self._by_identity.setdefault(session.identity, [])
        siblings.append(session)
        if len(siblings) > SOCKETS_PER_IDENTITY_MAX:
            siblings[0].end("too_many_sockets", may_return=False)

    def remove(self, session: Session) -> None:
        """Remove a session that has ended."""
        del self._by_sid[session.sid]
        siblings = self._by_identity[session.identity]
        siblings.remove(session)
        if not siblings:
            del self._by_identity[session.identity]

    def end_expired(self) -> int:
        """Close the sockets whose token has expired; returns how many.

        They may return: a fresh token connects, the old one gets `token_expired`.
        """
        now_ms = self._clock.now_ms()
        if now_ms < self._next_expiry_ms:
            return 0
        expired = [s for s in self if s.principal.expires_at_ms <= now_ms]
        for session in expired:
            session.end("token_expired")
        self._next_expiry_ms = min((s.principal.expires_at_ms for s in self), default=inf)
        return len(expired)

    def end_revoked(self, is_revoked: Callable[[Principal], bool]) -> int:
        """Close the sockets whose token was revoked; returns how many.

        They may return: another token connects, the old one gets `token_invalid`.
        """
        revoked = [session for session in self if is_revoked(session.principal)]
        for session in revoked:
            session.end("token_revoked")
        return len(revoked)

    async def watch_expiry(self) -> None:
        """Close expired sockets once a second; to be supervised."""
        while True:
            await asyncio.sleep(self._expiry_check_every_s)
            self.end_expired()


def _ignore_activity() -> None:
    """Default before an audience sets `on_activity`."""
