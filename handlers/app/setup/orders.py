"""Builds what orders are decided with: the order service, its stores and the engine's lookups."""

import secrets
from typing import NamedTuple

from dispatch.accounts.standing import StandingRules
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.events.alerts import Alerts
from dispatch.events.outbox import Outbox
from dispatch.leadership.tick import EngineLookups
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.approach_store import ApproachStore
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.orders.service import OrderService
from dispatch.orders.transitions.handover import HandoverPolicy
from dispatch.orders.unit_of_work import OrderUnitOfWork
from dispatch.orders.unpaid_orders import UnpaidLimits
from dispatch.orders.use_cases.base import OrderStores
from dispatch.riders.store import Riders
from dispatch.storage.leases import Fence
from dispatch.tracking.stores.positions import Positions
from handlers.app.infrastructure import Infrastructure
from handlers.app.setup.events import ZONE, EventParts
from handlers.app.setup.tracking import build_rider_index
from ledger.posting.ledger import Ledger
from matching.speeds import LearnedSpeeds

# Shards of the platform's accounts that a process posts to, and how many processes have shards
# apart: four processes or fewer rarely post to the same ones, which costs a conflict.
# Source: chosen with `python -m bench.settle`; 64 shards carry 1,000 settlements a second.
ACCOUNT_SHARDS, ACCOUNT_SHARD_BLOCKS = 16, 4


class OrderParts(NamedTuple):
    """The order service with what it reads and writes, and what the engine reads."""

    ledger: Ledger
    stores: OrderStores
    order_service: OrderService
    lookups: EngineLookups


def build_order_parts(
    infrastructure: Infrastructure, events: EventParts, positions: Positions
) -> OrderParts:
    """The parts, on one ledger."""
    ledger = _build_ledger(infrastructure)
    policies = OfferPolicyStore(infrastructure.table, infrastructure.clock, ZONE)
    stores = _build_order_stores(infrastructure, positions, ledger, events.outbox, policies)
    return OrderParts(
        ledger=ledger,
        stores=stores,
        order_service=OrderService(stores, infrastructure.clock),
        lookups=_build_engine_lookups(infrastructure, stores, events, policies),
    )


def _build_ledger(infrastructure: Infrastructure) -> Ledger:
    """The ledger, posting to one block of the platform's account shards."""
    first_shard = secrets.randbelow(ACCOUNT_SHARD_BLOCKS) * ACCOUNT_SHARDS
    return Ledger(infrastructure.table, infrastructure.clock.now_ms, ACCOUNT_SHARDS, first_shard)


def _build_order_stores(
    infrastructure: Infrastructure,
    positions: Positions,
    ledger: Ledger,
    outbox: Outbox,
    policies: OfferPolicyStore,
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
        unit_of_work=OrderUnitOfWork(
            table,
            ledger,
            outbox,
            clock,
            UnpaidLimits(
                orders_max=infrastructure.settings.unpaid_orders_max,
                value_max_xaf=infrastructure.settings.unpaid_value_max,
            ),
        ),
        fence=Fence(clock),
        payment_provider=infrastructure.settings.payment_provider,
        service_area=infrastructure.settings.area,
        offer_policies=policies,
        handover_policy=HandoverPolicy(
            infrastructure.settings.cash_shortage, infrastructure.settings.completed_far_m
        ),
        rider_orders_max=infrastructure.settings.rider_orders_max,
        standing_rules=StandingRules(infrastructure.settings.require_approval),
    )


def _build_engine_lookups(
    infrastructure: Infrastructure,
    stores: OrderStores,
    events: EventParts,
    policies: OfferPolicyStore,
) -> EngineLookups:
    """What the dispatch engine reads while it looks for riders."""
    return EngineLookups(
        positions=stores.positions,
        rider_index=build_rider_index(infrastructure),
        timers=events.timers,
        receipts=events.display_receipts,
        pauses=OfferPauses(infrastructure.redis, infrastructure.scripts),
        approaches=ApproachStore(infrastructure.redis),
        alerts=Alerts(infrastructure.redis, infrastructure.scripts),
        policies=policies,
        decisions=DecisionStore(infrastructure.table),
        board=events.board,
        learned_stats=stores.learned_stats,
        speeds=stores.speeds,
        fence=stores.fence,
        fresh_ms=infrastructure.settings.fix_fresh_ms,
        time_scale=infrastructure.settings.city_pace,
    )
