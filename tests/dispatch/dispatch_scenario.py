"""A vendor, the dispatch engine and riders around them, on real stores and a manual clock."""

from collections.abc import Sequence
from typing import Any, cast

from msgspec.structs import replace

from dispatch.clock import ManualClock
from dispatch.events.alerts import Alerts
from dispatch.ids import OrderId, RiderId
from dispatch.leadership.tick import RETRY_S, DispatchEngine, EnginePauses
from dispatch.model import Dispatch, Position, Presence, RiderPresence
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.offers.approach_store import ApproachStore
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.orders.offers.lookups import EngineLookups
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.index_scan import IndexScan
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_facts import IndexedRider, RiderFacts, pack_rider
from dispatch.tracking.stores.rider_index import RiderIndex
from dispatch.wire import commands
from dispatch.wire.http.offer_policy import OfferSettings
from tests.dispatch.order_scenario import OrderScenario

FACTS = (
    "available", "active", "capacity", "completion", "rating", "until_ms", "recent_offers",
    "cash_headroom_xaf", "vehicle", "name",
)  # fmt: skip
# Source: a degree of latitude on a sphere of 6371 km.
KM_PER_LAT_DEG = 111.195
VENDOR_LAT, VENDOR_LNG = 4.051, 9.708


class FakePositions:
    """Riders at given distances north of the vendor, as the geo index would find them."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.riders: dict[str, IndexedRider] = {}
        self.fixes: dict[str, Position] = {}
        self.presences: dict[str, Presence] = {}

    def put_rider(self, rider_id: str, distance_km: float, **facts: Any) -> None:
        """A free rider with a fresh position; override one fact and keep the rest."""
        usual = {
            "lat": VENDOR_LAT + distance_km / KM_PER_LAT_DEG,
            "lng": VENDOR_LNG,
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
        self.riders[rider_id] = IndexedRider(rider_id=RiderId(rider_id), **{**usual, **facts})

    async def last_position(self, rider_id: str) -> Position | None:
        """The rider's last reported position."""
        return self.fixes.get(rider_id)

    async def presence(self, rider_id: str) -> RiderPresence:
        """The rider's last reported position, and when it was last observed."""
        return RiderPresence(position=self.fixes.get(rider_id), last=self.presences.get(rider_id))

    def report_position(
        self, rider_id: str, distance_km: float, accuracy: float | None = None
    ) -> None:
        """The rider's app reports a position at this distance from the vendor."""
        now_ms = self.clock.now_ms()
        lat = VENDOR_LAT + distance_km / KM_PER_LAT_DEG
        self.fixes[rider_id] = Position(
            lat=lat, lng=VENDOR_LNG, ts=now_ms, received_at=now_ms, accuracy=accuracy
        )

    def observe(self, rider_id: str, accuracy: float | None = None, **dropped: int) -> None:
        """The rider's app sends something that moves nothing, such as fixes that are dropped."""
        now_ms = self.clock.now_ms()
        self.presences[rider_id] = Presence(seen_at=now_ms, dropped=dropped, accuracy=accuracy)

    async def find_nearest_free(
        self, circle: Circle, limit: int, now_ms: int, fresh_ms: int
    ) -> list[IndexedRider]:
        """Free riders inside the circle, nearest first; their positions are always fresh."""
        found = await self.find_nearest(circle, limit, now_ms)
        return [replace(each, seen_at_ms=now_ms) for each in found if each.is_free]

    async def find_nearest(self, circle: Circle, limit: int, now_ms: int) -> list[IndexedRider]:
        """Riders inside the circle, nearest first."""
        inside = [each for each in self.riders.values() if each.distance_km <= circle.radius_km]
        return sorted(inside, key=lambda each: each.distance_km)[:limit]

    async def scan_all(self) -> IndexScan:
        """Every rider of the index; their positions are always fresh."""
        now_ms = self.clock.now_ms()
        page: list[bytes] = []
        for each in self.riders.values():
            position = Position(lat=each.lat, lng=each.lng, ts=now_ms, received_at=now_ms)
            facts = RiderFacts(**{name: getattr(each, name) for name in FACTS})
            page += [each.rider_id.encode(), pack_rider(position, facts)]
        return IndexScan([page])


class DispatchScenario:
    """An order scenario with its engine, and short names for what happens."""

    def __init__(
        self, order_scenario: OrderScenario, redis: RedisClients, scripts: Scripts
    ) -> None:
        self.order_scenario = order_scenario
        self.clock = order_scenario.clock
        self.positions = FakePositions(self.clock)
        self.receipts = DisplayReceipts(redis)
        self.pauses = OfferPauses(redis, scripts)
        self.alerts = Alerts(redis, scripts)
        self.policies = OfferPolicyStore(order_scenario.table, self.clock, "douala")
        self.decisions = DecisionStore(order_scenario.table)
        self.approaches = ApproachStore(redis)
        self.lookups = EngineLookups(
            positions=cast("Positions", self.positions),
            rider_index=cast("RiderIndex", self.positions),
            timers=order_scenario.timers,
            receipts=self.receipts,
            pauses=self.pauses,
            approaches=self.approaches,
            alerts=self.alerts,
            policies=self.policies,
            decisions=self.decisions,
            board=order_scenario.board,
            learned_stats=order_scenario.learned_stats,
            speeds=order_scenario.speeds,
            fence=order_scenario.fence,
            fresh_ms=15_000,
        )
        self.engine = self.new_engine()

    def new_engine(self, retry_s: float = RETRY_S, settle_ms: int = 0) -> DispatchEngine:
        """An engine of a process that has just started."""
        scenario = self.order_scenario
        return DispatchEngine(
            scenario.order_service,
            scenario.orders,
            self.lookups,
            self.clock,
            EnginePauses(retry_s, settle_ms),
        )

    async def place_accepted_order(self, **order: Any) -> OrderId:
        """An order that its vendor has accepted; its id."""
        order_id = await self.order_scenario.place_order(**order)
        await self.order_scenario.accept_order(order_id)
        return order_id

    async def process_order(self, order_id: OrderId, after_ms: int = 0) -> Dispatch:
        """Advance the clock and let the engine check the order; its search after that."""
        self.clock.advance(after_ms)
        await self.engine.process_order(order_id)
        return await self.dispatch_of(order_id)

    async def dispatch_of(self, order_id: OrderId) -> Dispatch:
        """The search of the order."""
        dispatch = (await self.order_scenario.order(order_id)).dispatch
        assert dispatch is not None
        return dispatch

    async def show_offers(self, dispatch: Dispatch, *rider_ids: str) -> None:
        """These riders' apps have shown their offers."""
        for rider_id in rider_ids:
            offer = dispatch.offers[RiderId(rider_id)]
            self.receipts.record(offer.offer_id, self.clock.now_ms())
        await self.receipts.flush()

    async def decline_delivery(self, order_id: OrderId, rider_id: str) -> None:
        """A rider declines its open offer."""
        offer = (await self.dispatch_of(order_id)).offers[RiderId(rider_id)]
        command = commands.DeclineDelivery(order_id=order_id, offer_id=offer.offer_id)
        await self.order_scenario.order_service.decline_delivery(
            self.order_scenario.caller("rider", rider_id), command
        )

    async def accept_delivery(self, order_id: OrderId, rider_id: str) -> None:
        """A rider accepts its open offer."""
        offer = (await self.dispatch_of(order_id)).offers[RiderId(rider_id)]
        await self.order_scenario.accept_delivery(order_id, rider_id, offer.offer_id)

    async def set_policy(self, **settings: Any) -> None:
        """An operator changes the offer policy of FOOD."""
        await self.policies.put_offers("FOOD", OfferSettings(**settings), "adm_1")

    async def alert_kinds(self) -> Sequence[str]:
        """The kinds of the alerts so far, oldest first."""
        return [alert.kind for alert in await self.alerts.recent()]
