"""What every handler may reach for, gathered once by the composition root."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from dispatch.accounts.revocations import Revocations
from dispatch.accounts.sign_ins import SignIns
from dispatch.accounts.store import Accounts
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import Config
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.events.kept_answers import Answers
from dispatch.leadership.order_timeouts import Lapses
from dispatch.money.corrections import Bursar
from dispatch.money.ledger_monitor import Warden
from dispatch.money.payments import Cashier
from dispatch.money.payout_store import Payouts
from dispatch.money.payouts import Payer
from dispatch.money.settlement_worker import Settler
from dispatch.orders.decision_store import Decisions
from dispatch.orders.offers.offer_pauses import Pauses
from dispatch.orders.offers.policy_store import Policies
from dispatch.orders.service import Flow
from dispatch.orders.store import Orders
from dispatch.riders.store import Duty, Riders
from dispatch.settings import Settings
from dispatch.tracking.cash_headroom import Purses
from dispatch.tracking.fix_pipeline import Lane
from dispatch.tracking.rider_state import About, Roster
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.trails import Trails
from dispatch.tracking.watchers import Watchers
from handlers.gateways.code_sender import Courier
from handlers.sessions.passwords import Passwords
from handlers.sockets.alert_feed import Alarm
from handlers.sockets.map_viewport import Areas
from ledger.reporting.history import History
from ledger.reporting.statements import Statements

Freshness = Literal["live", "stale", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The steps, the stores and the clock."""

    settings: Settings
    clock: Clock
    flow: Flow
    cashier: Cashier
    settler: Settler
    lapses: Lapses
    payer: Payer
    bursar: Bursar
    orders: Orders
    trails: Trails
    answers: Answers
    catalogue: Catalogue
    config: Config
    promotions: Promotions
    riders: Riders
    positions: Positions
    pauses: Pauses
    policies: Policies
    decisions: Decisions
    revocations: Revocations
    accounts: Accounts
    sign_ins: SignIns
    passwords: Passwords
    courier: Courier
    alarm: Alarm
    statements: Statements
    history: History
    payouts: Payouts
    warden: Warden
    roster: Roster
    purses: Purses
    lane: Lane
    watchers: Watchers
    areas: Areas

    async def rider(self, rider_id: str) -> tuple[Duty, About]:
        """What a rider carries, and what is known of him beside where he is.

        Errors: StoreUnavailable.
        """
        # Side by side: a thousand riders who come back at once share their reads.
        (duty, stats), profile, headroom_xaf = await asyncio.gather(
            self.riders.duty_and_stats(rider_id),
            self.riders.profile(rider_id),
            self.riders.cash_headroom(rider_id),
        )
        about = About(
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


DESK = web.AppKey("desk", Desk)
