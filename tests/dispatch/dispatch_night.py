"""A shop at night with its engine and the riders around it, on real stores and its own clock."""

from typing import cast

from msgspec.structs import replace

from dispatch.events.alerts import Alerts
from dispatch.leadership.tick import DispatchEngine
from dispatch.model import Position
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.offers.approach_store import ApproachStore
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.tracking.stores.index_scan import IndexScan
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_facts import IndexedRider, RiderFacts, pack_rider
from dispatch.wire import commands
from dispatch.wire.http.offer_policy import OfferSettings

FACTS = (
    "available", "active", "capacity", "completion", "rating", "until_ms", "recent_offers",
    "cash_headroom_xaf", "vehicle", "name",
)  # fmt: skip


class FakePositions:
    """Riders at given distances from the shop, as the index of positions would find them."""

    def __init__(self, clock):
        self.clock = clock
        self.riders = {}
        self.fixes = {}

    def put_rider(self, rider_id, distance_km, **facts):
        """A free rider with a fresh fix; override one fact and keep the rest."""
        usual = {
            "lat": 4.051 + distance_km / 111.195,
            "lng": 9.708,
            "ts": 0,
            "heading": None,
            "speed": None,
            "seen_at_ms": self.clock.now_ms(),
            "accuracy": 5.0,
            "available": True,
            "active": 0,
            "capacity": 1,
            "completion": 95.0,
            "rating": 4.5,
            "recent_offers": 0,
            "cash_headroom_xaf": 50_000,
            "vehicle": "MOTORBIKE",
            "name": rider_id,
            "distance_km": distance_km,
        }
        self.riders[rider_id] = IndexedRider(rider_id=rider_id, **{**usual, **facts})

    async def last_position(self, rider_id):
        """Where a rider was last."""
        return self.fixes.get(rider_id)

    def report_position(self, rider_id, distance_km):
        """A rider's app says now how far from the shop he is."""
        now_ms = self.clock.now_ms()
        at = Position(lat=4.051 + distance_km / 111.195, lng=9.708, ts=now_ms, received_at=now_ms)
        self.fixes[rider_id] = at

    async def find_nearest_free(self, circle, limit, now_ms, fresh_ms):
        """Free riders inside the circle, nearest first; their apps report every second."""
        found = await self.find_nearest(circle, limit, now_ms)
        return [replace(each, seen_at_ms=now_ms) for each in found if each.is_free]

    async def scan_all(self):
        """Every rider as the index has him; their apps report every second."""
        now_ms = self.clock.now_ms()
        page = []
        for each in self.riders.values():
            at = Position(lat=each.lat, lng=each.lng, ts=now_ms, received_at=now_ms)
            known = {name: getattr(each, name) for name in FACTS}
            page += [each.rider_id.encode(), pack_rider(at, RiderFacts(**known))]
        return IndexScan([page])

    async def find_nearest(self, circle, limit, now_ms):
        """Riders inside the circle, nearest first."""
        inside = [each for each in self.riders.values() if each.distance_km <= circle.radius_km]
        return sorted(inside, key=lambda each: each.distance_km)[:limit]


class DispatchScenario:
    """A shop with its engine, and short words for what happens."""

    def __init__(self, order_scenario, redis, scripts):
        self.order_scenario = order_scenario
        self.clock = order_scenario.clock
        self.positions = FakePositions(self.clock)
        self.receipts = DisplayReceipts(redis)
        self.pauses = OfferPauses(redis, scripts)
        self.alerts = Alerts(redis, scripts)
        self.policies = OfferPolicyStore(order_scenario.table, self.clock, "douala")
        self.decisions = DecisionStore(order_scenario.table)
        self.approaches = ApproachStore(redis)
        self.engine = self.new_engine()

    def new_engine(self):
        """An engine that remembers nothing."""
        finds = EngineLookups(
            positions=cast("Positions", self.positions),
            timers=self.order_scenario.timers,
            receipts=self.receipts,
            pauses=self.pauses,
            approaches=self.approaches,
            alerts=self.alerts,
            policies=self.policies,
            decisions=self.decisions,
            board=self.order_scenario.board,
            learned_stats=self.order_scenario.learned_stats,
            speeds=self.order_scenario.speeds,
            fence=self.order_scenario.fence,
            fresh_ms=15_000,
        )
        return DispatchEngine(
            self.order_scenario.order_service, self.order_scenario.orders, finds, self.clock
        )

    async def place_accepted_order(self, **kind):
        """An order that its vendor has accepted."""
        order_id = await self.order_scenario.place_order(**kind)
        await self.order_scenario.accept_order(order_id)
        return order_id

    async def process_order(self, order_id, after_ms=0):
        """Let time pass and look at the order; its dispatch then."""
        self.clock.advance(after_ms)
        await self.engine.process_order(order_id)
        return await self.dispatch_of(order_id)

    async def dispatch_of(self, order_id):
        """The search of the order."""
        return (await self.order_scenario.orders.get(order_id)).dispatch

    async def show_offers(self, dispatch, *riders):
        """These riders' apps have shown their offers."""
        shown = [(dispatch.offers[rider].offer_id, self.clock.now_ms()) for rider in riders]
        await self.receipts._write(shown)

    async def decline_delivery(self, order_id, rider):
        """A rider says no to the offer he has."""
        offer = (await self.dispatch_of(order_id)).offers[rider]
        command = commands.DeclineDelivery(order_id=order_id, offer_id=offer.offer_id)
        await self.order_scenario.order_service.decline_delivery(
            self.order_scenario.caller("rider", rider), command
        )

    async def accept_delivery(self, order_id, rider):
        """A rider takes the offer he has."""
        offer = (await self.dispatch_of(order_id)).offers[rider]
        await self.order_scenario.accept_delivery(order_id, rider, offer.offer_id)

    async def set_policy(self, **policy):
        """The operator changes how riders are asked for meals."""
        await self.policies.put_offers("FOOD", OfferSettings(**policy), "adm_1")
