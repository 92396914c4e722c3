"""A customer: tops up, orders, watches the rider come, sometimes changes his mind, rates."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from city.client.http_client import Api, ApiRefused
from city.client.socket_client import CommandRefused, Line
from city.model import menu
from city.model.city import (
    Service,
    Shop,
    World,
    place,
    trip_m,
)
from city.model.streets import Point

Method = Literal["WALLET", "MOBILE_MONEY", "CASH"]

# Source: guesses that give every branch of the contract its share of a demo.
METHODS: dict[Method, float] = {"WALLET": 0.70, "CASH": 0.18, "MOBILE_MONEY": 0.12}
CANCELS = 0.04
CANCEL_WITHIN_S = 25.0
RATES = 0.7
RATINGS = (5, 5, 5, 4, 4, 3, 2, 1)
TOP_UP_XAF, PURSE_MIN_XAF = 60_000, 20_000
TOP_UP_LOOKS, TOP_UP_LOOK_S = 20, 0.5
# Source: wire contract, minimum orders; a basket is filled until it passes.
BASKET_MIN_XAF: dict[Service, int] = {"FOOD": 2000, "MART": 5000, "PACKAGE": 0}
BASKET_LINES_MAX = 8
# A customer who has heard no end by then looks the order up and reports what he sees.
PATIENCE_S = 300.0
NO_RIDER_PATIENCE_S = 8.0
# Shops a customer chooses from: the nearest few.
NEAR_SHOPS = 4

ENDS = {
    "order_delivered": "delivered",
    "order_cancelled": "cancelled",
    "order_rejected": "rejected",
}


@dataclass(slots=True)
class Customer:
    """One customer's app; at most one order at a time."""

    world: World
    user_id: str
    home: Point
    is_busy: bool = True
    rng: Random = field(init=False)
    api: Api = field(init=False)
    line: Line = field(init=False)
    _wishes: asyncio.Queue[Service] = field(init=False)
    _ends: dict[str, str] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _is_without_rider: bool = False
    _watched: str | None = None
    _watched_at_ms: int = 0

    def __post_init__(self) -> None:
        self.rng = self.world.rng(f"customer/{self.user_id}")
        self.api = self.world.api("USER", self.user_id)
        self.line = self.world.line("USER", self.user_id, self.on_event)
        # Overflow: `wish` says no and the demand looks for somebody else.
        self._wishes = asyncio.Queue(maxsize=1)

    async def run(self) -> None:
        """Live in the city until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.line.run())
            group.create_task(self._keep_watching())
            while True:
                self.is_busy, self._watched = False, None
                service = await self._wishes.get()
                try:
                    await self._order(service)
                except ApiRefused as refusal:
                    self.world.tally.error("customer", refusal.route, refusal.code)
                except CommandRefused as refusal:
                    self.world.tally.error("customer", refusal.command, refusal.code)

    def wish(self, service: Service) -> bool:
        """Become hungry; tell whether this customer has time to order."""
        if self.is_busy or self._wishes.full():
            return False
        self.is_busy = True
        self._wishes.put_nowait(service)
        return True

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """What the server says to the customer."""
        tally = self.world.tally
        if name == "rider_location_update":
            self._see_rider(payload)
        elif name in ENDS:
            self._ends[str(payload.get("orderId"))] = ENDS[name]
            self._news.set()
        elif name == "rider_assigned":
            tally.count("riders_assigned")
        elif name == "dispatch_status" and payload.get("state") == "no_riders":
            tally.count("no_riders")
            self._is_without_rider = True
            self._news.set()
        elif name == "resync":
            tally.count("resyncs")
            self._news.set()

    def _see_rider(self, payload: dict[str, Any]) -> None:
        self.world.tally.count("positions_seen")
        received_ms = int(payload["receivedAt"])
        # What a new watcher is told first is the last position, however old.
        if received_ms > self._watched_at_ms:
            spent_ms = self.world.clock.now_ms() - received_ms
            self.world.tally.took("fix_to_watcher", spent_ms)

    async def _order(self, service: Service) -> None:
        self._ends.clear()
        self._is_without_rider = False
        body = await self._wanted(service)
        if body is None:
            return
        if body["paymentMethod"] == "WALLET":
            await self._fill_purse()
        placed = await self.api.post("/orders", body)
        order_id = str(placed["orderId"])
        self.world.tally.count("orders_placed")
        self.world.tally.count(f"orders_{service.lower()}")
        await self.line.insist("subscribe_order", {"orderId": order_id})
        self._watched, self._watched_at_ms = order_id, self.world.clock.now_ms()
        end = await self._follow(order_id)
        self.world.tally.count(f"orders_{end}")
        if end == "delivered" and self.rng.random() < RATES:
            rating = {"orderId": order_id, "rating": self.rng.choice(RATINGS)}
            await self.line.insist("rate_order", rating)
            self.world.tally.count("ratings")
        self._watched = None
        await self.line.insist("unsubscribe_order", {"orderId": order_id})

    async def _keep_watching(self) -> None:
        """A new connection watches nothing: say again what is to be seen."""
        while True:
            await self.line.opened(self.line.openings + 1)
            if self._watched is None:
                continue
            try:
                await self.line.insist("subscribe_order", {"orderId": self._watched})
                self._watched_at_ms = self.world.clock.now_ms()
                self.world.tally.count("watched_again")
            except CommandRefused as refusal:
                self.world.tally.error("customer", refusal.command, refusal.code)

    async def _wanted(self, service: Service) -> dict[str, Any] | None:
        method = self.rng.choices(list(METHODS), list(METHODS.values()))[0]
        if service == "PACKAGE":
            return {"orderType": service, "paymentMethod": method, **self._parcel()}
        shop = self._choose(service)
        if shop is None:
            self.world.tally.count("no_shop_open")
            return None
        door = self.world.streets.spot_near(shop.door, trip_m(self.rng), self.rng)
        return {
            "orderType": service,
            "vendorId": shop.vendor_id,
            "items": self._basket(await self._menu(shop), BASKET_MIN_XAF[service]),
            "deliveryAddress": place(door, f"near {shop.district}"),
            "paymentMethod": method,
        }

    def _choose(self, service: Service) -> Shop | None:
        shops = [shop for shop in self.world.open_shops.values() if shop.service == service]
        shops.sort(key=lambda shop: _distance_squared(shop.door, self.home))
        return self.rng.choice(shops[:NEAR_SHOPS]) if shops else None

    async def _menu(self, shop: Shop) -> dict[str, int]:
        known = self.world.menus.get(shop.vendor_id)
        if known is None:
            page = await self.api.get(f"/vendors/{shop.vendor_id}/items")
            known = {item["itemId"]: int(item["price"]) for item in page["items"]}
            self.world.menus[shop.vendor_id] = known
        return known

    def _basket(self, prices: dict[str, int], minimum: int) -> list[dict[str, object]]:
        quantities: dict[str, int] = {}
        worth = 0
        while worth < minimum or (worth < 2 * minimum and self.rng.random() < 0.4):
            item = self.rng.choice(sorted(prices))
            quantities[item] = quantities.get(item, 0) + 1
            worth += prices[item]
            if sum(quantities.values()) >= BASKET_LINES_MAX and worth >= minimum:
                break
        return [{"itemId": item, "quantity": number} for item, number in quantities.items()]

    def _parcel(self) -> dict[str, Any]:
        end = self.world.streets.spot_near(self.home, trip_m(self.rng), self.rng)
        return {
            "pickup": place(self.home, "home"),
            "dropoff": place(end, "a friend's"),
            "packageDetails": {
                "category": self.rng.choice(menu.PARCELS),
                "weight": round(self.rng.uniform(0.3, 12.0), 1),
                "isFragile": self.rng.random() < 0.2,
            },
            "recipient": {"name": menu.person(self.rng), "phone": menu.phone(self.rng)},
        }

    async def _fill_purse(self) -> None:
        balance = await self.api.get("/wallet/balance")
        if balance["availableBalance"] >= PURSE_MIN_XAF:
            return
        await self.api.post("/wallet/topup", {"amount": TOP_UP_XAF, "provider": "sandbox"})
        self.world.tally.count("top_ups")
        for _ in range(TOP_UP_LOOKS):
            balance = await self.api.get("/wallet/balance")
            if balance["availableBalance"] >= PURSE_MIN_XAF:
                return
            await asyncio.sleep(TOP_UP_LOOK_S)
        self.world.tally.error("customer", "topup", "never_confirmed")

    async def _follow(self, order_id: str) -> str:
        """Wait for the order's end, or make one."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        if self.rng.random() < CANCELS:
            until = loop.time() + self.rng.uniform(0.5, CANCEL_WITHIN_S)
        is_planned = until < loop.time() + PATIENCE_S - 1
        while loop.time() < until:
            if order_id in self._ends:
                return self._ends[order_id]
            self._news.clear()
            if self._is_without_rider:
                until = min(until, loop.time() + NO_RIDER_PATIENCE_S)
            try:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
            except TimeoutError:
                break
        if not is_planned and not self._is_without_rider:
            ended = await self._look(order_id)
            if ended is not None:
                return ended
        return await self._cancel(order_id)

    async def _look(self, order_id: str) -> str | None:
        order = await self.api.get(f"/orders/{order_id}")
        status = str(order.get("status"))
        if status in {"DELIVERED", "FUNDS_DISTRIBUTED"}:
            self.world.tally.error("customer", "missed_event", status)
            return "delivered"
        if status in {"CANCELLED", "REJECTED"}:
            self.world.tally.error("customer", "missed_event", status)
            return status.lower()
        state = (order.get("dispatch") or {}).get("state")
        self.world.tally.error("customer", "stuck", f"{status}/{state}")
        return None

    async def _cancel(self, order_id: str) -> str:
        """Call it off; where it is too late for that, wait for the rider after all."""
        try:
            await self.line.insist(
                "cancel_order", {"orderId": order_id, "reason": "changed my mind"}
            )
        except CommandRefused as refusal:
            self.world.tally.count(f"cancel_refused:{refusal.code}")
            return await self._wait_for_end(order_id)
        return "cancelled"

    async def _wait_for_end(self, order_id: str) -> str:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while order_id not in self._ends:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return await self._look(order_id) or "lost"
        return self._ends[order_id]


def _distance_squared(a: Point, b: Point) -> float:
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
