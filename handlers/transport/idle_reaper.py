"""Idle reaper: aborts TCP connections on which no complete request arrives."""

# Uses a private name of aiohttp; docs/library-internals.md has it.
# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Iterator

from aiohttp import web

from dispatch import metrics
from dispatch.clock import Clock
from handlers.transport.accept_queue import AcceptQueue

# Source: docs/promises.md: silent connections end within ten seconds. One second may pass until a
# connection is first seen, another until the last of thousands is aborted.
IDLE_S_MAX = 8.0
SWEEP_EVERY_S = 1.0


class IdleReaper:
    """Sweeps the server's TCP connections and aborts those idle for `IDLE_S_MAX`.

    aiohttp itself waits without limit for the first request of a connection and for the end of a
    request's headers. Running requests (WebSockets, long polls, slow answers) are not idle.

    Units: `sweep_every_s` in seconds.
    """

    def __init__(
        self,
        server: web.Server,
        accept_queue: AcceptQueue,
        clock: Clock,
        sweep_every_s: float = SWEEP_EVERY_S,
    ) -> None:
        self._server = server
        self._accept_queue = accept_queue
        self._clock = clock
        self._sweep_every_s = sweep_every_s
        # When each connection was first seen idle. By transport: a connection keeps it when it
        # moves from the accept queue to the HTTP server.
        self._idle_since_s: dict[asyncio.Transport, float] = {}

    def sweep(self) -> int:
        """Abort the connections that were idle for too long; returns how many."""
        now_s = self._clock.monotonic_s()
        still_idle: dict[asyncio.Transport, float] = {}
        aborted = 0
        for transport in self._idle_transports():
            since_s = still_idle[transport] = self._idle_since_s.get(transport, now_s)
            if now_s - since_s >= IDLE_S_MAX:
                transport.abort()
                metrics.SOCKETS_ENDED.labels("none", "idle").inc()
                aborted += 1
        self._idle_since_s = still_idle
        return aborted

    def _idle_transports(self) -> Iterator[asyncio.Transport]:
        for pending in self._accept_queue.pending:
            yield pending.transport
        for connection in self._server.connections:
            # Private name of aiohttp; docs/library-internals.md names the test that holds it.
            if connection._current_request is None and connection.transport is not None:
                yield connection.transport

    async def run(self) -> None:
        """Sweep once a second, as a supervised background loop."""
        while True:
            await asyncio.sleep(self._sweep_every_s)
            self.sweep()
