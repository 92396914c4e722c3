"""What runs by itself beside the requests: what each role listens to, relays, ticks and sweeps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from dispatch.accounts.connection_counts import ConnectionCounts
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import NodeReport, OperationsBoard
from dispatch.events.outbox import Outbox
from dispatch.leadership.arrival_recorder import ArrivalRecorder
from dispatch.leadership.leader_lease import LeaderLease
from dispatch.leadership.reconciliation import Reconciler
from dispatch.leadership.tick import DispatchEngine
from dispatch.leadership.trail_archiver import TrailArchiver
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.storage.pubsub import PubSub
from dispatch.tracking.stores.learned_speeds import SharedSpeeds
from handlers.app.contexts import Desk
from handlers.app.tracking_setup import TrackingParts
from handlers.sessions.revocation_cache import RevocationCache
from handlers.sessions.session_registry import SessionRegistry
from handlers.sockets.event_delivery import EventDelivery
from handlers.transport.load_shedding import LoadShedder

PIPELINE_SWEEP_EVERY_S = 1.0
INDEX_SWEEP_EVERY_S = 10.0

Loops = Mapping[str, Callable[[], Awaitable[None]]]


class BackgroundTasks(NamedTuple):
    """What moves by itself: listens, relays, ticks, drains."""

    node: str
    board: OperationsBoard
    pubsub: PubSub
    inboxes: Inboxes
    connection_counts: ConnectionCounts
    display_receipts: DisplayReceipts
    outbox: Outbox
    dispatch_engine: DispatchEngine
    leader_lease: LeaderLease
    tracking: TrackingParts
    arrival_recorder: ArrivalRecorder
    shared_speeds: SharedSpeeds
    learned_stats: LearnedStats
    reconciler: Reconciler
    revocation_cache: RevocationCache
    trail_archiver: TrailArchiver


def common_loops(background: BackgroundTasks) -> Loops:
    """Every process hears, learns, and relays what it has written itself."""
    return {
        "feeds": background.pubsub.run,
        "outbox": background.outbox.run,
        "reconciler": background.reconciler.run,
        "paces": background.shared_speeds.run,
        "tallies": background.learned_stats.run,
    }


def edge_loops(
    desk: Desk,
    background: BackgroundTasks,
    event_delivery: EventDelivery,
    sessions: SessionRegistry,
) -> Loops:
    """A process with sockets brings positions to Redis and events to its sockets."""
    routes: Loops = (
        {}
        if background.tracking.routing_engine is None
        else {"router": background.tracking.routing_engine.run}
    )
    return {
        **routes,
        "arrivals": background.arrival_recorder.run,
        "drain": background.tracking.writer.run,
        "watchers": desk.watchers.run,
        "settler": desk.settlement_worker.run,
        "payer": desk.payout_service.run,
        "offer_receipts": background.display_receipts.run,
        "postman": event_delivery.run,
        "areas": desk.viewport_feed.run,
        "purses": desk.cash_headroom.run,
        "expiry": sessions.watch_expiry,
        "revoked": background.revocation_cache.run,
        "rush": LoadShedder(sessions, desk.clock).run,
        "lane_sweep": lambda: _sweep_fix_pipeline(desk, background),
    }


def engine_loops(desk: Desk, background: BackgroundTasks) -> Loops:
    """A process that may be the live engine also finishes what lost nodes have left."""
    return {
        "engine": background.leader_lease.run,
        "outbox_sweep": background.outbox.sweep,
        "settler_sweep": desk.settlement_worker.sweep,
        "lapses": lambda: desk.order_timeouts.run(lambda: background.leader_lease.is_held),
        "payout_sweep": desk.payout_service.sweep,
        "warden": lambda: desk.ledger_monitor.run(
            lambda: background.leader_lease.is_held, desk.alert_feed.raise_alert
        ),
        "index_sweep": lambda: _sweep_index(desk),
        "trails": lambda: background.trail_archiver.run(
            desk.clock, lambda: background.leader_lease.is_held
        ),
    }


async def _sweep_fix_pipeline(desk: Desk, background: BackgroundTasks) -> None:
    while True:
        await asyncio.sleep(PIPELINE_SWEEP_EVERY_S)
        now_ms = desk.clock.now_ms()
        fixes = desk.fix_pipeline.sweep(now_ms)
        with suppress(StoreUnavailable):
            # What is not reported now is missing from the page; a node that reports nothing for
            # seconds counts as gone, and its sockets are none.
            pulse = NodeReport(now_ms, fixes, desk.rider_registry.count_on_duty())
            background.connection_counts.evict_excess(
                await background.board.report(background.node, pulse)
            )


async def _sweep_index(desk: Desk) -> None:
    while True:
        await asyncio.sleep(INDEX_SWEEP_EVERY_S)
        with suppress(StoreUnavailable):
            # What is not swept now is swept the next time; searches pass over it.
            await desk.positions.sweep(desk.clock.now_ms())
