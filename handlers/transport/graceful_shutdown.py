"""Graceful shutdown: announces `server_draining` to every socket, then closes them one by one."""

import asyncio
import random
from collections.abc import Sequence

import structlog

from dispatch.wire.events import ServerDraining
from dispatch.wire.frames import encode_event
from handlers.transport.engineio_session import EngineIoSession
from handlers.transport.socketio_server import SocketIoServer

# Sockets whose close time has come are closed together this often.
CLOSE_EVERY_S = 0.05

log = structlog.get_logger(__name__)


class GracefulShutdown:
    """Closes all sockets of one server, spread over `spread_s` seconds.

    Each socket learns its own close time first, so that apps reconnect to the other servers one
    after the other instead of all at once; an app may also leave earlier.
    """

    def __init__(
        self, server: SocketIoServer, spread_s: float, rng: random.Random | None = None
    ) -> None:
        self._server = server
        self._spread_s = spread_s
        self._rng = rng or random.Random()  # noqa: S311 (spreads load, protects no secret)

    async def run(self) -> None:
        """Refuse new connections, announce the close times, and close each socket at its time.

        A socket whose command is still running is closed after the answer, if that comes before
        the last close time.
        """
        self._server.is_closing = True
        connections = list(self._server.eio.sockets.values())
        times = sorted((self._rng.random() * self._spread_s, at) for at in range(len(connections)))
        for close_s, at in times:
            _send_draining(connections[at], round(close_s * 1000))
        log.info("shutdown_started", sockets=len(connections))
        await self._close([(close_s, connections[at]) for close_s, at in times])

    async def _close(self, schedule: Sequence[tuple[float, EngineIoSession]]) -> None:
        """Close sockets at their times; those still busy at the last one are left open."""
        started_s = self._server.clock.monotonic_s()
        open_sockets = list(schedule)
        while open_sockets:
            passed_s = self._server.clock.monotonic_s() - started_s
            later = list[tuple[float, EngineIoSession]]()
            for close_s, connection in open_sockets:
                if close_s > passed_s or _has_running_commands(connection):
                    later.append((close_s, connection))
                else:
                    # The official client reconnects after a close, but not after a DISCONNECT.
                    connection.end("server_draining")
            open_sockets = later
            if passed_s > self._spread_s:
                return
            await asyncio.sleep(CLOSE_EVERY_S)


def _send_draining(connection: EngineIoSession, after_ms: int) -> None:
    for session in connection.sessions.values():
        packet = encode_event(session.namespace, ServerDraining(after_ms=after_ms))
        session.sender.send_event(packet)


def _has_running_commands(connection: EngineIoSession) -> bool:
    return any(session.jobs for session in connection.sessions.values())
