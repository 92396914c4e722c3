"""The services and stores of a server process, built once by the composition root.

Only `handlers.app` uses this: each audience and each HTTP subject gets a context with what it uses.
"""

from dataclasses import dataclass

from dispatch.accounts.attempts import Attempts
from dispatch.accounts.duty import Duty
from dispatch.accounts.people import People
from dispatch.accounts.revocations import Revocations
from dispatch.accounts.sign_ins import SignIns
from dispatch.accounts.store import Accounts
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.events.audit_log import AuditLog
from dispatch.events.kept_answers import KeptAnswers
from dispatch.leadership.order_timeouts import OrderTimeouts
from dispatch.money.approvals.service import ApprovalService
from dispatch.money.corrections import CorrectionService
from dispatch.money.ledger_monitor import LedgerMonitor
from dispatch.money.payments import PaymentService
from dispatch.money.payouts.services import PayoutServices
from dispatch.money.payouts.store import PayoutStore
from dispatch.money.settlement_worker import SettlementWorker
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.orders.rider_deliveries import RiderDeliveries
from dispatch.orders.rider_loader import RiderLoader
from dispatch.orders.service import OrderService
from dispatch.orders.standing_changes import StandingChanges
from dispatch.orders.store import OrderStore
from dispatch.riders.store import Riders
from dispatch.settings import Settings
from dispatch.storage.pubsub import PubSub
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_index import RiderIndex
from dispatch.tracking.stores.trails import Trails
from dispatch.tracking.watchers import Watchers
from handlers.sessions.barred_identities import BarredIdentities
from handlers.sessions.passwords import Passwords
from handlers.sessions.sign_in_codes import SignInCodes
from handlers.sockets.alert_feed import AlertFeed
from handlers.sockets.map_viewport import ViewportFeed
from ledger.reporting.history import History
from ledger.reporting.statements import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Every service and store that a socket, an endpoint or a background task uses."""

    settings: Settings
    clock: Clock
    pubsub: PubSub
    order_service: OrderService
    deliveries: RiderDeliveries
    payment_service: PaymentService
    settlement_worker: SettlementWorker
    order_timeouts: OrderTimeouts
    payouts: PayoutServices
    correction_service: CorrectionService
    orders: OrderStore
    trails: Trails
    kept_answers: KeptAnswers
    audit_log: AuditLog
    catalogue: Catalogue
    service_rates: ServiceRates
    promotions: Promotions
    riders: Riders
    rider_loader: RiderLoader
    positions: Positions
    rider_index: RiderIndex
    offer_pauses: OfferPauses
    offer_policies: OfferPolicyStore
    decisions: DecisionStore
    revocations: Revocations
    people: People
    barred: BarredIdentities
    duty: Duty
    standing_changes: StandingChanges
    accounts: Accounts
    sign_ins: SignIns
    passwords: Passwords
    attempts: Attempts
    sign_in_codes: SignInCodes
    alert_feed: AlertFeed
    statements: Statements
    history: History
    payout_store: PayoutStore
    approval_service: ApprovalService
    ledger_monitor: LedgerMonitor
    rider_registry: RiderRegistry
    cash_headroom: CashHeadroom
    fix_pipeline: FixPipeline
    watchers: Watchers
    freshness_limits: FreshnessLimits
    viewport_feed: ViewportFeed
