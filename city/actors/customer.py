"""A customer of the simulated city: tops up, orders, watches the rider, may cancel, rates."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from city.actors.city import City, Service, Shop, random_trip_m, wire_location
from city.client.http_client import Api, ApiRefused
from city.client.socket_client import CommandRefused, SocketClient
from city.model import menu
from city.model.streets import Point

PaymentMethod = Literal["WALLET", "MOBILE_MONEY", "CASH"]

# Source: guesses that give every branch of the contract its share of a demo.
PAYMENT_METHODS: dict[PaymentMethod, float] = {"WALLET": 0.70, "CASH": 0.18, "MOBILE_MONEY": 0.12}
RATINGS = (5, 5, 5, 4, 4, 3, 2, 1)
TOP_UP_XAF, BALANCE_MIN_XAF = 60_000, 20_000
TOP_UP_POLLS_MAX, TOP_UP_POLL_S = 20, 0.5
# Source: docs/contract.md, minimum orders; a basket is filled until it passes.
BASKET_MIN_XAF: dict[Service, int] = {"FOOD": 2000, "MART": 5000, "PACKAGE": 0}
BASKET_ITEMS_MAX = 8
# A customer without an event of the order's end by then fetches the order and counts what it finds.
PATIENCE_S = 300.0
NO_RIDER_PATIENCE_S = 8.0
# Shops a customer chooses from: the nearest few.
NEAREST_SHOPS = 4

END_BY_EVENT = {
    "order_delivered": "delivered",
    "order_cancelled": "cancelled",
    "order_rejected": "rejected",
}


@dataclass(slots=True)
class Customer:
    """One customer's app; at most one order at a time."""

    city: City
    user_id: str
    home: Point
    is_busy: bool = True
    rng: Random = field(init=False)
    api: Api = field(init=False)
    socket: SocketClient = field(init=False)
    _order_requests: asyncio.Queue[Service] = field(init=False)
    _end_by_order: dict[str, str] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _is_without_rider: bool = False
    _watched_order: str | None = None
    _watched_at_ms: int = 0

    def __post_init__(self) -> None:
        self.rng = self.city.rng(f"customer/{self.user_id}")
        self.api = self.city.api("USER", self.user_id)
        self.socket = self.city.socket_client("USER", self.user_id, self.on_event)
        # Overflow: `request_order` returns False, and another customer is asked.
        self._order_requests = asyncio.Queue(maxsize=1)

    async def run(self) -> None:
        """Use the app until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.socket.run())
            group.create_task(self._resubscribe())
            while True:
                self.is_busy, self._watched_order = False, None
                service = await self._order_requests.get()
                try:
                    await self._run_order(service)
                except ApiRefused as refusal:
                    self.city.counters.count_error("customer", refusal.route, refusal.code)
                except CommandRefused as refusal:
                    self.city.counters.count_error("customer", refusal.command, refusal.code)

    def request_order(self, service: Service) -> bool:
        """Ask the customer to order; False where it has an order already."""
        if self.is_busy or self._order_requests.full():
            return False
        self.is_busy = True
        self._order_requests.put_nowait(service)
        return True

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """Handle an event of the server."""
        counters = self.city.counters
        if name == "rider_location_update":
            self._record_position(payload)
        elif name in END_BY_EVENT:
            self._end_by_order[str(payload.get("orderId"))] = END_BY_EVENT[name]
            self._changed.set()
        elif name == "rider_assigned":
            counters.count("riders_assigned")
        elif name == "dispatch_status" and payload.get("state") == "no_riders":
            counters.count("no_riders")
            self._is_without_rider = True
            self._changed.set()
        elif name == "resync":
            counters.count("resyncs")
            self._changed.set()

    def _record_position(self, payload: dict[str, Any]) -> None:
        self.city.counters.count("positions_seen")
        received_ms = int(payload["receivedAt"])
        # A new watcher first gets the last known position, however old.
        if received_ms > self._watched_at_ms:
            latency_ms = self.city.clock.now_ms() - received_ms
            self.city.counters.record_duration("fix_to_watcher", latency_ms)

    async def _run_order(self, service: Service) -> None:
        self._end_by_order.clear()
        self._is_without_rider = False
        body = await self._order_body(service)
        if body is None:
            return
        if body["paymentMethod"] == "WALLET":
            await self._top_up_wallet()
        placed = await self.api.post("/orders", body)
        order_id = str(placed["orderId"])
        self.city.counters.count("orders_placed")
        self.city.counters.count(f"orders_{service.lower()}")
        await self.socket.call_until_answered("subscribe_order", {"orderId": order_id})
        self._watched_order, self._watched_at_ms = order_id, self.city.clock.now_ms()
        end = await self._follow_order(order_id)
        self.city.counters.count(f"orders_{end}")
        if end == "delivered" and self.rng.random() < self.city.behaviour.rating_chance:
            rating = {"orderId": order_id, "rating": self.rng.choice(RATINGS)}
            await self.socket.call_until_answered("rate_order", rating)
            self.city.counters.count("ratings")
        self._watched_order = None
        await self.socket.call_until_answered("unsubscribe_order", {"orderId": order_id})

    async def _resubscribe(self) -> None:
        """Subscribe again after each reconnect: a new connection watches nothing."""
        while True:
            await self.socket.wait_connected(self.socket.connect_count + 1)
            if self._watched_order is None:
                continue
            try:
                await self.socket.call_until_answered(
                    "subscribe_order", {"orderId": self._watched_order}
                )
                self._watched_at_ms = self.city.clock.now_ms()
                self.city.counters.count("resubscribed")
            except CommandRefused as refusal:
                self.city.counters.count_error("customer", refusal.command, refusal.code)

    async def _order_body(self, service: Service) -> dict[str, Any] | None:
        method = self.rng.choices(list(PAYMENT_METHODS), list(PAYMENT_METHODS.values()))[0]
        if service == "PACKAGE":
            return {"orderType": service, "paymentMethod": method, **self._parcel_body()}
        shop = self._choose_shop(service)
        if shop is None:
            self.city.counters.count("no_shop_open")
            return None
        door = self.city.streets.random_point_near(shop.location, random_trip_m(self.rng), self.rng)
        return {
            "orderType": service,
            "vendorId": shop.vendor_id,
            "items": self._fill_basket(await self._fetch_menu(shop), BASKET_MIN_XAF[service]),
            "deliveryAddress": wire_location(door, f"near {shop.district}"),
            "paymentMethod": method,
        }

    def _choose_shop(self, service: Service) -> Shop | None:
        shops = [shop for shop in self.city.open_shops.values() if shop.service == service]
        shops.sort(key=lambda shop: _distance_squared(shop.location, self.home))
        return self.rng.choice(shops[:NEAREST_SHOPS]) if shops else None

    async def _fetch_menu(self, shop: Shop) -> dict[str, int]:
        known = self.city.menus.get(shop.vendor_id)
        if known is None:
            page = await self.api.get(f"/vendors/{shop.vendor_id}/items")
            known = {item["itemId"]: int(item["price"]) for item in page["items"]}
            self.city.menus[shop.vendor_id] = known
        return known

    def _fill_basket(self, prices: dict[str, int], minimum: int) -> list[dict[str, object]]:
        quantities: dict[str, int] = {}
        total = 0
        while total < minimum or (total < 2 * minimum and self.rng.random() < 0.4):
            item = self.rng.choice(sorted(prices))
            quantities[item] = quantities.get(item, 0) + 1
            total += prices[item]
            if sum(quantities.values()) >= BASKET_ITEMS_MAX and total >= minimum:
                break
        return [{"itemId": item, "quantity": number} for item, number in quantities.items()]

    def _parcel_body(self) -> dict[str, Any]:
        end = self.city.streets.random_point_near(self.home, random_trip_m(self.rng), self.rng)
        return {
            "pickup": wire_location(self.home, "home"),
            "dropoff": wire_location(end, "a friend's"),
            "packageDetails": {
                "category": self.rng.choice(menu.PARCEL_CATEGORIES),
                "weight": round(self.rng.uniform(0.3, 12.0), 1),
                "isFragile": self.rng.random() < 0.2,
            },
            "recipient": {
                "name": menu.random_person_name(self.rng),
                "phone": menu.random_phone_number(self.rng),
            },
        }

    async def _top_up_wallet(self) -> None:
        balance = await self.api.get("/wallet/balance")
        if balance["availableBalance"] >= BALANCE_MIN_XAF:
            return
        await self.api.post("/wallet/topup", {"amount": TOP_UP_XAF, "provider": "sandbox"})
        self.city.counters.count("top_ups")
        for _ in range(TOP_UP_POLLS_MAX):
            balance = await self.api.get("/wallet/balance")
            if balance["availableBalance"] >= BALANCE_MIN_XAF:
                return
            await asyncio.sleep(TOP_UP_POLL_S)
        self.city.counters.count_error("customer", "topup", "never_confirmed")

    async def _follow_order(self, order_id: str) -> str:
        """Wait for the order's end, or cancel it; how it ended."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        behaviour = self.city.behaviour
        if self.rng.random() < behaviour.cancel_chance:
            until = loop.time() + self.rng.uniform(0.5, behaviour.cancel_within_s)
        wants_to_cancel = until < loop.time() + PATIENCE_S - 1
        while loop.time() < until:
            if order_id in self._end_by_order:
                return self._end_by_order[order_id]
            self._changed.clear()
            if self._is_without_rider:
                until = min(until, loop.time() + NO_RIDER_PATIENCE_S)
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                break
        if not wants_to_cancel and not self._is_without_rider:
            ended = await self._fetch_order_end(order_id)
            if ended is not None:
                return ended
        return await self._cancel(order_id)

    async def _fetch_order_end(self, order_id: str) -> str | None:
        order = await self.api.get(f"/orders/{order_id}")
        status = str(order.get("status"))
        if status in {"DELIVERED", "FUNDS_DISTRIBUTED"}:
            self.city.counters.count_error("customer", "missed_event", status)
            return "delivered"
        if status in {"CANCELLED", "REJECTED"}:
            self.city.counters.count_error("customer", "missed_event", status)
            return status.lower()
        state = (order.get("dispatch") or {}).get("state")
        self.city.counters.count_error("customer", "stuck", f"{status}/{state}")
        return None

    async def _cancel(self, order_id: str) -> str:
        """Cancel the order; where that is refused, wait for its end."""
        try:
            await self.socket.call_until_answered(
                "cancel_order", {"orderId": order_id, "reason": "changed my mind"}
            )
        except CommandRefused as refusal:
            self.city.counters.count(f"cancel_refused:{refusal.code}")
            return await self._wait_for_end(order_id)
        return "cancelled"

    async def _wait_for_end(self, order_id: str) -> str:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while order_id not in self._end_by_order:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return await self._fetch_order_end(order_id) or "lost"
        return self._end_by_order[order_id]


def _distance_squared(a: Point, b: Point) -> float:
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
