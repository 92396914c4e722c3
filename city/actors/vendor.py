"""A vendor of the simulated city: publishes a catalogue, accepts orders, prepares them."""

import asyncio
import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

from city.actors.city import City, Service, Shop, wire_location
from city.client.http_client import Api, ApiRefused
from city.client.socket_client import CommandRefused, SocketClient
from city.model import menu

# Source: guesses.
ANSWER_S, START_COOKING_S = 0.8, 0.5
PREP_MEDIAN_S, PREP_SPREAD, PREP_MAX_S = 5.0, 0.6, 40.0
MENU_ITEMS = 6
OPEN_STATES = ("PENDING", "ACCEPTED", "PREPARING")
PAGE = 50


def make_shop(city: City, number: int, service: Service) -> Shop:
    """The shop of a number: place, name and prices, drawn from the city's seed."""
    rng = city.rng(f"shop/{number}")
    district, door = city.random_district_point(rng)
    goods = menu.DISHES if service == "FOOD" else menu.GROCERIES
    name = (menu.random_kitchen_name if service == "FOOD" else menu.random_market_name)(
        rng, district
    )
    prices = {
        item: round(goods[item][1] * rng.uniform(0.85, 1.3) / 50) * 50
        for item in rng.sample(sorted(goods), MENU_ITEMS)
    }
    return Shop(f"vnd_city_{number:03d}", name, service, district, door, prices)


@dataclass(slots=True)
class Vendor:
    """One shop's app."""

    city: City
    shop: Shop
    rng: Random = field(init=False)
    api: Api = field(init=False)
    socket: SocketClient = field(init=False)
    _new_orders: asyncio.Queue[dict[str, Any]] = field(init=False)
    _orders_in_progress: set[str] = field(default_factory=set)
    _cancelled_orders: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = self.city.rng(f"vendor/{self.shop.vendor_id}")
        self.api = self.city.api("VENDOR", self.shop.vendor_id)
        self.socket = self.city.socket_client("VENDOR", self.shop.vendor_id, self.on_event)
        # Overflow: counted as vendor.queue:full; the order stays PENDING until the next fetch.
        self._new_orders = asyncio.Queue(maxsize=500)

    async def run(self) -> None:
        """Run the shop until cancelled."""
        await self._publish_catalogue()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.socket.run())
            await self.socket.call_until_answered("set_online", {"online": True})
            self.city.open_shops[self.shop.vendor_id] = self.shop
            self.city.first_shop_open.set()
            self.city.counters.count("shops_open")
            await self._fetch_open_orders()
            while True:
                order = await self._new_orders.get()
                group.create_task(self._handle_order(order))

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """Handle an event of the server."""
        order_id = str(payload.get("orderId", ""))
        if name == "new_order":
            self._enqueue({**payload.get("order", {}), "orderId": order_id})
        elif name == "order_cancelled" and order_id in self._orders_in_progress:
            self._cancelled_orders.add(order_id)
        elif name == "order_settled":
            self.city.counters.count("settled_to_vendors")
            self.city.counters.settled_xaf += int(payload.get("amount", 0))
        elif name == "resync":
            self.city.counters.count("resyncs")
            self._enqueue({})

    def _enqueue(self, order: dict[str, Any]) -> None:
        order_id = order.get("orderId")
        if order_id in self._orders_in_progress:
            return
        try:
            self._new_orders.put_nowait(order)
        except asyncio.QueueFull:
            self.city.counters.count_error("vendor", "queue", "full")
            return
        if order_id is not None:
            self._orders_in_progress.add(order_id)

    async def _publish_catalogue(self) -> None:
        shop = self.shop
        profile = {
            "name": shop.name,
            "phone": menu.random_phone_number(self.rng),
            "location": wire_location(shop.location, shop.district),
            "services": [shop.service],
            "prepMinutes": math.ceil(PREP_MEDIAN_S / 60),
        }
        await self.api.put("/vendor/profile", profile)
        goods = menu.DISHES if shop.service == "FOOD" else menu.GROCERIES
        for item, price in shop.menu.items():
            body = {"name": goods[item][0], "price": price, "category": shop.service.lower()}
            await self.api.put(f"/vendor/items/{item}", body)

    async def _fetch_open_orders(self) -> None:
        """Queue the open orders that the shop does not know."""
        for status in OPEN_STATES:
            try:
                page = await self.api.get("/orders", status=status, limit=PAGE)
            except ApiRefused as refusal:
                self.city.counters.count_error("vendor", "list_orders", refusal.code)
                return
            for order in page["items"]:
                self._enqueue(order)

    async def _handle_order(self, order: dict[str, Any]) -> None:
        if not order:
            # A resync: events may be missing, so fetch the orders.
            await self._fetch_open_orders()
            return
        order_id = order["orderId"]
        self.city.counters.count("orders_seen_by_vendors")
        try:
            await self._prepare_order(order_id, str(order.get("status", "PENDING")))
        except CommandRefused as refusal:
            if order_id in self._cancelled_orders:
                self.city.counters.count("prepared_after_cancel")
            else:
                self.city.counters.count_error("vendor", refusal.command, refusal.code)
        finally:
            self._orders_in_progress.discard(order_id)
            self._cancelled_orders.discard(order_id)

    async def _prepare_order(self, order_id: str, status: str) -> None:
        prep_s = min(self.city.human_delay_s(self.rng, PREP_MEDIAN_S, PREP_SPREAD), PREP_MAX_S)
        if status == "PENDING":
            await asyncio.sleep(self.city.human_delay_s(self.rng, ANSWER_S))
            if self._is_cancelled(order_id):
                return
            if self.rng.random() < self.city.behaviour.reject_chance:
                await self._send_command("reject_order", order_id, reason="out of stock")
                self.city.counters.count("orders_rejected_by_vendors")
                return
            await self._send_command("accept_order", order_id, prepMinutes=math.ceil(prep_s / 60))
            self.city.counters.count("orders_accepted")
        if status in {"PENDING", "ACCEPTED"}:
            await asyncio.sleep(self.city.human_delay_s(self.rng, START_COOKING_S))
            if self._is_cancelled(order_id):
                return
            await self._send_command("order_preparing", order_id)
        await asyncio.sleep(prep_s)
        if not self._is_cancelled(order_id):
            await self._send_command("order_ready", order_id)

    def _is_cancelled(self, order_id: str) -> bool:
        return order_id in self._cancelled_orders

    async def _send_command(self, command: str, order_id: str, **fields: object) -> None:
        await self.socket.call_until_answered(command, {"orderId": order_id, **fields})
