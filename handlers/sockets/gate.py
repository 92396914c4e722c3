"""Gate of the sockets: admits them, finds and decodes their commands, and has them run.

Every event of a client comes through here or through its socket's `FastPath`, and both have
`CommandRunner` run it, the only place where a command's error becomes an answer.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import structlog

from dispatch.errors import Refusal, Refused
from handlers.sessions.session_registry import Session, SessionRegistry
from handlers.sockets.admission import Admission, parse_resume_point
from handlers.sockets.command_routes import AudienceRoutes, RouteTable
from handlers.sockets.command_runner import AckRequest, CommandRunner
from handlers.sockets.fast_path import FastPath
from handlers.sockets.job_queue import FINISH_S_MAX
from handlers.transport.engineio_session import EngineIoSession
from handlers.transport.load_shedding import LoadShedder
from handlers.validation_messages import unknown_field_warnings

log = structlog.get_logger(__name__)


class Gate:
    """Answers every command once; implements `NamespaceHandler` of the Socket.IO server."""

    def __init__(
        self,
        admission: Admission,
        sessions: SessionRegistry,
        audiences: Sequence[AudienceRoutes[Any]],
        runner: CommandRunner,
        load_shedder: LoadShedder,
    ) -> None:
        self._admission = admission
        self._sessions = sessions
        self._audiences = {f"/{audience.name}": audience for audience in audiences}
        self._routes = RouteTable(audiences)
        self._runner = runner
        self._load_shedder = load_shedder
        self.namespaces = frozenset(self._audiences)
        self.jobs = runner.jobs

    # Connections.

    def admit(self, connection: EngineIoSession, namespace: str, auth: object) -> Session:
        """A session for a CONNECT. Errors: ConnectRefused, JoinRateExceeded."""
        return self._admission.admit(connection, namespace, auth)

    def on_join(self, session: Session, auth: object) -> None:
        """Register a session whose CONNECT went out, and start its audience's `on_connect`."""
        self._sessions.add(session)
        sync_routes = self._routes.sync_routes(session.namespace)
        if sync_routes:
            fast_path = FastPath(session, sync_routes, self._runner, self._load_shedder)
            session.connection.try_fast_path = fast_path.try_run
        on_connect = self._audiences[session.namespace].on_connect
        if on_connect is not None:
            self._enqueue_hook(session, partial(on_connect, session, parse_resume_point(auth)))

    def on_leave(self, session: Session) -> None:
        """Remove a session; its audience's `on_disconnect` runs after the socket's last command."""
        self._sessions.remove(session)
        on_disconnect = self._audiences[session.namespace].on_disconnect
        if on_disconnect is not None:
            self._enqueue_hook(session, partial(on_disconnect, session))

    async def finish_commands(self, deadline_s: float = FINISH_S_MAX) -> None:
        """Wait until every command that was taken is answered, or until the deadline."""
        await self.jobs.finish(deadline_s)

    # Commands.

    def on_event(self, session: Session, event: list[Any], ack_id: int | None) -> None:
        """Run one command: its name, then its payload."""
        route = self._routes.find(session.namespace, event[0])
        ack = None if ack_id is None else AckRequest(ack_id)
        if route is None:
            refused = Refused(Refusal.MALFORMED, "there is no such command in this namespace")
            self._refuse_malformed("unknown", session, ack, refused)
            return
        try:
            command, payload = route.decode_event(event)
        except Refused as refused:
            self._refuse_malformed(route.name, session, ack, refused)
            return
        if self._runner.warns and ack is not None:
            ack = AckRequest(ack.ack_id, unknown_field_warnings(payload, command))
        self._runner.run(route, session, command, ack)

    def on_ack(self, session: Session, ack_id: int) -> bool:
        """The client acknowledges an event; False where no event waits for that."""
        session.on_activity()
        try:
            return session.sender.resolve_ack(ack_id)
        except Exception:
            log.exception("ack_callback_failed", identity=session.identity)
            return True

    def _refuse_malformed(
        self, name: str, session: Session, ack: AckRequest | None, refused: Refused
    ) -> None:
        session.on_activity()
        session.connection.count_violation()
        self._runner.refuse(name, session, ack, refused)

    def _enqueue_hook(self, session: Session, hook: Callable[[], Awaitable[None]]) -> None:
        self.jobs.enqueue(session, partial(_run_hook, session, hook))


async def _run_hook(session: Session, hook: Callable[[], Awaitable[None]]) -> None:
    try:
        await hook()
    except Exception:
        # A socket set up by half would miss events unnoticed; cut, it reconnects.
        log.exception("socket_hook_failed", identity=session.identity)
        session.end("socket_hook_failed")
