"""The composition root: builds each part once, wires them, runs the server and ends it in order."""

import asyncio
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import structlog
from aiohttp import web

from dispatch import ids, keys
from dispatch.accounts.connection_counts import ConnectionCounts
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock, SystemClock
from dispatch.errors import StoreUnavailable
from dispatch.events.alerts import Alerts
from dispatch.events.inbox import Inboxes
from dispatch.events.kept_answers import KeptAnswers
from dispatch.events.operations_board import OperationsBoard
from dispatch.events.outbox import Outbox
from dispatch.leadership.arrival_recorder import ArrivalRecorder
from dispatch.leadership.leader_lease import LeaderLease
from dispatch.leadership.reconciliation import OpenOrderRecovery, Reconciler, RiderStateRecovery
from dispatch.leadership.redis_instance import RedisInstance
from dispatch.leadership.tick import DispatchEngine, EngineLookups
from dispatch.leadership.trail_archiver import TrailArchiver
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.approach_store import ApproachStore
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.orders.unit_of_work import OrderUnitOfWork
from dispatch.orders.use_cases.base import OrderStores
from dispatch.riders.store import Riders
from dispatch.settings import Settings
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.leases import Fence, Leases
from dispatch.storage.pubsub import PubSub
from dispatch.storage.quotas import Quotas
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.storage.timers import Timers
from dispatch.supervise import Supervisor
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.tracking.stores.learned_speeds import SharedSpeeds
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.trails import Trails
from dispatch.tracking.watchers import Watchers
from handlers.app.auth_setup import build_auth_services
from handlers.app.background_tasks import (
    BackgroundTasks,
    Loops,
    common_loops,
    edge_loops,
    engine_loops,
)
from handlers.app.contexts import Desk
from handlers.app.gc_tuning import tune_gc
from handlers.app.http_contexts import add_http_contexts
from handlers.app.logs import configure_logs
from handlers.app.money_setup import build_money_services
from handlers.app.tracking_setup import TrackingParts, build_tracking
from handlers.http import (
    accounts,
    admin,
    admin_money,
    catalogue,
    orders,
    profiles,
    promotions,
    service_rates,
    wallets,
)
from handlers.http import tokens as token_routes
from handlers.http import webhooks as webhook_routes
from handlers.http.framework import envelope, health
from handlers.http.framework.api_docs import add_docs
from handlers.http.framework.console import add_console
from handlers.sessions.auth import Tokens
from handlers.sessions.client_address import TrustedProxies
from handlers.sessions.origins import AllowedOrigins
from handlers.sessions.rate_limits import RateLimits, SharedBuckets
from handlers.sessions.revocation_cache import RevocationCache
from handlers.sessions.session_registry import SOCKETS_PER_IDENTITY_MAX, SessionRegistry
from handlers.sockets.alert_feed import AlertFeed
from handlers.sockets.audiences import (
    COMMANDS,
    apply_workload_changes,
    build_audiences,
    push_tracking_policy,
)
from handlers.sockets.event_delivery import EventDelivery
from handlers.sockets.gate import Gate, http_gate
from handlers.sockets.map_viewport import FixAgeLimits, ViewportFeed
from handlers.transport.accept_queue import AcceptQueue
from handlers.transport.graceful_shutdown import GracefulShutdown
from handlers.transport.idle_reaper import IdleReaper
from handlers.transport.listener import BACKLOG, listen
from handlers.transport.log_filter import HTTP_SERVER_LOGGER
from handlers.transport.socketio_server import SocketIoServer
from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.schema import ensure_table
from ledger.posting.ledger import Ledger
from matching.speeds import LearnedSpeeds

# One city, one zone; more of them need a rule that says which place belongs to which.
ZONE = "douala"
# A decision of all orders takes turns with the event loop, beside which it runs in a thread.
# Source: measured 2026-11-21, 400 riders: Python's own 5 ms keep the loop waiting for 6 to 13 ms.
THREAD_SWITCH_S = 0.001
CONSOLE = Path(__file__).resolve().parents[2] / "console" / "dist"
DEV_TOKEN_TTL_S = 24 * 3600
# Lanes of our own accounts that a process posts to, and how many processes have lanes apart.
# Source: ledger study, 64 lanes carry 1,000 settlements a second.
ACCOUNT_SHARDS, ACCOUNT_SHARD_BLOCKS = 16, 4
# What is served over HTTP, a file each.
HTTP_MODULES = (
    accounts, service_rates, catalogue, profiles, orders, wallets, admin, admin_money, promotions,
    token_routes, webhook_routes,
)  # fmt: skip

log = structlog.get_logger(__name__)


class Infrastructure(NamedTuple):
    """What everything else stands on."""

    settings: Settings
    clock: Clock
    table: DynamoTable
    redis: RedisClients
    scripts: Scripts
    node: str


class SocketEdge(NamedTuple):
    """What apps meet: the sockets, and who answers on them."""

    server: SocketIoServer
    gate: Gate
    graceful_shutdown: GracefulShutdown


async def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT, then end everything in order.

    Errors: EngineFailed, TableUnavailable, SchemaMismatch where it cannot start.
    """
    configure_logs(settings)
    sys.setswitchinterval(THREAD_SWITCH_S)
    # Taken before anything is started: a second server ends here, with one line.
    listener = listen(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        basis = await _open_infrastructure(settings, stack)
        await run(basis, listener, stopped, tune_gc)


async def _open_infrastructure(settings: Settings, stack: AsyncExitStack) -> Infrastructure:
    found = await stack.enter_async_context(embedded_engines(settings))
    redis = await stack.enter_async_context(open_redis(found.redis_url))
    table = await stack.enter_async_context(
        open_table(found.dynamodb_endpoint, settings.aws_region, settings.dynamodb_table)
    )
    # On AWS the table is the operator's: `reeyo table create` or the template in deploy/.
    if found.dynamodb_endpoint is not None:
        await ensure_table(table)
    scripts = Scripts(redis.commands)
    try:
        await scripts.load()
    except StoreUnavailable as error:
        log.warning("redis_awaited", cause=error.cause)
    return Infrastructure(settings, SystemClock(), table, redis, scripts, ids.new_id("node"))


def compose(infrastructure: Infrastructure) -> tuple[Desk, BackgroundTasks]:
    """Build the parts in the order in which they lean on one another."""
    settings, clock, table = infrastructure.settings, infrastructure.clock, infrastructure.table
    feeds, board = (
        PubSub(infrastructure.redis),
        OperationsBoard(infrastructure.redis, infrastructure.scripts),
    )
    timers = Timers(infrastructure.redis, infrastructure.scripts, ZONE)
    inboxes, receipts = (
        Inboxes(infrastructure.redis, infrastructure.scripts),
        DisplayReceipts(infrastructure.redis),
    )
    positions = Positions(
        infrastructure.redis.commands,
        infrastructure.scripts,
        infrastructure.node,
        settings.fix_lost_ms,
    )
    outbox = Outbox(table, inboxes, timers, board, clock)
    # Four processes or fewer rarely post to the same lanes; when they do, it costs a conflict.
    ledger = Ledger(
        table,
        clock.now_ms,
        ACCOUNT_SHARDS,
        secrets.randbelow(ACCOUNT_SHARD_BLOCKS) * ACCOUNT_SHARDS,
    )
    stores = _order_stores(infrastructure, positions, ledger, outbox)
    flow = OrderService(stores, clock)
    finds = _engine_lookups(infrastructure, stores, board, timers, receipts)
    watchers = Watchers(feeds, infrastructure.node)
    way = build_tracking(settings, clock, positions, watchers, stores.speeds)
    desk = Desk(
        settings=settings,
        clock=clock,
        order_service=flow,
        **build_money_services(table, ledger, flow, settings, clock)._asdict(),
        **build_auth_services(table, infrastructure.redis, settings, clock)._asdict(),
        orders=OrderStore(table),
        trails=Trails(table),
        kept_answers=KeptAnswers(table, clock),
        catalogue=stores.catalogue,
        service_rates=stores.service_rates,
        riders=stores.riders,
        positions=positions,
        offer_pauses=finds.pauses,
        offer_policies=finds.policies,
        decisions=finds.decisions,
        alert_feed=AlertFeed(finds.alerts, feeds),
        rider_registry=way.rider_registry,
        cash_headroom=CashHeadroom(stores.riders, way.rider_registry),
        fix_pipeline=way.fix_pipeline,
        watchers=watchers,
        viewport_feed=_viewport_feed(infrastructure, board, positions, feeds),
    )
    engine = DispatchEngine(flow, desk.orders, finds, clock)
    reign = LeaderLease(
        Leases(infrastructure.scripts, infrastructure.node), stores.fence, ZONE, engine.run, clock
    )
    ours = OpenOrderRecovery(desk.orders, timers, board, lambda: reign.is_held)
    reconciler = _reconciler(infrastructure, ours, way, desk)
    feeds.on_gap(reconciler.wake)
    live = BackgroundTasks(
        node=infrastructure.node,
        board=board,
        pubsub=feeds,
        inboxes=inboxes,
        connection_counts=ConnectionCounts(
            inboxes.batcher, infrastructure.scripts, infrastructure.node, SOCKETS_PER_IDENTITY_MAX
        ),
        display_receipts=receipts,
        outbox=outbox,
        dispatch_engine=engine,
        leader_lease=reign,
        tracking=way,
        arrival_recorder=ArrivalRecorder(flow),
        shared_speeds=SharedSpeeds(infrastructure.redis, infrastructure.scripts, stores.speeds),
        learned_stats=stores.learned_stats,
        reconciler=reconciler,
        revocation_cache=RevocationCache(desk.revocations, feeds, clock),
        trail_archiver=TrailArchiver(desk.orders, positions, timers, desk.trails),
    )
    return desk, live


def _viewport_feed(
    infrastructure: Infrastructure, board: OperationsBoard, positions: Positions, pubsub: PubSub
) -> ViewportFeed:
    """What operators see of their windows."""
    span = FixAgeLimits(infrastructure.settings.fix_fresh_ms, infrastructure.settings.fix_lost_ms)
    return ViewportFeed(board, positions, pubsub, infrastructure.clock, span)


def _reconciler(
    infrastructure: Infrastructure,
    open_orders: OpenOrderRecovery,
    tracking: TrackingParts,
    desk: Desk,
) -> Reconciler:
    """What brings back what Redis has forgotten."""
    seats = RiderStateRecovery(tracking.rider_registry, tracking.writer, desk.riders, desk.orders)
    return Reconciler(
        RedisInstance(infrastructure.redis), (open_orders, seats), infrastructure.clock
    )


def _order_stores(
    infrastructure: Infrastructure, positions: Positions, ledger: Ledger, outbox: Outbox
) -> OrderStores:
    """What the steps of an order read and write."""
    table, clock = infrastructure.table, infrastructure.clock
    return OrderStores(
        catalogue=Catalogue(table, clock),
        service_rates=ServiceRates(table, clock),
        promotions=Promotions(table, clock),
        riders=Riders(table, clock),
        positions=positions,
        speeds=LearnedSpeeds(),
        learned_stats=LearnedStats(
            infrastructure.redis, infrastructure.scripts, clock, infrastructure.settings.city_pace
        ),
        ledger=ledger,
        unit_of_work=OrderUnitOfWork(table, ledger, outbox, clock),
        fence=Fence(clock),
        payment_provider=infrastructure.settings.payment_provider,
        rider_orders_max=infrastructure.settings.rider_orders_max,
    )


def _engine_lookups(
    infrastructure: Infrastructure,
    stores: OrderStores,
    board: OperationsBoard,
    timers: Timers,
    display_receipts: DisplayReceipts,
) -> EngineLookups:
    """What the engine looks into."""
    return EngineLookups(
        positions=stores.positions,
        timers=timers,
        receipts=display_receipts,
        pauses=OfferPauses(infrastructure.redis, infrastructure.scripts),
        approaches=ApproachStore(infrastructure.redis),
        alerts=Alerts(infrastructure.redis, infrastructure.scripts),
        policies=OfferPolicyStore(infrastructure.table, infrastructure.clock, ZONE),
        decisions=DecisionStore(infrastructure.table),
        board=board,
        learned_stats=stores.learned_stats,
        speeds=stores.speeds,
        fence=stores.fence,
        fresh_ms=infrastructure.settings.fix_fresh_ms,
        time_scale=infrastructure.settings.city_pace,
    )


async def run(
    infrastructure: Infrastructure,
    listener: socket.socket,
    stopped: asyncio.Event,
    on_ready: Callable[[], None],
) -> None:
    """Run one server on its stores until it is stopped, then end everything in order.

    `on_ready` is called once, as soon as clients are served.
    """
    desk, live = compose(infrastructure)
    settings, clock = infrastructure.settings, infrastructure.clock
    supervisor = Supervisor(clock.monotonic_s)
    limits = RateLimits(
        settings,
        SharedBuckets(Quotas(infrastructure.redis.commands, infrastructure.scripts), clock),
    )
    tokens = Tokens(settings, live.revocation_cache.is_revoked)
    app = _build_application(infrastructure, desk, limits, tokens, stopped)
    _spawn(supervisor, common_loops(live))
    front = None
    if settings.has_sockets:
        front = await _open_socket_edge(infrastructure, desk, live, (limits, tokens), supervisor)
        front.server.serve_in(app)
    if settings.has_engine:
        await _start_engine(desk, live, supervisor)
    runner = web.AppRunner(app, access_log=None, logger=HTTP_SERVER_LOGGER, shutdown_timeout=1)
    await runner.setup()
    assert runner.server is not None, "a runner that is set up has a server"
    porch = AcceptQueue(front and front.server.eio, runner.server)
    supervisor.spawn("silence", IdleReaper(runner.server, porch, clock).run)
    server = await asyncio.get_running_loop().create_server(porch, sock=listener, backlog=BACKLOG)
    try:
        on_ready()
        url = f"http://{settings.host}:{listener.getsockname()[1]}"
        log.info("ready", url=url, node=infrastructure.node, role=settings.role, dev=settings.dev)
        await stopped.wait()
        log.info("stopping")
    finally:
        if front is not None:
            # While the sockets go one after the other, HTTP is still served.
            await front.graceful_shutdown.run()
            await front.gate.finish_commands()
        server.close()
        porch.close()
        if front is not None:
            await front.server.close_all()
            await front.gate.finish_commands()
        await runner.cleanup()
        await _stop(live, supervisor, settings.drain_deadline_s)


async def _stop(background: BackgroundTasks, supervisor: Supervisor, deadline_s: float) -> None:
    await background.tracking.writer.close(deadline_s / 2)
    await background.outbox.close(deadline_s / 4)
    await supervisor.stop(deadline_s / 2)
    log.info("stopped")


async def _open_socket_edge(
    infrastructure: Infrastructure,
    desk: Desk,
    background: BackgroundTasks,
    limits_and_tokens: tuple[RateLimits, Tokens],
    supervisor: Supervisor,
) -> SocketEdge:
    (limits, tokens), sessions = limits_and_tokens, SessionRegistry(infrastructure.clock)
    postman = EventDelivery(
        sessions,
        background.inboxes,
        background.pubsub,
        background.display_receipts,
        infrastructure.clock,
    )
    postman.connection_counts = background.connection_counts
    postman.on_workload(apply_workload_changes(desk))
    postman.on_offer(
        lambda rider_id: desk.rider_registry.record_offer(rider_id, desk.clock.now_ms())
    )
    server = SocketIoServer(infrastructure.settings, infrastructure.clock, limits)
    gate = Gate(server, sessions, tokens, desk, build_audiences(desk, postman))
    with suppress(StoreUnavailable):
        # Before the first request; where the table is away the loop looks again.
        await background.revocation_cache.refresh()
    supervisor.spawn("limits", limits.run)
    background.revocation_cache.on_revoked = lambda: sessions.end_revoked(
        background.revocation_cache.is_revoked
    )
    background.tracking.tracking_rules.on_arrival(background.arrival_recorder.enqueue)
    background.tracking.tracking_rules.on_policy(push_tracking_policy(sessions))
    _spawn(supervisor, edge_loops(desk, background, postman, sessions))
    return SocketEdge(
        server, gate, GracefulShutdown(server, infrastructure.settings.drain_spread_s)
    )


async def _start_engine(desk: Desk, background: BackgroundTasks, supervisor: Supervisor) -> None:
    _spawn(supervisor, engine_loops(desk, background))
    # Where Redis is away the listener is kept, and joins when it is back.
    with suppress(StoreUnavailable):
        await background.pubsub.subscribe(
            keys.engine_channel(ZONE), background.dispatch_engine.wake
        )


def _spawn(supervisor: Supervisor, loops: Loops) -> None:
    for name, work in loops.items():
        supervisor.spawn(name, work)


def _build_application(
    infrastructure: Infrastructure,
    desk: Desk,
    limits: RateLimits,
    tokens: Tokens,
    stopped: asyncio.Event,
) -> web.Application:
    settings, clock = infrastructure.settings, infrastructure.clock
    app = web.Application(middlewares=[http_gate], client_max_size=settings.http_body_bytes_max)
    add_http_contexts(app, desk)
    app[envelope.HTTP_EDGE] = envelope.HttpEdge(
        clock, tokens, limits, AllowedOrigins(settings), TrustedProxies(settings)
    )
    probes = health.store_probes(infrastructure.redis, infrastructure.table)
    envelope.register_routes(app, health.routes(probes, stopped.is_set))
    if not settings.has_sockets:
        return app
    for subject in HTTP_MODULES:
        envelope.register_routes(app, subject.ROUTES)

    def dev_token() -> str:
        return tokens.issue("ADMIN", "adm_console", DEV_TOKEN_TTL_S, clock.now_ms())

    add_docs(app, COMMANDS)
    add_console(app, dist=CONSOLE, dev_token=dev_token if settings.dev else None)
    return app
