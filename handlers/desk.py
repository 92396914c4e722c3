"""What every handler may reach for, gathered once by the composition root."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from dispatch.bursar import Bursar
from dispatch.cashier import Cashier
from dispatch.clock import Clock
from dispatch.lapses import Lapses
from dispatch.orders.flow import Flow
from dispatch.payer import Payer
from dispatch.settings import Settings
from dispatch.settler import Settler
from dispatch.store.accounts import Accounts
from dispatch.store.answers import Answers
from dispatch.store.catalogue import Catalogue
from dispatch.store.config import Config
from dispatch.store.decisions import Decisions
from dispatch.store.orders import Orders
from dispatch.store.pauses import Pauses
from dispatch.store.payouts import Payouts
from dispatch.store.policies import Policies
from dispatch.store.positions import Positions
from dispatch.store.promotions import Promotions
from dispatch.store.revocations import Revocations
from dispatch.store.riders import Duty, Riders
from dispatch.store.sign_ins import SignIns
from dispatch.store.trails import Trails
from dispatch.tracking.lane import Lane
from dispatch.tracking.presence import About, Roster
from dispatch.tracking.purse import Purses
from dispatch.tracking.watch import Watchers
from dispatch.warden import Warden
from handlers.alerts import Alarm
from handlers.area import Areas
from handlers.courier import Courier
from handlers.passwords import Passwords
from ledger.history import History
from ledger.statements import Statements

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
