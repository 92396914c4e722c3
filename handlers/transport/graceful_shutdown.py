"""How a stopping server parts with its sockets: told first, then sent away one after the other."""

import asyncio
import random
from collections.abc import Sequence

import structlog

from dispatch.wire.events import ServerDraining
from dispatch.wire.frames import encode_event
from handlers.transport.engineio_server import SocketIoServer
from handlers.transport.engineio_session import EngineIoSession

# Sockets whose time has come are closed together this often.
BATCH_EVERY_S = 0.05

log = structlog.get_logger(__name__)


class GracefulShutdown:
    """The end of every socket of one server.

    Each is told when its own end comes, so that apps come to the other servers one after the other,
    and not all of them at once; an app may also go before.
    """

    def __init__(
        self, server: SocketIoServer, spread_s: float, rng: random.Random | None = None
    ) -> None:
        self._server = server
        self._spread_s = spread_s
        self._rng = rng or random.Random()  # noqa: S311 (it spreads, it keeps no secret)

    async def run(self) -> None:
        """Let nobody in, tell everybody, and close each socket at its time.

        One whose command is being carried out is closed after its answer, if that comes in time.
        """
        self._server.is_closing = True
        connections = list(self._server.eio.sockets.values())
        ends = sorted((self._rng.random() * self._spread_s, at) for at in range(len(connections)))
        for end_s, at in ends:
            _send_draining(connections[at], round(end_s * 1000))
        log.info("parting", sockets=len(connections))
        await self._close([(end_s, connections[at]) for end_s, at in ends])

    async def _close(self, schedule: Sequence[tuple[float, EngineIoSession]]) -> None:
        """Close in the order of their ends; whoever is busy at the last one is left."""
        began_s = self._server.clock.monotonic_s()
        waiting = list(schedule)
        while waiting:
            passed_s = self._server.clock.monotonic_s() - began_s
            later = []
            for end_s, connection in waiting:
                if end_s > passed_s or _has_running_commands(connection):
                    later.append((end_s, connection))
                else:
                    # A DISCONNECT would keep the official client away; after a close it returns.
                    connection.end("server_draining")
            waiting = later
            if passed_s > self._spread_s:
                return
            await asyncio.sleep(BATCH_EVERY_S)


def _send_draining(connection: EngineIoSession, after_ms: int) -> None:
    for session in connection.sessions.values():
        packet = encode_event(session.namespace, ServerDraining(after_ms=after_ms))
        session.sender.send_event(packet)


def _has_running_commands(connection: EngineIoSession) -> bool:
    return any(session.jobs for session in connection.sessions.values())
