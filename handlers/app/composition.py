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
from dispatch.accounts.connection_counts import Visits
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import Config
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock, SystemClock
from dispatch.errors import StoreUnavailable
from dispatch.events.alerts import Alerts
from dispatch.events.inbox import Inboxes
from dispatch.events.kept_answers import Answers
from dispatch.events.operations_board import Board
from dispatch.events.outbox import Outbox
from dispatch.leadership.arrival_recorder import Arrivals
from dispatch.leadership.leader_lease import Reign
from dispatch.leadership.reconciliation import OpenOrders, Reconciler, Seats
from dispatch.leadership.redis_instance import Birth
from dispatch.leadership.tick import Engine, Finds
from dispatch.leadership.trail_archiver import Keeper
from dispatch.orders.decision_store import Decisions
from dispatch.orders.learned_stats import Tallies
from dispatch.orders.offers.approach_store import Pursuits
from dispatch.orders.offers.display_receipts import OfferReceipts
from dispatch.orders.offers.offer_pauses import Pauses
from dispatch.orders.offers.policy_store import Policies
from dispatch.orders.service import Flow, Stores
from dispatch.orders.store import Orders
from dispatch.orders.unit_of_work import Clerk
from dispatch.riders.store import Riders
from dispatch.settings import Settings
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.leases import Fence, Leases
from dispatch.storage.pubsub import Feeds
from dispatch.storage.quotas import Quotas
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.storage.timers import Timers
from dispatch.supervise import Supervisor
from dispatch.tracking.cash_headroom import Purses
from dispatch.tracking.stores.learned_speeds import Paces
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.trails import Trails
from dispatch.tracking.watchers import Watchers
from handlers.app.auth_setup import open_reception
from handlers.app.background_tasks import (
    Live,
    Loops,
    common_loops,
    edge_loops,
    engine_loops,
)
from handlers.app.contexts import DESK, Desk
from handlers.app.gc_tuning import quieten_collector
from handlers.app.logs import configure_logs
from handlers.app.money_setup import open_counters
from handlers.app.tracking_setup import Way, lay_way
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
from handlers.sessions.client_address import Proxies
from handlers.sessions.origins import Origins
from handlers.sessions.rate_limits import Limits, Shared
from handlers.sessions.revocation_cache import Revoked
from handlers.sessions.session_registry import PER_IDENTITY_MAX, Sessions
from handlers.sockets.alert_feed import Alarm
from handlers.sockets.audiences import COMMANDS, advice, audiences, duty
from handlers.sockets.event_delivery import Postman
from handlers.sockets.gate import Gate, http_gate
from handlers.sockets.map_viewport import Areas, Span
from handlers.transport.accept_queue import Porch
from handlers.transport.engineio_server import Server
from handlers.transport.graceful_shutdown import Parting
from handlers.transport.idle_reaper import Silence
from handlers.transport.listener import BACKLOG, listen
from handlers.transport.log_filter import NO_HTTP
from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.schema import ensure_table
from ledger.posting.ledger import Ledger
from matching.speeds import Speeds

# One city, one zone; more of them need a rule that says which place belongs to which.
ZONE = "douala"
# A decision of all orders takes turns with the event loop, beside which it runs in a thread.
# Source: measured 2026-11-21, 400 riders: Python's own 5 ms keep the loop waiting for 6 to 13 ms.
THREAD_TURN_S = 0.001
CONSOLE = Path(__file__).resolve().parents[2] / "console" / "dist"
DEV_TOKEN_S = 24 * 3600
# Lanes of our own accounts that a process posts to, and how many processes have lanes apart.
# Source: ledger study, 64 lanes carry 1,000 settlements a second.
LANES, LANE_BLOCKS = 16, 4
# What is served over HTTP, a file each.
SUBJECTS = (
    accounts, service_rates, catalogue, profiles, orders, wallets, admin, admin_money, promotions,
    token_routes, webhook_routes,
)  # fmt: skip

log = structlog.get_logger(__name__)


class Basis(NamedTuple):
    """What everything else stands on."""

    settings: Settings
    clock: Clock
    table: DynamoTable
    redis: RedisClients
    scripts: Scripts
    node: str


class Front(NamedTuple):
    """What apps meet: the sockets, and who answers on them."""

    server: Server
    gate: Gate
    parting: Parting


async def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT, then end everything in order.

    Errors: EngineFailed, TableUnavailable, SchemaMismatch where it cannot start.
    """
    configure_logs(settings)
    sys.setswitchinterval(THREAD_TURN_S)
    # Taken before anything is started: a second server ends here, with one line.
    listener = listen(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        basis = await _open(settings, stack)
        await run(basis, listener, stopped, quieten_collector)


async def _open(settings: Settings, stack: AsyncExitStack) -> Basis:
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
    return Basis(settings, SystemClock(), table, redis, scripts, ids.mint("node"))


def compose(basis: Basis) -> tuple[Desk, Live]:
    """Build the parts in the order in which they lean on one another."""
    settings, clock, table = basis.settings, basis.clock, basis.table
    feeds, board = Feeds(basis.redis), Board(basis.redis, basis.scripts)
    timers = Timers(basis.redis, basis.scripts, ZONE)
    inboxes, receipts = Inboxes(basis.redis, basis.scripts), OfferReceipts(basis.redis)
    positions = Positions(basis.redis.commands, basis.scripts, basis.node, settings.fix_lost_ms)
    outbox = Outbox(table, inboxes, timers, board, clock)
    # Four processes or fewer rarely post to the same lanes; when they do, it costs a conflict.
    ledger = Ledger(table, clock.now_ms, LANES, secrets.randbelow(LANE_BLOCKS) * LANES)
    stores = _stores(basis, positions, ledger, outbox)
    flow = Flow(stores, clock)
    finds = _finds(basis, stores, board, timers, receipts)
    watchers = Watchers(feeds, basis.node)
    way = lay_way(settings, clock, positions, watchers, stores.speeds)
    desk = Desk(
        settings=settings,
        clock=clock,
        flow=flow,
        **open_counters(table, ledger, flow, settings, clock)._asdict(),
        **open_reception(table, basis.redis, settings, clock)._asdict(),
        orders=Orders(table),
        trails=Trails(table),
        answers=Answers(table, clock),
        catalogue=stores.catalogue,
        config=stores.config,
        riders=stores.riders,
        positions=positions,
        pauses=finds.pauses,
        policies=finds.policies,
        decisions=finds.decisions,
        alarm=Alarm(finds.alerts, feeds),
        roster=way.roster,
        purses=Purses(stores.riders, way.roster),
        lane=way.lane,
        watchers=watchers,
        areas=_areas(basis, board, positions, feeds),
    )
    engine = Engine(flow, desk.orders, finds, clock)
    reign = Reign(Leases(basis.scripts, basis.node), stores.fence, ZONE, engine.run, clock)
    ours = OpenOrders(desk.orders, timers, board, lambda: reign.is_held)
    reconciler = _reconciler(basis, ours, way, desk)
    feeds.on_gap(reconciler.wake)
    live = Live(
        node=basis.node,
        board=board,
        feeds=feeds,
        inboxes=inboxes,
        visits=Visits(inboxes.together, basis.scripts, basis.node, PER_IDENTITY_MAX),
        receipts=receipts,
        outbox=outbox,
        engine=engine,
        reign=reign,
        way=way,
        arrivals=Arrivals(flow),
        paces=Paces(basis.redis, basis.scripts, stores.speeds),
        tallies=stores.tallies,
        reconciler=reconciler,
        revoked=Revoked(desk.revocations, feeds, clock),
        keeper=Keeper(desk.orders, positions, timers, desk.trails),
    )
    return desk, live


def _areas(basis: Basis, board: Board, positions: Positions, feeds: Feeds) -> Areas:
    """What operators see of their windows."""
    span = Span(basis.settings.fix_fresh_ms, basis.settings.fix_lost_ms)
    return Areas(board, positions, feeds, basis.clock, span)


def _reconciler(basis: Basis, ours: OpenOrders, way: Way, desk: Desk) -> Reconciler:
    """What brings back what Redis has forgotten."""
    seats = Seats(way.roster, way.drain, desk.riders, desk.orders)
    return Reconciler(Birth(basis.redis), (ours, seats), basis.clock)


def _stores(basis: Basis, positions: Positions, ledger: Ledger, outbox: Outbox) -> Stores:
    """What the steps of an order read and write."""
    table, clock = basis.table, basis.clock
    return Stores(
        catalogue=Catalogue(table, clock),
        config=Config(table, clock),
        promotions=Promotions(table, clock),
        riders=Riders(table, clock),
        positions=positions,
        speeds=Speeds(),
        tallies=Tallies(basis.redis, basis.scripts, clock, basis.settings.city_pace),
        ledger=ledger,
        clerk=Clerk(table, ledger, outbox, clock),
        fence=Fence(clock),
        payment_provider=basis.settings.payment_provider,
        rider_orders_max=basis.settings.rider_orders_max,
    )


def _finds(
    basis: Basis, stores: Stores, board: Board, timers: Timers, receipts: OfferReceipts
) -> Finds:
    """What the engine looks into."""
    return Finds(
        positions=stores.positions,
        timers=timers,
        receipts=receipts,
        pauses=Pauses(basis.redis, basis.scripts),
        pursuits=Pursuits(basis.redis),
        alerts=Alerts(basis.redis, basis.scripts),
        policies=Policies(basis.table, basis.clock, ZONE),
        decisions=Decisions(basis.table),
        board=board,
        tallies=stores.tallies,
        speeds=stores.speeds,
        fence=stores.fence,
        fresh_ms=basis.settings.fix_fresh_ms,
        pace=basis.settings.city_pace,
    )


async def run(
    basis: Basis, listener: socket.socket, stopped: asyncio.Event, on_ready: Callable[[], None]
) -> None:
    """Run one server on its stores until it is stopped, then end everything in order.

    `on_ready` is called once, as soon as clients are served.
    """
    desk, live = compose(basis)
    settings, clock = basis.settings, basis.clock
    supervisor = Supervisor(clock.monotonic_s)
    limits = Limits(settings, Shared(Quotas(basis.redis.commands, basis.scripts), clock))
    tokens = Tokens(settings, live.revoked.holds)
    app = _application(basis, desk, limits, tokens, stopped)
    _spawn(supervisor, common_loops(live))
    front = None
    if settings.has_sockets:
        front = await _open_front(basis, desk, live, (limits, tokens), supervisor)
        front.server.serve_in(app)
    if settings.has_engine:
        await _start_engine(desk, live, supervisor)
    runner = web.AppRunner(app, access_log=None, logger=NO_HTTP, shutdown_timeout=1)
    await runner.setup()
    assert runner.server is not None, "a runner that is set up has a server"
    porch = Porch(front and front.server.eio, runner.server)
    supervisor.spawn("silence", Silence(runner.server, porch, clock).watch)
    server = await asyncio.get_running_loop().create_server(porch, sock=listener, backlog=BACKLOG)
    try:
        on_ready()
        url = f"http://{settings.host}:{listener.getsockname()[1]}"
        log.info("ready", url=url, node=basis.node, role=settings.role, dev=settings.dev)
        await stopped.wait()
        log.info("stopping")
    finally:
        if front is not None:
            # While the sockets go one after the other, HTTP is still served.
            await front.parting.run()
            await front.gate.finish()
        server.close()
        porch.close()
        if front is not None:
            await front.server.close_all()
            await front.gate.finish()
        await runner.cleanup()
        await _end(live, supervisor, settings.drain_deadline_s)


async def _end(live: Live, supervisor: Supervisor, deadline_s: float) -> None:
    await live.way.drain.close(deadline_s / 2)
    await live.outbox.close(deadline_s / 4)
    await supervisor.stop(deadline_s / 2)
    log.info("stopped")


async def _open_front(
    basis: Basis, desk: Desk, live: Live, guards: tuple[Limits, Tokens], supervisor: Supervisor
) -> Front:
    (limits, tokens), sessions = guards, Sessions(basis.clock)
    postman = Postman(sessions, live.inboxes, live.feeds, live.receipts, basis.clock)
    postman.visits = live.visits
    postman.on_duty(duty(desk))
    postman.on_offer(lambda rider_id: desk.roster.offered(rider_id, desk.clock.now_ms()))
    server = Server(basis.settings, basis.clock, limits)
    gate = Gate(server, sessions, tokens, desk, audiences(desk, postman))
    with suppress(StoreUnavailable):
        # Before the first request; where the table is away the loop looks again.
        await live.revoked.look()
    supervisor.spawn("limits", limits.watch)
    live.revoked.on_news = lambda: sessions.end_revoked(live.revoked.holds)
    live.way.guide.on_arrival(live.arrivals.hand_over)
    live.way.guide.on_policy(advice(sessions))
    _spawn(supervisor, edge_loops(desk, live, postman, sessions))
    return Front(server, gate, Parting(server, basis.settings.drain_spread_s))


async def _start_engine(desk: Desk, live: Live, supervisor: Supervisor) -> None:
    _spawn(supervisor, engine_loops(desk, live))
    # Where Redis is away the listener is kept, and joins when it is back.
    with suppress(StoreUnavailable):
        await live.feeds.open(keys.engine_channel(ZONE), live.engine.wake)


def _spawn(supervisor: Supervisor, loops: Loops) -> None:
    for name, work in loops.items():
        supervisor.spawn(name, work)


def _application(
    basis: Basis, desk: Desk, limits: Limits, tokens: Tokens, stopped: asyncio.Event
) -> web.Application:
    settings, clock = basis.settings, basis.clock
    app = web.Application(middlewares=[http_gate], client_max_size=settings.http_body_bytes_max)
    app[DESK] = desk
    app[envelope.EDGE] = envelope.Edge(
        settings, clock, tokens, limits, Origins(settings), Proxies(settings)
    )
    probes = health.probes_of(basis.redis, basis.table)
    envelope.register(app, health.routes(probes, stopped.is_set))
    if not settings.has_sockets:
        return app
    for subject in SUBJECTS:
        envelope.register(app, subject.ROUTES)

    def dev_token() -> str:
        return tokens.issue("ADMIN", "adm_console", DEV_TOKEN_S, clock.now_ms())

    add_docs(app, COMMANDS)
    add_console(app, dist=CONSOLE, dev_token=dev_token if settings.dev else None)
    return app
