"""Runs a server: starts its parts, serves clients until it is stopped, and ends it in order."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress

import structlog

from dispatch import keys
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings, check_stores
from dispatch.storage.quotas import Quotas
from dispatch.supervise import Supervisor
from handlers.app.application import build_application
from handlers.app.background_tasks import (
    BackgroundTasks,
    common_loops,
    edge_loops,
    engine_loops,
    spawn_all,
)
from handlers.app.composition import compose
from handlers.app.gc_tuning import tune_gc
from handlers.app.infrastructure import Infrastructure, open_infrastructure
from handlers.app.logs import configure_logs
from handlers.app.metrics_server import serve_metrics
from handlers.app.readiness import wait_until_ready
from handlers.app.services import Services
from handlers.app.setup.events import ZONE
from handlers.app.setup.sockets import open_socket_edge
from handlers.http.framework.envelope import HTTP_EDGE
from handlers.http.framework.health import Probe, store_probes
from handlers.sessions.auth import Tokens
from handlers.sessions.rate_limits import RateLimits, SharedBuckets
from handlers.transport.accept_queue import AcceptQueue
from handlers.transport.http_connection import open_http_server
from handlers.transport.idle_reaper import IdleReaper
from handlers.transport.listener import BACKLOG, listen, listen_for_metrics

# A batch decision runs in a thread beside the event loop, and they take turns this often.
# Source: measured 2026-11-21, 400 riders: Python's own 5 ms keep the loop waiting for 6 to 13 ms.
THREAD_SWITCH_S = 0.001

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Run a server until SIGTERM or SIGINT, then end it in order.

    Errors: SettingsError, EngineFailed, TableUnavailable, SchemaMismatch where it cannot start.
    """
    configure_logs(settings)
    check_stores(settings)
    sys.setswitchinterval(THREAD_SWITCH_S)
    # The ports are taken before anything starts: a second server ends here, with one line.
    listener, metrics_listener = listen(settings), listen_for_metrics(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        infrastructure = await open_infrastructure(settings, stack)
        await stack.enter_async_context(serve_metrics(metrics_listener, infrastructure.clock))
        await run(infrastructure, listener, stopped, tune_gc)


async def run(
    infrastructure: Infrastructure,
    listener: socket.socket,
    stopped: asyncio.Event,
    on_ready: Callable[[], None],
) -> None:
    """Run a server on its stores until it is stopped, then end it in order.

    `on_ready` is called once, as soon as the stores answer; clients are served before already.
    """
    services, background = compose(infrastructure)
    settings, clock = infrastructure.settings, infrastructure.clock
    supervisor = Supervisor(clock.monotonic_s)
    limits = RateLimits(
        settings,
        SharedBuckets(Quotas(infrastructure.redis.commands, infrastructure.scripts), clock),
    )
    tokens = Tokens(settings, background.revocation_cache.is_revoked)
    app = build_application(infrastructure, services, limits, tokens, stopped.is_set)
    spawn_all(supervisor, common_loops(services, background))
    edge = None
    if settings.has_sockets:
        edge = await open_socket_edge(services, background, limits, tokens)
        spawn_all(supervisor, {**edge_loops(services, background), **edge.loops})
        edge.server.serve_in(app)
    if settings.has_engine:
        await _start_engine(services, background, supervisor)
    http_server = await open_http_server(app, app[HTTP_EDGE].faults)
    accept_queue = AcceptQueue(None if edge is None else edge.server.eio, http_server)
    reaper = IdleReaper(http_server, accept_queue, clock, settings.http_keepalive_s)
    supervisor.spawn("idle_reaper", reaper.run)
    server = await asyncio.get_running_loop().create_server(
        accept_queue, sock=listener, backlog=BACKLOG
    )
    try:
        probes = store_probes(
            infrastructure.redis, infrastructure.scripts, background.pubsub, infrastructure.table
        )
        await _announce(infrastructure, probes, listener, stopped, on_ready)
        await stopped.wait()
        log.info("stopping")
    finally:
        if edge is not None:
            # HTTP is still served while the sockets are closed one after another.
            await edge.graceful_shutdown.run()
            await edge.gate.finish_commands()
        server.close()
        accept_queue.close()
        if edge is not None:
            await edge.server.close_all()
            await edge.gate.finish_commands()
        await http_server.close()
        await _stop(background, supervisor, settings.drain_deadline_s)


async def _announce(
    infrastructure: Infrastructure,
    probes: Mapping[str, Probe],
    listener: socket.socket,
    stopped: asyncio.Event,
    on_ready: Callable[[], None],
) -> None:
    """Log that the server listens and, once its stores answer, that it is ready."""
    settings, node = infrastructure.settings, infrastructure.node
    url = f"http://{settings.host}:{listener.getsockname()[1]}"
    log.info("listening", url=url, node=node, role=settings.role)
    if await wait_until_ready(probes, stopped, infrastructure.clock):
        on_ready()
        log.info("ready", url=url, node=node, role=settings.role, dev=settings.dev)


async def _start_engine(
    services: Services, background: BackgroundTasks, supervisor: Supervisor
) -> None:
    spawn_all(supervisor, engine_loops(services, background))
    # Where Redis is away the subscription is kept, and made when it is back.
    with suppress(StoreUnavailable):
        await background.pubsub.subscribe(
            keys.engine_channel(ZONE), background.dispatch_engine.wake
        )


async def _stop(background: BackgroundTasks, supervisor: Supervisor, deadline_s: float) -> None:
    """Write what is still queued, then end the loops."""
    await background.tracking.writer.close(deadline_s / 2)
    await background.outbox.close(deadline_s / 4)
    await supervisor.stop(deadline_s / 2)
    log.info("stopped")
