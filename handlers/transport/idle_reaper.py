"""Idle reaper: aborts TCP connections that wait for too long for a request."""

import asyncio
from collections.abc import Iterator

from dispatch import metrics
from dispatch.clock import Clock
from handlers.transport.accept_queue import AcceptQueue
from handlers.transport.http_connection import HttpServer, Wait

# For the first request of a connection; from the first byte of a later one to the end of its
# headers; and for a client to read something of its answer. Source: docs/promises.md: silent
# connections end within ten seconds. One second may pass until a connection is first seen, another
# until the last of thousands is aborted.
IDLE_S_MAX = 8.0
SWEEP_EVERY_S = 1.0


class IdleReaper:
    """Sweeps the server's TCP connections and aborts those that are idle for too long.

    A connection that was answered may wait for `keepalive_s` until its next request; every other
    wait ends after `IDLE_S_MAX`. Running requests (WebSockets, long polls, slow answers) are not
    idle. aiohttp itself waits without limit for the end of a request's headers, and for clients
    that do not read.

    Units: seconds.
    """

    def __init__(
        self,
        server: HttpServer,
        accept_queue: AcceptQueue,
        clock: Clock,
        keepalive_s: float,
        *,
        sweep_every_s: float = SWEEP_EVERY_S,
    ) -> None:
        self._server = server
        self._accept_queue = accept_queue
        self._clock = clock
        self._keepalive_s = keepalive_s
        self._sweep_every_s = sweep_every_s
        # What each connection waits for, and when that was first seen. By transport: a connection
        # keeps it when it moves from the accept queue to the HTTP server.
        self._waits: dict[asyncio.Transport, tuple[Wait, float]] = {}

    def sweep(self) -> int:
        """Abort the connections that were idle for too long; returns how many."""
        now_s = self._clock.monotonic_s()
        waits: dict[asyncio.Transport, tuple[Wait, float]] = {}
        aborted = 0
        for transport, wait in self._waiting_connections():
            earlier_wait, since_s = self._waits.get(transport, (wait, now_s))
            if earlier_wait != wait:
                # The client has done something since the last sweep.
                since_s = now_s
            waits[transport] = wait, since_s
            limit_s = self._keepalive_s if wait.kind == "next" else IDLE_S_MAX
            if now_s - since_s >= limit_s:
                transport.abort()
                metrics.SOCKETS_ENDED.labels("none", "idle").inc()
                aborted += 1
        self._waits = waits
        return aborted

    def _waiting_connections(self) -> Iterator[tuple[asyncio.Transport, Wait]]:
        for pending in self._accept_queue.pending:
            # One that has sent something waits for its turn, and not for its client.
            if not pending.received:
                yield pending.transport, Wait("head")
        for connection in self._server.connections:
            if connection.transport is not None and (wait := connection.wait) is not None:
                yield connection.transport, wait

    async def run(self) -> None:
        """Sweep once a second, as a supervised background loop."""
        while True:
            await asyncio.sleep(self._sweep_every_s)
            self.sweep()
