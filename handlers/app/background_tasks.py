"""Background loops of a server process, by role: what it listens to, relays, ticks and sweeps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import structlog

from dispatch.accounts.connection_counts import ConnectionCounts
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes
from dispatch.events.node_reports import NodeReport, NodeReports
from dispatch.events.outbox import Outbox
from dispatch.leadership.arrival_recorder import ArrivalRecorder
from dispatch.leadership.engine_monitor import EngineMonitor
from dispatch.leadership.leader_lease import LeaderLease
from dispatch.leadership.reconciliation import Reconciler
from dispatch.leadership.tick import DispatchEngine
from dispatch.leadership.trail_archiver import TrailArchiver
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.settings import Settings
from dispatch.settings.unsafe import find_unsafe
from dispatch.storage.pubsub import PubSub
from dispatch.supervise import Supervisor
from dispatch.tracking.stores.learned_speeds import SharedSpeeds
from handlers.app.services import Services
from handlers.app.setup.tracking import TrackingParts
from handlers.sessions.revocation_cache import RevocationCache

PIPELINE_SWEEP_EVERY_S = 1.0
INDEX_SWEEP_EVERY_S = 10.0
# Unsafe settings are logged at the start, and then this often. Source: chosen; once a day is lost
# in a log, once a minute is noise.
UNSAFE_EVERY_S = 3600.0

log = structlog.get_logger(__name__)

# By the loop's name, which is the `loop` label of `reeyo_loop_crashes_total`.
Loops = Mapping[str, Callable[[], Awaitable[None]]]


class BackgroundTasks(NamedTuple):
    """The parts that run by themselves, and what they report to."""

    node: str
    node_reports: NodeReports
    pubsub: PubSub
    inboxes: Inboxes
    connection_counts: ConnectionCounts
    display_receipts: DisplayReceipts
    outbox: Outbox
    dispatch_engine: DispatchEngine
    leader_lease: LeaderLease
    engine_monitor: EngineMonitor
    tracking: TrackingParts
    arrival_recorder: ArrivalRecorder
    shared_speeds: SharedSpeeds
    learned_stats: LearnedStats
    reconciler: Reconciler
    revocation_cache: RevocationCache
    trail_archiver: TrailArchiver


def spawn_all(supervisor: Supervisor, loops: Loops) -> None:
    """Start the loops under their names."""
    for name, loop in loops.items():
        supervisor.spawn(name, loop)


def common_loops(services: Services, background: BackgroundTasks) -> Loops:
    """Loops of every process: it listens, learns, and relays the events it has written."""
    return {
        "unsafe_settings": lambda: _warn_unsafe(services.settings),
        "pubsub": background.pubsub.run,
        "outbox": background.outbox.run,
        "reconciler": background.reconciler.run,
        "shared_speeds": background.shared_speeds.run,
        "learned_stats": background.learned_stats.run,
    }


def edge_loops(services: Services, background: BackgroundTasks) -> Loops:
    """Loops of a process with sockets: it writes positions to Redis, settles and pays out."""
    engine = background.tracking.routing_engine
    routing: Loops = {} if engine is None else {"routing_engine": engine.run}
    return {
        **routing,
        "engine_monitor": background.engine_monitor.run,
        "arrival_recorder": background.arrival_recorder.run,
        "redis_writer": background.tracking.writer.run,
        "watchers": services.watchers.run,
        "settlement_worker": services.settlement_worker.run,
        "payouts": services.payouts.submitter.run,
        "display_receipts": background.display_receipts.run,
        "viewport_feed": services.viewport_feed.run,
        "cash_headroom": services.cash_headroom.run,
        "revocation_cache": background.revocation_cache.run,
        "fix_pipeline_sweep": lambda: _sweep_fix_pipeline(services, background),
    }


def engine_loops(services: Services, background: BackgroundTasks) -> Loops:
    """Loops of a process that may be the live engine; they also finish the work of lost nodes."""

    def is_leader() -> bool:
        return background.leader_lease.is_held

    return {
        "leader_lease": background.leader_lease.run,
        "outbox_sweep": background.outbox.sweep,
        "settlement_sweep": services.settlement_worker.sweep,
        "order_timeouts": lambda: services.order_timeouts.run(is_leader),
        "payout_sweep": services.payouts.submitter.sweep,
        "ledger_monitor": lambda: services.ledger_monitor.run(
            is_leader, services.alert_feed.raise_alert
        ),
        "index_sweep": lambda: _sweep_index(services),
        "trail_archiver": lambda: background.trail_archiver.run(services.clock, is_leader),
    }


async def _warn_unsafe(settings: Settings) -> None:
    while True:
        for name, advice in find_unsafe(settings):
            log.warning("unsafe_setting", setting=name, advice=advice)
        await asyncio.sleep(UNSAFE_EVERY_S)


async def _sweep_fix_pipeline(services: Services, background: BackgroundTasks) -> None:
    while True:
        await asyncio.sleep(PIPELINE_SWEEP_EVERY_S)
        now_ms = services.clock.now_ms()
        fixes = services.fix_pipeline.sweep(now_ms)
        with suppress(StoreUnavailable):
            # A missed report is missing on the operators' page; a node that reports nothing for
            # seconds counts as dead, and its sockets are not counted.
            report = NodeReport(now_ms, fixes, services.rider_registry.count_on_duty())
            background.connection_counts.evict_excess(
                await background.node_reports.report(background.node, report)
            )
            # A claim that is lost is made again while its rider has another phone elsewhere.
            claims = services.fix_pipeline.sources.take_claims(background.node, now_ms)
            await background.tracking.source_claims.publish(claims, now_ms)


async def _sweep_index(services: Services) -> None:
    while True:
        await asyncio.sleep(INDEX_SWEEP_EVERY_S)
        with suppress(StoreUnavailable):
            # What is not swept now is swept the next time; searches skip it.
            await services.positions.sweep(services.clock.now_ms())
