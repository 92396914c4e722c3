"""What the swarm's customers, vendors and riders do with an order, from place to paid."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from bench.common.scenario import LAT, LNG
from city.client.socket_client import CommandRefused
from city.client.tokens import UserType
from tests.e2e.swarm import MISSED_S, PAGE, App

# Whole XAF; a rider may hold 50,000 of cash, so what is paid in cash is cheap.
DISHES = {"ndole": 5_000, "bread": 2_000}
PURSE_XAF = 2_000_000
PAID_BY = {"WALLET": 0.6, "MOBILE_MONEY": 0.2, "CASH": 0.2}
# Shares of what people do beside the straight way.
CANCELS, REJECTS, RELEASES, DECLINES, IGNORES = 0.04, 0.03, 0.04, 0.08, 0.04
WATCHES, RATES, GREEDY = 0.3, 0.3, 0.5
ENDS = {"order_delivered": "DELIVERED", "order_cancelled": "", "order_rejected": ""}
OPEN_TO_RIDER = frozenset({"PENDING", "ACCEPTED", "PREPARING", "READY", "IN_TRANSIT"})


class Customer(App):
    """Orders, sometimes thinks better of it, sometimes says how it was."""

    audience: UserType = "USER"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.waits: dict[str, asyncio.Future[str]] = {}
        # What was told of an order before its placing was answered.
        self._ended: dict[str, str] = {}

    async def fill_purse(self) -> None:
        """Money enough for all that is to come."""
        purse = {"amount": PURSE_XAF, "provider": "sandbox"}
        await self.ask("POST", "/wallet/topup", purse, key=f"purse-{self.name}")

    async def order(self, number: int, vendor: str) -> None:
        """One order from its placing to its end."""
        method = self.rng.choices(list(PAID_BY), list(PAID_BY.values()))[0]
        dish = "bread" if method == "CASH" else "ndole"
        body = {
            "orderType": "FOOD",
            "vendorId": vendor,
            "items": [{"itemId": dish, "quantity": 1}],
            "deliveryAddress": {"lat": LAT + 0.01, "lng": LNG, "address": "Rue Joffre"},
            "paymentMethod": method,
        }
        asked_s, resyncs = time.perf_counter(), self.resyncs
        placed = await self.ask("POST", "/orders", body, key=f"order-{number}")
        self._note("place_order", body, asked_s, placed, "")
        order_id = placed["orderId"]
        end = self.waits[order_id] = asyncio.get_running_loop().create_future()
        if order_id in self._ended:
            self._settle(order_id, self._ended[order_id])
        if self.resyncs > resyncs:
            # What was said of it before the resync is not repeated.
            await self.rebuild()
        with suppress(CommandRefused):
            await self._meanwhile(order_id)
        how = await end
        if how == "DELIVERED" and self.rng.random() < RATES:
            stars = self.rng.randint(1, 5)
            with suppress(CommandRefused):
                await self.say("rate_order", orderId=order_id, rating=stars)

    async def _meanwhile(self, order_id: str) -> None:
        if self.rng.random() < WATCHES:
            await self.say("subscribe_order", orderId=order_id)
        if self.rng.random() < CANCELS:
            await self.pause(2.0)
            await self.say("cancel_order", orderId=order_id, reason="not hungry any more")

    def react(self, name: str, body: dict[str, Any]) -> None:
        if name in ENDS:
            self._settle(body["orderId"], ENDS[name])

    def _settle(self, order_id: str, how: str) -> None:
        self._ended[order_id] = how
        end = self.waits.get(order_id)
        if end is not None and not end.done():
            end.set_result(how)

    async def rebuild(self) -> None:
        """Look at every order that has not ended as far as this app knows."""
        for order_id in [each for each, end in self.waits.items() if not end.done()]:
            order = await self.ask("GET", f"/orders/{order_id}")
            if order["status"] in ("DELIVERED", "FUNDS_DISTRIBUTED"):
                self._settle(order_id, "DELIVERED")
            elif order["status"] in ("CANCELLED", "REJECTED"):
                self._settle(order_id, "")


class Vendor(App):
    """Takes orders and cooks; turns some down."""

    audience: UserType = "VENDOR"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._known: set[str] = set()

    async def open_shop(self, lat: float, lng: float) -> None:
        """A shop with its dishes."""
        place = {"lat": lat, "lng": lng, "address": "Akwa"}
        await self.ask("PUT", "/vendor/profile", {"name": self.name, "location": place})
        for item, price in DISHES.items():
            await self.ask("PUT", f"/vendor/items/{item}", {"name": item, "price": price})

    async def arrive(self) -> None:
        await self.say("set_online", online=True)

    def react(self, name: str, body: dict[str, Any]) -> None:
        if name == "new_order":
            self._take(body["orderId"])

    def _take(self, order_id: str) -> None:
        if order_id not in self._known:
            self._known.add(order_id)
            self.tasks.create_task(self._cook(order_id))

    async def _cook(self, order_id: str) -> None:
        # A customer may call the order off at any of these steps.
        with suppress(CommandRefused):
            await self.pause()
            if self.rng.random() < REJECTS:
                await self.say("reject_order", orderId=order_id, reason="no plantains")
                return
            await self.say("accept_order", orderId=order_id, prepMinutes=5)
            await self.pause()
            await self.say("order_preparing", orderId=order_id)
            await self.pause(1.0)
            await self.say("order_ready", orderId=order_id)

    async def rebuild(self) -> None:
        """Take the orders that wait for an answer; those that were taken are in hand."""
        cursor = ""
        while True:
            path = f"/orders?status=PENDING&limit={PAGE}{cursor}"
            page = await self.ask("GET", path)
            for order in page["items"]:
                # One that is not paid yet is told of when it is.
                if order["payment"]["state"] != "PENDING":
                    self._take(order["orderId"])
            if page["nextCursor"] is None:
                return
            cursor = f"&cursor={page['nextCursor']}"


class Rider(App):
    """Takes offers, fetches and brings; sometimes too greedy, sometimes with a flat tyre."""

    audience: UserType = "RIDER"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.lat, self.lng = LAT, LNG
        self._fixes = 0
        self._carrying = 0
        self._ready: set[str] = set()
        self._gone: set[str] = set()
        self._news = asyncio.Event()

    async def arrive(self) -> None:
        await self._on_duty()
        self.tasks.create_task(self._stay_on_duty(self.line.openings))

    async def _stay_on_duty(self, seen: int) -> None:
        """Whoever was away says again that he is there, as apps do."""
        while True:
            await self.line.opened(seen + 1)
            seen = self.line.openings
            await self._on_duty()

    async def _on_duty(self) -> None:
        await self.say("set_availability", available=True)
        await self.report()

    async def report(self) -> None:
        """Say where he is; the answer does not matter."""
        self._fixes += 1
        fix = {
            "lat": self.lat + self.rng.uniform(-1, 1) * 0.0001, "lng": self.lng,
            "heading": 0, "speed": 3, "accuracy": 6,
            "ts": int(time.time() * 1000), "seq": self._fixes,
        }  # fmt: skip
        await self.line.say("location_update", fix)

    def react(self, name: str, body: dict[str, Any]) -> None:
        order_id = str(body.get("orderId", ""))
        if name == "delivery_request":
            self.tasks.create_task(self._answer(body))
        elif name == "order_ready_for_pickup":
            self._ready.add(order_id)
        elif name == "order_cancelled":
            self._gone.add(order_id)
        self._news.set()

    async def rebuild(self) -> None:
        """Whoever waits looks for himself."""
        self._news.set()

    async def _answer(self, offer: dict[str, Any]) -> None:
        """Yes, no or nothing; a busy rider may try whether he gets a second one."""
        await self.pause(0.6)
        said = {"orderId": offer["orderId"], "offerId": offer["offerId"]}
        draw = self.rng.random()
        if draw < IGNORES or (self._carrying and self.rng.random() > GREEDY):
            return
        with suppress(CommandRefused):
            if draw < IGNORES + DECLINES:
                await self.say("decline_delivery", **said, reason="too far")
                return
            resyncs = self.resyncs
            taken = await self.say("accept_delivery", **said)
            self._carrying += 1
            try:
                await self._carry(offer, taken, resyncs)
            finally:
                self._carrying -= 1

    async def _carry(self, offer: dict[str, Any], taken: dict[str, Any], resyncs: int) -> None:
        order = {"orderId": offer["orderId"]}
        if self.rng.random() < RELEASES:
            await self.say("release_delivery", **order, reason="flat tyre")
            return
        await self.pause()
        await self.say("arrived_pickup", **order)
        if taken["status"] != "READY" and not await self._is_ready(order["orderId"], resyncs):
            return
        await self.say("pick_up", **order)
        await self.pause()
        await self.say("arrived_dropoff", **order)
        cash = offer.get("cashToCollect")
        paid = {} if cash is None else {"cashCollected": cash}
        await self.say("complete_delivery", **order, **paid)

    async def _is_ready(self, order_id: str, resyncs: int) -> bool:
        """Wait for the goods; False where they will not come.

        After `resyncs` of them he took the order; whatever was said before another is not repeated.
        """
        while order_id not in self._ready:
            if order_id in self._gone:
                return False
            if self.resyncs > resyncs:
                resyncs = self.resyncs
                await self._look(order_id)
                continue
            self._news.clear()
            try:
                async with asyncio.timeout(MISSED_S):
                    await self._news.wait()
            except TimeoutError:
                if await self._look(order_id):
                    self.record.missed.append(f"{self.who} was not told that {order_id} is ready")
        return True

    async def _look(self, order_id: str) -> bool:
        """See how the order stands; whether it is ready."""
        try:
            order = await self.ask("GET", f"/orders/{order_id}")
        except CommandRefused:
            # It is not his any more.
            self._gone.add(order_id)
            return False
        if order["status"] == "READY":
            self._ready.add(order_id)
            return True
        if order["status"] not in OPEN_TO_RIDER:
            self._gone.add(order_id)
        return False
