"""Metrics server: /metrics at a listener of its own, for the operator's Prometheus."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from dispatch.clock import Clock
from dispatch.supervise import Supervisor
from handlers.http.framework.envelope import failure_response
from handlers.http.framework.metrics_endpoint import MetricsEndpoint
from handlers.transport.accept_queue import AcceptQueue
from handlers.transport.http_connection import Faults, open_http_server
from handlers.transport.idle_reaper import IdleReaper
from handlers.transport.listener import BACKLOG

# Scrapers come every minute at the latest. Units: seconds.
KEEPALIVE_S = 75.0
STOP_S = 1.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def serve_metrics(listener: socket.socket | None, clock: Clock) -> AsyncGenerator[None]:
    """Serve metrics during the block; does nothing without a listener."""
    if listener is None:
        yield
        return
    # Not delayed: it is for the operator's network alone.
    faults = Faults(failure_response, _never_delayed)
    http_server = await open_http_server(MetricsEndpoint(clock).application(), faults)
    accept_queue = AcceptQueue(None, http_server)
    supervisor = Supervisor(clock.monotonic_s)
    supervisor.spawn(
        "metrics_idle_reaper", IdleReaper(http_server, accept_queue, clock, KEEPALIVE_S).run
    )
    server = await asyncio.get_running_loop().create_server(
        accept_queue, sock=listener, backlog=BACKLOG
    )
    host, port = listener.getsockname()[:2]
    log.info("metrics_ready", url=f"http://{host}:{port}/metrics")
    try:
        yield
    finally:
        server.close()
        accept_queue.close()
        await http_server.close()
        await supervisor.stop(STOP_S)


def _never_delayed(_address: str) -> float:
    return 0.0
