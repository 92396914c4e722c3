"""A shop at night with its engine and the riders around it, on real stores and its own clock."""

from typing import cast

from msgspec.structs import replace

from dispatch.events.alerts import Alerts
from dispatch.leadership.tick import Engine
from dispatch.model import Position
from dispatch.orders.decision_store import Decisions
from dispatch.orders.offers.approach_store import Pursuits
from dispatch.orders.offers.display_receipts import OfferReceipts
from dispatch.orders.offers.lookups import Finds
from dispatch.orders.offers.offer_pauses import Pauses
from dispatch.orders.offers.policy_store import Policies
from dispatch.tracking.stores.index_scan import Crowd
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_facts import Facts, Seen, pack
from dispatch.wire import commands
from dispatch.wire.http import requests

FACTS = (
    "available", "active", "capacity", "completion", "rating", "until_ms", "recent_offers",
    "cash_headroom_xaf", "vehicle", "name",
)  # fmt: skip


class Streets:
    """Riders at given distances from the shop, as the index of positions would find them."""

    def __init__(self, clock):
        self.clock = clock
        self.riders = {}
        self.fixes = {}

    def put(self, rider_id, km, **facts):
        """A free rider with a fresh fix; override one fact and keep the rest."""
        usual = {
            "lat": 4.051 + km / 111.195, "lng": 9.708, "ts": 0, "heading": None, "speed": None,
            "seen_at_ms": self.clock.now_ms(), "accuracy": 5.0, "available": True, "active": 0,
            "capacity": 1,
            "completion": 95.0, "rating": 4.5, "recent_offers": 0, "cash_headroom_xaf": 50_000,
            "vehicle": "MOTORBIKE", "name": rider_id, "distance_km": km,
        }  # fmt: skip
        self.riders[rider_id] = Seen(rider_id=rider_id, **{**usual, **facts})

    async def last(self, rider_id):
        """Where a rider was last."""
        return self.fixes.get(rider_id)

    def report(self, rider_id, km):
        """A rider's app says now how far from the shop he is."""
        now_ms = self.clock.now_ms()
        at = Position(lat=4.051 + km / 111.195, lng=9.708, ts=now_ms, received_at=now_ms)
        self.fixes[rider_id] = at

    async def near(self, circle, limit, now_ms, fresh_ms):
        """Free riders inside the circle, nearest first; their apps report every second."""
        found = await self.near_any(circle, limit, now_ms)
        return [replace(each, seen_at_ms=now_ms) for each in found if each.is_free]

    async def everybody(self):
        """Every rider as the index has him; their apps report every second."""
        now_ms = self.clock.now_ms()
        page = []
        for each in self.riders.values():
            at = Position(lat=each.lat, lng=each.lng, ts=now_ms, received_at=now_ms)
            known = {name: getattr(each, name) for name in FACTS}
            page += [each.rider_id.encode(), pack(at, Facts(**known))]
        return Crowd([page])

    async def near_any(self, circle, limit, now_ms):
        """Riders inside the circle, nearest first."""
        inside = [each for each in self.riders.values() if each.distance_km <= circle.radius_km]
        return sorted(inside, key=lambda each: each.distance_km)[:limit]


class Night:
    """A shop with its engine, and short words for what happens."""

    def __init__(self, shop, redis, scripts):
        self.shop = shop
        self.clock = shop.clock
        self.streets = Streets(self.clock)
        self.receipts = OfferReceipts(redis)
        self.pauses = Pauses(redis, scripts)
        self.alerts = Alerts(redis, scripts)
        self.policies = Policies(shop.table, self.clock, "douala")
        self.decisions = Decisions(shop.table)
        self.pursuits = Pursuits(redis)
        self.engine = self.restarted()

    def restarted(self):
        """An engine that remembers nothing."""
        finds = Finds(
            positions=cast("Positions", self.streets),
            timers=self.shop.timers,
            receipts=self.receipts,
            pauses=self.pauses,
            pursuits=self.pursuits,
            alerts=self.alerts,
            policies=self.policies,
            decisions=self.decisions,
            board=self.shop.board,
            tallies=self.shop.tallies,
            speeds=self.shop.speeds,
            fence=self.shop.fence,
            fresh_ms=15_000,
        )
        return Engine(self.shop.flow, self.shop.orders, finds, self.clock)

    async def order(self, **kind):
        """An order that its vendor has accepted."""
        order_id = await self.shop.place(**kind)
        await self.shop.accept(order_id)
        return order_id

    async def look(self, order_id, after_ms=0):
        """Let time pass and look at the order; its dispatch then."""
        self.clock.advance(after_ms)
        await self.engine.look(order_id)
        return await self.dispatch(order_id)

    async def dispatch(self, order_id):
        """The search of the order."""
        return (await self.shop.orders.get(order_id)).dispatch

    async def show(self, dispatch, *riders):
        """These riders' apps have shown their offers."""
        shown = [(dispatch.offers[rider].offer_id, self.clock.now_ms()) for rider in riders]
        await self.receipts._write(shown)

    async def decline(self, order_id, rider):
        """A rider says no to the offer he has."""
        offer = (await self.dispatch(order_id)).offers[rider]
        command = commands.DeclineDelivery(order_id=order_id, offer_id=offer.offer_id)
        await self.shop.flow.decline_delivery(self.shop.as_("rider", rider), command)

    async def accept(self, order_id, rider):
        """A rider takes the offer he has."""
        offer = (await self.dispatch(order_id)).offers[rider]
        await self.shop.take(order_id, rider, offer.offer_id)

    async def set(self, **policy):
        """The operator changes how riders are asked for meals."""
        await self.policies.put_offers("FOOD", requests.OfferSettings(**policy), "adm_1")
