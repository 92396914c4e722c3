"""A vendor: keeps a shop, answers orders, cooks, and says when the bag waits."""

import asyncio
import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

from city.client.http_client import Api, ApiRefused
from city.client.socket_client import CommandRefused, Line
from city.model import menu
from city.model.city import Service, Shop, World, place

# Source: guesses that give every branch of the contract its share of a demo.
REJECTS = 0.03
ANSWER_S, BEGIN_S = 0.8, 0.5
PREP_MEDIAN_S, PREP_SPREAD, PREP_MAX_S = 5.0, 0.6, 40.0
ITEMS = 6
OPEN_STATES = ("PENDING", "ACCEPTED", "PREPARING")
PAGE = 50


def open_shop(world: World, number: int, service: Service) -> Shop:
    """Decide what the shop of a number is: where, its name, its prices."""
    rng = world.rng(f"shop/{number}")
    district, door = world.district_spot(rng)
    goods = menu.DISHES if service == "FOOD" else menu.GROCERIES
    name = (menu.kitchen if service == "FOOD" else menu.market)(rng, district)
    prices = {
        item: round(goods[item][1] * rng.uniform(0.85, 1.3) / 50) * 50
        for item in rng.sample(sorted(goods), ITEMS)
    }
    return Shop(f"vnd_city_{number:03d}", name, service, district, door, prices)


@dataclass(slots=True)
class Vendor:
    """One shop's app."""

    world: World
    shop: Shop
    rng: Random = field(init=False)
    api: Api = field(init=False)
    line: Line = field(init=False)
    _arrivals: asyncio.Queue[dict[str, Any]] = field(init=False)
    _served: set[str] = field(default_factory=set)
    _off: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = self.world.rng(f"vendor/{self.shop.vendor_id}")
        self.api = self.world.api("VENDOR", self.shop.vendor_id)
        self.line = self.world.line("VENDOR", self.shop.vendor_id, self.on_event)
        # Overflow: counted as vendor.queue:full; the order stays PENDING for the next look.
        self._arrivals = asyncio.Queue(maxsize=500)

    async def run(self) -> None:
        """Keep the shop until cancelled."""
        await self._furnish()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.line.run())
            await self.line.insist("set_online", {"online": True})
            self.world.open_shops[self.shop.vendor_id] = self.shop
            self.world.first_shop.set()
            self.world.tally.count("shops_open")
            await self._look_for_orders()
            while True:
                order = await self._arrivals.get()
                group.create_task(self._serve(order))

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """What the server says to the shop."""
        order_id = str(payload.get("orderId", ""))
        if name == "new_order":
            self._take({**payload.get("order", {}), "orderId": order_id})
        elif name == "order_cancelled" and order_id in self._served:
            self._off.add(order_id)
        elif name == "order_settled":
            self.world.tally.count("settled_to_vendors")
            self.world.tally.settled_xaf += int(payload.get("amount", 0))
        elif name == "resync":
            self.world.tally.count("resyncs")
            self._take({})

    def _take(self, order: dict[str, Any]) -> None:
        order_id = order.get("orderId")
        if order_id in self._served:
            return
        try:
            self._arrivals.put_nowait(order)
        except asyncio.QueueFull:
            self.world.tally.error("vendor", "queue", "full")
            return
        if order_id is not None:
            self._served.add(order_id)

    async def _furnish(self) -> None:
        shop = self.shop
        profile = {
            "name": shop.name,
            "phone": menu.phone(self.rng),
            "location": place(shop.door, shop.district),
            "services": [shop.service],
            "prepMinutes": math.ceil(PREP_MEDIAN_S / 60),
        }
        await self.api.put("/vendor/profile", profile)
        goods = menu.DISHES if shop.service == "FOOD" else menu.GROCERIES
        for item, price in shop.menu.items():
            body = {"name": goods[item][0], "price": price, "category": shop.service.lower()}
            await self.api.put(f"/vendor/items/{item}", body)

    async def _look_for_orders(self) -> None:
        """Take up what came while the shop was away."""
        for status in OPEN_STATES:
            try:
                page = await self.api.get("/orders", status=status, limit=PAGE)
            except ApiRefused as refusal:
                self.world.tally.error("vendor", "list_orders", refusal.code)
                return
            for order in page["items"]:
                self._take(order)

    async def _serve(self, order: dict[str, Any]) -> None:
        if not order:
            # A resync: the events since are lost, the list is not.
            await self._look_for_orders()
            return
        order_id = order["orderId"]
        self.world.tally.count("orders_seen_by_vendors")
        try:
            await self._cook(order_id, str(order.get("status", "PENDING")))
        except CommandRefused as refusal:
            if order_id in self._off:
                self.world.tally.count("cooked_in_vain")
            else:
                self.world.tally.error("vendor", refusal.command, refusal.code)
        finally:
            self._served.discard(order_id)
            self._off.discard(order_id)

    async def _cook(self, order_id: str, status: str) -> None:
        prep_s = min(self.world.wait_s(self.rng, PREP_MEDIAN_S, PREP_SPREAD), PREP_MAX_S)
        if status == "PENDING":
            await asyncio.sleep(self.world.wait_s(self.rng, ANSWER_S))
            if self._is_off(order_id):
                return
            if self.rng.random() < REJECTS:
                await self._say("reject_order", order_id, reason="out of stock")
                self.world.tally.count("orders_rejected")
                return
            await self._say("accept_order", order_id, prepMinutes=math.ceil(prep_s / 60))
            self.world.tally.count("orders_accepted")
        if status in {"PENDING", "ACCEPTED"}:
            await asyncio.sleep(self.world.wait_s(self.rng, BEGIN_S))
            if self._is_off(order_id):
                return
            await self._say("order_preparing", order_id)
        await asyncio.sleep(prep_s)
        if not self._is_off(order_id):
            await self._say("order_ready", order_id)

    def _is_off(self, order_id: str) -> bool:
        return order_id in self._off

    async def _say(self, command: str, order_id: str, **facts: object) -> None:
        await self.line.insist(command, {"orderId": order_id, **facts})
