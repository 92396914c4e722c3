"""Admission of sockets: verifies a CONNECT's token and its identity's join rate."""

from typing import Any, cast

import msgspec

from dispatch.errors import Refusal
from dispatch.wire import decoding
from handlers.sessions.auth import TokenRefused, Tokens
from handlers.sessions.barred_identities import StandingLookup, not_barred
from handlers.sessions.rate_limits import JOIN_RATE, Rate
from handlers.sessions.session_registry import ResumePoint, Session
from handlers.transport.engineio_session import EngineIoSession
from handlers.transport.send_buffer import SocketSender
from handlers.transport.socketio_server import ConnectRefused, JoinRateExceeded, SocketIoServer


class Admission:
    """Decides which sockets may join which namespace, and makes their sessions."""

    def __init__(
        self,
        server: SocketIoServer,
        tokens: Tokens,
        join_rate: Rate = JOIN_RATE,
        standing_of: StandingLookup = not_barred,
    ) -> None:
        self._server = server
        self._tokens = tokens
        self._standing_of = standing_of
        self._join_rate = join_rate
        self._clock = server.clock

    def admit(self, connection: EngineIoSession, namespace: str, auth: object) -> Session:
        """A session in the namespace that the token is for.

        Errors: ConnectRefused with the token's fault, `wrong_user_type` or `not_approved`;
        JoinRateExceeded.
        """
        try:
            principal = self._tokens.verify(_field(auth, "token"), self._clock.now_ms())
        except TokenRefused as refused:
            raise ConnectRefused(refused.code) from None
        if f"/{principal.audience}" != namespace:
            raise ConnectRefused("wrong_user_type")
        barred = self._standing_of(principal.identity)
        if barred is not None:
            standing, reason = barred
            details = {"standing": standing.value, "reason": reason}
            raise ConnectRefused(Refusal.NOT_APPROVED.value, details)
        if self._server.limits.take_or_wait_s(
            self._join_rate, principal.identity, self._clock.monotonic_s()
        ):
            raise JoinRateExceeded
        session = Session(
            connection,
            SocketSender(connection.send_buffer),
            self._server.eio.generate_id(),
            principal,
            self._server.limits,
        )
        # Before CONNECT goes out: a fast client answers before the session is registered.
        session.connected_at_ms = self._clock.now_ms()
        return session


def parse_resume_point(auth: object) -> ResumePoint | None:
    """Where the client says its events stopped, None where it names no place.

    An invalid place becomes one that no inbox has, which gets a `resync`.
    """
    given = _field(auth, "resume")
    if given is None:
        return None
    try:
        return decoding.convert(given, ResumePoint)
    except msgspec.ValidationError:
        return ResumePoint(epoch="", seq=0)


def _field(auth: object, name: str) -> object:
    return cast("dict[str, Any]", auth).get(name) if isinstance(auth, dict) else None
