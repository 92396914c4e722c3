"""Composition root: builds each part of a server once and connects the parts; starts nothing."""

from dispatch.accounts.connection_counts import ConnectionCounts
from dispatch.events.audit_log import AuditLog
from dispatch.events.kept_answers import KeptAnswers
from dispatch.events.node_reports import NodeReports
from dispatch.leadership.arrival_recorder import ArrivalRecorder
from dispatch.leadership.engine_monitor import EngineMonitor
from dispatch.leadership.leader_lease import LeaderLease
from dispatch.leadership.reconciliation import OpenOrderRecovery, Reconciler, RiderStateRecovery
from dispatch.leadership.redis_instance import RedisInstance
from dispatch.leadership.tick import DispatchEngine
from dispatch.leadership.trail_archiver import TrailArchiver
from dispatch.orders.rider_deliveries import RiderDeliveries
from dispatch.orders.rider_loader import RiderLoader
from dispatch.orders.standing_changes import StandingChanges, StandingLookups
from dispatch.orders.store import OrderStore
from dispatch.storage.leases import Leases
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.tracking.stores.learned_speeds import SharedSpeeds
from dispatch.tracking.stores.trails import Trails
from handlers.app.background_tasks import BackgroundTasks
from handlers.app.infrastructure import Infrastructure
from handlers.app.services import Services
from handlers.app.setup.auth import build_auth_services
from handlers.app.setup.events import ZONE, EventParts, build_event_parts
from handlers.app.setup.money import build_money_services
from handlers.app.setup.orders import OrderParts, build_order_parts
from handlers.app.setup.tracking import TrackingParts, build_positions, build_tracking
from handlers.sessions.barred_identities import BarredIdentities
from handlers.sessions.revocation_cache import RevocationCache
from handlers.sessions.session_registry import SOCKETS_PER_IDENTITY_MAX
from handlers.sockets.alert_feed import AlertFeed
from handlers.sockets.map_viewport import ViewportFeed


def compose(infrastructure: Infrastructure) -> tuple[Services, BackgroundTasks]:
    """All services and background tasks, built in the order in which they need one another."""
    positions = build_positions(infrastructure)
    events = build_event_parts(infrastructure)
    orders = build_order_parts(infrastructure, events, positions)
    tracking = build_tracking(infrastructure, events.pubsub, positions, orders.stores.speeds)
    services = _build_services(infrastructure, events, orders, tracking)
    return services, _build_background_tasks(infrastructure, services, events, orders, tracking)


def _build_services(
    infrastructure: Infrastructure, events: EventParts, orders: OrderParts, tracking: TrackingParts
) -> Services:
    settings, clock, table = infrastructure.settings, infrastructure.clock, infrastructure.table
    money = build_money_services(infrastructure, orders)
    auth = build_auth_services(infrastructure)
    stores, registry, order_store = orders.stores, tracking.rider_registry, OrderStore(table)
    freshness_limits = registry.limits
    return Services(
        settings=settings,
        clock=clock,
        pubsub=events.pubsub,
        order_service=orders.order_service,
        deliveries=RiderDeliveries(orders.order_service, registry, money.settlement_worker, clock),
        payment_service=money.payment_service,
        settlement_worker=money.settlement_worker,
        order_timeouts=money.order_timeouts,
        payouts=money.payouts,
        correction_service=money.correction_service,
        orders=order_store,
        trails=Trails(table),
        kept_answers=KeptAnswers(table, clock),
        audit_log=AuditLog(table),
        catalogue=stores.catalogue,
        service_rates=stores.service_rates,
        promotions=money.promotions,
        riders=stores.riders,
        rider_loader=RiderLoader(stores.riders, order_store, registry, settings.rider_orders_max),
        positions=stores.positions,
        rider_index=orders.lookups.rider_index,
        offer_pauses=orders.lookups.pauses,
        offer_policies=orders.lookups.policies,
        decisions=orders.lookups.decisions,
        revocations=auth.revocations,
        people=auth.people,
        barred=BarredIdentities(auth.people),
        duty=auth.duty,
        standing_changes=StandingChanges(
            auth.standing_decisions,
            orders.order_service,
            StandingLookups(order_store, stores.riders, orders.lookups.alerts),
            clock,
        ),
        accounts=auth.accounts,
        sign_ins=auth.sign_ins,
        passwords=auth.passwords,
        attempts=auth.attempts,
        sign_in_codes=auth.sign_in_codes,
        alert_feed=AlertFeed(orders.lookups.alerts, events.pubsub),
        statements=money.statements,
        history=money.history,
        payout_store=money.payout_store,
        approval_service=money.approval_service,
        ledger_monitor=money.ledger_monitor,
        rider_registry=registry,
        cash_headroom=CashHeadroom(stores.riders, registry),
        fix_pipeline=tracking.fix_pipeline,
        watchers=tracking.watchers,
        freshness_limits=freshness_limits,
        viewport_feed=ViewportFeed(
            events.board, orders.lookups.rider_index, events.pubsub, clock, freshness_limits
        ),
    )


def _build_background_tasks(
    infrastructure: Infrastructure,
    services: Services,
    events: EventParts,
    orders: OrderParts,
    tracking: TrackingParts,
) -> BackgroundTasks:
    clock, scripts, node = infrastructure.clock, infrastructure.scripts, infrastructure.node
    engine = DispatchEngine(services.order_service, services.orders, orders.lookups, clock)
    lease = LeaderLease(Leases(scripts, node), orders.stores.fence, ZONE, engine.run, clock)
    open_orders = OpenOrderRecovery(
        services.orders, events.timers, events.board, lambda: lease.is_held
    )
    rider_states = RiderStateRecovery(
        tracking.rider_registry, tracking.writer, services.rider_loader
    )
    reconciler = Reconciler(RedisInstance(infrastructure.redis), (open_orders, rider_states), clock)
    events.pubsub.on_gap(reconciler.wake)
    return BackgroundTasks(
        node=node,
        node_reports=NodeReports(infrastructure.redis),
        pubsub=events.pubsub,
        inboxes=events.inboxes,
        connection_counts=ConnectionCounts(
            events.inboxes.batcher, scripts, node, SOCKETS_PER_IDENTITY_MAX
        ),
        display_receipts=events.display_receipts,
        outbox=events.outbox,
        dispatch_engine=engine,
        leader_lease=lease,
        engine_monitor=EngineMonitor(
            infrastructure.redis, ZONE, services.alert_feed.raise_alert, clock
        ),
        tracking=tracking,
        arrival_recorder=ArrivalRecorder(services.order_service),
        shared_speeds=SharedSpeeds(infrastructure.redis, scripts, orders.stores.speeds),
        learned_stats=orders.stores.learned_stats,
        reconciler=reconciler,
        revocation_cache=RevocationCache(
            services.revocations, events.pubsub, clock, services.barred
        ),
        trail_archiver=TrailArchiver(
            services.orders, services.positions, events.timers, services.trails
        ),
    )
