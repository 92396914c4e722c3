"""Builds the socket edge: Socket.IO server, gate, event delivery and load shedding."""

from contextlib import suppress
from functools import partial
from typing import NamedTuple

from dispatch.errors import StoreUnavailable
from dispatch.keys import Identity
from handlers.app.background_tasks import BackgroundTasks, Loops
from handlers.app.services import Services
from handlers.sessions.auth import Tokens
from handlers.sessions.rate_limits import RateLimits
from handlers.sessions.session_registry import SessionRegistry
from handlers.sockets.admission import Admission
from handlers.sockets.audiences import (
    SocketContexts,
    apply_workload_changes,
    build_audiences,
    note_source_claims,
    push_position_source,
    push_tracking_policy,
)
from handlers.sockets.command_runner import CommandRunner
from handlers.sockets.event_delivery import EventDelivery
from handlers.sockets.gate import Gate
from handlers.sockets.ops import OpsContext
from handlers.sockets.rider import RiderContext
from handlers.sockets.user import UserContext, stop_watching
from handlers.sockets.vendor import VendorContext
from handlers.transport.graceful_shutdown import GracefulShutdown
from handlers.transport.load_shedding import LoadShedder
from handlers.transport.socketio_server import SocketIoServer


class SocketEdge(NamedTuple):
    """The sockets of a server, and the loops that belong to them."""

    server: SocketIoServer
    gate: Gate
    graceful_shutdown: GracefulShutdown
    loops: Loops


def build_socket_contexts(services: Services) -> SocketContexts:
    """Each audience's context."""
    return SocketContexts(
        user=UserContext(
            clock=services.clock,
            order_service=services.order_service,
            orders=services.orders,
            riders=services.riders,
            fix_pipeline=services.fix_pipeline,
            positions=services.positions,
            watchers=services.watchers,
            freshness_limits=services.freshness_limits,
        ),
        vendor=VendorContext(
            order_service=services.order_service,
            duty=services.duty,
        ),
        rider=RiderContext(
            clock=services.clock,
            order_service=services.order_service,
            duty=services.duty,
            deliveries=services.deliveries,
            rider_loader=services.rider_loader,
            rider_registry=services.rider_registry,
            fix_pipeline=services.fix_pipeline,
            positions=services.positions,
            offer_pauses=services.offer_pauses,
        ),
        ops=OpsContext(
            order_service=services.order_service,
            viewport_feed=services.viewport_feed,
            alert_feed=services.alert_feed,
        ),
    )


async def open_socket_edge(
    services: Services, background: BackgroundTasks, limits: RateLimits, tokens: Tokens
) -> SocketEdge:
    """The socket edge, connected to the parts whose changes its sockets must get.

    Its loops are not started yet.
    """
    settings, clock = services.settings, services.clock
    sessions, load_shedder = SessionRegistry(clock), LoadShedder(clock)
    event_delivery = _build_event_delivery(services, background, sessions)
    contexts = build_socket_contexts(services)
    event_delivery.on_order_end(partial(stop_watching, contexts.user))
    server = SocketIoServer(settings, clock, limits)
    gate = Gate(
        Admission(server, tokens, standing_of=background.revocation_cache.barred.standing_of),
        sessions,
        build_audiences(contexts, event_delivery),
        CommandRunner(clock, warns=settings.dev),
        load_shedder,
    )
    server.namespace_handler = gate
    revocations = background.revocation_cache
    with suppress(StoreUnavailable):
        # Before the first request; where the table is away the cache's loop reads it later.
        await revocations.refresh()

    def set_off_duty(owner: Identity) -> None:
        audience, _, rider_id = owner.partition(":")
        if audience == "rider":
            # The node's own state would stay until the rider is lost; no search finds it any more.
            services.rider_registry.set_available(rider_id, available=False)

    revocations.barred.on_inactive = set_off_duty
    revocations.on_revoked = lambda: sessions.end_revoked(revocations.must_end)
    background.tracking.tracking_rules.on_arrival(background.arrival_recorder.enqueue)
    background.tracking.tracking_rules.on_policy(push_tracking_policy(sessions))
    sources = background.tracking.fix_pipeline.sources
    sources.on_source(push_position_source(sessions))
    event_delivery.on_source_claim(
        note_source_claims(services.rider_registry, sources, background.node, clock)
    )
    loops: Loops = {
        "rate_limits": limits.run,
        "event_delivery": event_delivery.run,
        "session_expiry": sessions.watch_expiry,
        "load_shedder": load_shedder.run,
    }
    return SocketEdge(server, gate, GracefulShutdown(server, settings.drain_spread_s), loops)


def _build_event_delivery(
    services: Services, background: BackgroundTasks, sessions: SessionRegistry
) -> EventDelivery:
    registry, clock = services.rider_registry, services.clock
    event_delivery = EventDelivery(
        sessions, background.inboxes, background.pubsub, background.display_receipts, clock
    )
    event_delivery.connection_counts = background.connection_counts
    event_delivery.on_workload(apply_workload_changes(registry, services.cash_headroom, clock))
    event_delivery.on_offer(lambda rider_id: registry.record_offer(rider_id, clock.now_ms()))
    return event_delivery
