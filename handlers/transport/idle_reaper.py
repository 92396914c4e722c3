"""Ends TCP connections that never become a request."""

import asyncio
from collections.abc import Iterator

from aiohttp import web

from dispatch import metrics
from dispatch.clock import Clock
from handlers.transport.accept_queue import AcceptQueue

# Source: promises, silent connections and slow headers end within ten seconds. One may pass until a
# connection is first seen, and another until the last of thousands is cut.
IDLE_S_MAX = 8.0
SWEEP_EVERY_S = 1.0


class IdleReaper:
    """Looks through a server's connections; between two requests they have eight seconds.

    The framework waits for the first request of a connection, and for a header's last line, for
    ever. WebSockets and polls are requests that run, and not looked at.
    """

    def __init__(self, server: web.Server, accept_queue: AcceptQueue, clock: Clock) -> None:
        self._server = server
        self._accept_queue = accept_queue
        self._clock = clock
        # When each connection was first seen without a request; it may have left the porch since.
        self._idle_since_s: dict[asyncio.Transport, float] = {}

    def sweep(self) -> int:
        """Cut the connections that were silent for too long; returns how many."""
        now_s = self._clock.monotonic_s()
        silent: dict[asyncio.Transport, float] = {}
        cut = 0
        for transport in self._idle_transports():
            since_s = silent[transport] = self._idle_since_s.get(transport, now_s)
            if now_s - since_s >= IDLE_S_MAX:
                transport.abort()
                metrics.SOCKETS_ENDED.labels("none", "silent").inc()
                cut += 1
        self._idle_since_s = silent
        return cut

    def _idle_transports(self) -> Iterator[asyncio.Transport]:
        for newcomer in self._accept_queue.pending:
            yield newcomer.transport
        for connection in self._server.connections:
            # A private name of the pinned release; the test holds us to it.
            if connection._current_request is None and connection.transport is not None:
                yield connection.transport

    async def run(self) -> None:
        """Sweep for ever; to be supervised."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            self.sweep()
