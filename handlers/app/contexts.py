"""What every handler may reach for, gathered once by the composition root."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from dispatch.accounts.revocations import Revocations
from dispatch.accounts.sign_ins import SignIns
from dispatch.accounts.store import Accounts
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.events.kept_answers import KeptAnswers
from dispatch.leadership.order_timeouts import OrderTimeouts
from dispatch.money.corrections import CorrectionService
from dispatch.money.ledger_monitor import LedgerMonitor
from dispatch.money.payments import PaymentService
from dispatch.money.payout_store import PayoutStore
from dispatch.money.payouts import PayoutService
from dispatch.money.settlement_worker import SettlementWorker
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.riders.store import Riders, Workload
from dispatch.settings import Settings
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.rider_state import RiderAttributes, RiderRegistry
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.trails import Trails
from dispatch.tracking.watchers import Watchers
from handlers.gateways.code_sender import CodeSender
from handlers.sessions.passwords import Passwords
from handlers.sockets.alert_feed import AlertFeed
from handlers.sockets.map_viewport import ViewportFeed
from ledger.reporting.history import History
from ledger.reporting.statements import Statements

Freshness = Literal["live", "stale", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The steps, the stores and the clock."""

    settings: Settings
    clock: Clock
    order_service: OrderService
    payment_service: PaymentService
    settlement_worker: SettlementWorker
    order_timeouts: OrderTimeouts
    payout_service: PayoutService
    correction_service: CorrectionService
    orders: OrderStore
    trails: Trails
    kept_answers: KeptAnswers
    catalogue: Catalogue
    service_rates: ServiceRates
    promotions: Promotions
    riders: Riders
    positions: Positions
    offer_pauses: OfferPauses
    offer_policies: OfferPolicyStore
    decisions: DecisionStore
    revocations: Revocations
    accounts: Accounts
    sign_ins: SignIns
    passwords: Passwords
    code_sender: CodeSender
    alert_feed: AlertFeed
    statements: Statements
    history: History
    payout_store: PayoutStore
    ledger_monitor: LedgerMonitor
    rider_registry: RiderRegistry
    cash_headroom: CashHeadroom
    fix_pipeline: FixPipeline
    watchers: Watchers
    viewport_feed: ViewportFeed

    async def load_rider(self, rider_id: str) -> tuple[Workload, RiderAttributes]:
        """What a rider carries, and what is known of him beside where he is.

        Errors: StoreUnavailable.
        """
        # Side by side: a thousand riders who come back at once share their reads.
        (duty, stats), profile, headroom_xaf = await asyncio.gather(
            self.riders.workload_and_stats(rider_id),
            self.riders.profile(rider_id),
            self.riders.cash_headroom(rider_id),
        )
        about = RiderAttributes(
            name=profile.name if profile else "",
            vehicle=profile.vehicle if profile else None,
            completion=stats.completion,
            rating=stats.rating,
            capacity=self.settings.rider_orders_max,
            cash_headroom_xaf=headroom_xaf,
        )
        return duty, about

    def freshness(self, received_at_ms: int) -> Freshness:
        """How far a position may be trusted now. Units: Unix ms of the server."""
        age_ms = self.clock.now_ms() - received_at_ms
        if age_ms <= self.settings.fix_fresh_ms:
            return "live"
        return "stale" if age_ms <= self.settings.fix_lost_ms else "lost"
