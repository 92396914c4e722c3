"""Customer, vendor and rider behaviour of the chaos test, from placing an order to payment."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from bench.common.scenario import LAT, LNG
from city.client.socket_client import CommandRefused
from city.client.tokens import UserType
from tests.e2e.retrying_client import MISSED_EVENT_S, PAGE_SIZE, RetryingClient

# Prices in XAF. A rider may hold 50,000 of cash, so cash orders are cheap.
DISHES = {"ndole": 5_000, "bread": 2_000}
TOP_UP_XAF = 2_000_000
PAYMENT_METHOD_SHARES = {"WALLET": 0.6, "MOBILE_MONEY": 0.2, "CASH": 0.2}
# Shares of behaviour that leaves the normal course of an order.
CANCEL_SHARE, REJECT_SHARE, RELEASE_SHARE, DECLINE_SHARE, IGNORE_SHARE = (
    0.04,
    0.03,
    0.04,
    0.08,
    0.04,
)
SUBSCRIBE_SHARE, RATING_SHARE, SECOND_ORDER_SHARE = 0.3, 0.3, 0.5
OUTCOME_OF_EVENT = {"order_delivered": "DELIVERED", "order_cancelled": "", "order_rejected": ""}
OPEN_STATUSES = frozenset({"PENDING", "ACCEPTED", "PREPARING", "READY", "IN_TRANSIT"})


class Customer(RetryingClient):
    """Customer: places orders, sometimes cancels, sometimes rates."""

    user_type: UserType = "USER"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.open_orders: dict[str, asyncio.Future[str]] = {}
        # Outcomes received before the placing was answered.
        self._outcomes: dict[str, str] = {}

    async def top_up_wallet(self) -> None:
        """Fill the wallet for the whole run."""
        body = {"amount": TOP_UP_XAF, "provider": "sandbox"}
        await self.request("POST", "/wallet/topup", body, key=f"topup-{self.user_id}")

    async def place_and_wait(self, number: int, vendor_id: str) -> None:
        """Place one order and wait until it has ended."""
        method = self.rng.choices(
            list(PAYMENT_METHOD_SHARES), list(PAYMENT_METHOD_SHARES.values())
        )[0]
        dish = "bread" if method == "CASH" else "ndole"
        body = {
            "orderType": "FOOD",
            "vendorId": vendor_id,
            "items": [{"itemId": dish, "quantity": 1}],
            "deliveryAddress": {"lat": LAT + 0.01, "lng": LNG, "address": "Rue Joffre"},
            "paymentMethod": method,
        }
        sent_s, resyncs = time.perf_counter(), self.resyncs
        placed = await self.request("POST", "/orders", body, key=f"order-{number}")
        self._record_ack("place_order", body, sent_s, placed, "")
        order_id = placed["orderId"]
        outcome_future = self.open_orders[order_id] = asyncio.get_running_loop().create_future()
        if order_id in self._outcomes:
            self._finish_order(order_id, self._outcomes[order_id])
        if self.resyncs > resyncs:
            # Events before the resync are not repeated.
            await self.fetch_snapshots()
        with suppress(CommandRefused):
            await self._subscribe_or_cancel(order_id)
        outcome = await outcome_future
        if outcome == "DELIVERED" and self.rng.random() < RATING_SHARE:
            stars = self.rng.randint(1, 5)
            with suppress(CommandRefused):
                await self.send_command("rate_order", orderId=order_id, rating=stars)

    async def _subscribe_or_cancel(self, order_id: str) -> None:
        if self.rng.random() < SUBSCRIBE_SHARE:
            await self.send_command("subscribe_order", orderId=order_id)
        if self.rng.random() < CANCEL_SHARE:
            await self.pause(2.0)
            await self.send_command("cancel_order", orderId=order_id, reason="not hungry any more")

    def handle_event(self, name: str, payload: dict[str, Any]) -> None:
        if name in OUTCOME_OF_EVENT:
            self._finish_order(payload["orderId"], OUTCOME_OF_EVENT[name])

    def _finish_order(self, order_id: str, outcome: str) -> None:
        self._outcomes[order_id] = outcome
        outcome_future = self.open_orders.get(order_id)
        if outcome_future is not None and not outcome_future.done():
            outcome_future.set_result(outcome)

    async def fetch_snapshots(self) -> None:
        """Poll every order that, as far as this client knows, is still open."""
        for order_id in [
            each for each, outcome_future in self.open_orders.items() if not outcome_future.done()
        ]:
            order = await self.request("GET", f"/orders/{order_id}")
            if order["status"] in ("DELIVERED", "FUNDS_DISTRIBUTED"):
                self._finish_order(order_id, "DELIVERED")
            elif order["status"] in ("CANCELLED", "REJECTED"):
                self._finish_order(order_id, "")


class Vendor(RetryingClient):
    """Vendor: accepts and prepares orders; rejects some."""

    user_type: UserType = "VENDOR"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen_orders: set[str] = set()

    async def open_shop(self, lat: float, lng: float) -> None:
        """Create the shop with its items."""
        location = {"lat": lat, "lng": lng, "address": "Akwa"}
        await self.request("PUT", "/vendor/profile", {"name": self.user_id, "location": location})
        for item, price in DISHES.items():
            await self.request("PUT", f"/vendor/items/{item}", {"name": item, "price": price})

    async def go_online(self) -> None:
        await self.send_command("set_online", online=True)

    def handle_event(self, name: str, payload: dict[str, Any]) -> None:
        if name == "new_order":
            self._start_order(payload["orderId"])

    def _start_order(self, order_id: str) -> None:
        if order_id not in self._seen_orders:
            self._seen_orders.add(order_id)
            self.tasks.create_task(self._prepare_order(order_id))

    async def _prepare_order(self, order_id: str) -> None:
        # The customer may cancel the order at any of these steps.
        with suppress(CommandRefused):
            await self.pause()
            if self.rng.random() < REJECT_SHARE:
                await self.send_command("reject_order", orderId=order_id, reason="no plantains")
                return
            await self.send_command("accept_order", orderId=order_id, prepMinutes=5)
            await self.pause()
            await self.send_command("order_preparing", orderId=order_id)
            await self.pause(1.0)
            await self.send_command("order_ready", orderId=order_id)

    async def fetch_snapshots(self) -> None:
        """Start the pending orders that were missed; accepted ones are already under way."""
        cursor = ""
        while True:
            path = f"/orders?status=PENDING&limit={PAGE_SIZE}{cursor}"
            page = await self.request("GET", path)
            for order in page["items"]:
                # An unpaid order is announced once it is paid.
                if order["payment"]["state"] != "PENDING":
                    self._start_order(order["orderId"])
            if page["nextCursor"] is None:
                return
            cursor = f"&cursor={page['nextCursor']}"


class Rider(RetryingClient):
    """Rider: accepts offers and delivers; sometimes accepts beyond its capacity or gives back."""

    user_type: UserType = "RIDER"
    missed_event_s = MISSED_EVENT_S
    release_share = RELEASE_SHARE

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lat, self.lng = LAT, LNG
        self._fix_count = 0
        self._carried_count = 0
        self._ready_orders: set[str] = set()
        self._lost_orders: set[str] = set()
        self._changed = asyncio.Event()

    async def go_online(self) -> None:
        await self._go_on_duty()
        self.tasks.create_task(self._stay_on_duty(self.socket.connect_count))

    async def _stay_on_duty(self, connect_count: int) -> None:
        """Become available again after every reconnect, as real apps do."""
        while True:
            await self.socket.wait_connected(connect_count + 1)
            connect_count = self.socket.connect_count
            await self._go_on_duty()

    async def _go_on_duty(self) -> None:
        await self.send_command("set_availability", available=True)
        await self.report_position()

    async def report_position(self) -> None:
        """Report the position; no answer is needed."""
        self._fix_count += 1
        fix = {
            "lat": self.lat + self.rng.uniform(-1, 1) * 0.0001, "lng": self.lng,
            "heading": 0, "speed": 3, "accuracy": 6,
            "ts": int(time.time() * 1000), "seq": self._fix_count,
        }  # fmt: skip
        await self.socket.send_event("location_update", fix)

    def handle_event(self, name: str, payload: dict[str, Any]) -> None:
        order_id = str(payload.get("orderId", ""))
        if name == "delivery_request":
            self.tasks.create_task(self.answer_offer(payload))
        elif name == "order_ready_for_pickup":
            self._ready_orders.add(order_id)
        elif name == "order_cancelled":
            self._lost_orders.add(order_id)
        self._changed.set()

    async def fetch_snapshots(self) -> None:
        """Wake the waiting deliveries, which then poll their orders."""
        self._changed.set()

    async def answer_offer(self, offer: dict[str, Any]) -> None:
        """Accept, decline or ignore an offer; a busy rider may still try to accept."""
        await self.pause(0.6)
        ids = {"orderId": offer["orderId"], "offerId": offer["offerId"]}
        drawn = self.rng.random()
        if drawn < IGNORE_SHARE or (self._carried_count and self.rng.random() > SECOND_ORDER_SHARE):
            return
        with suppress(CommandRefused):
            if drawn < IGNORE_SHARE + DECLINE_SHARE:
                await self.send_command("decline_delivery", **ids, reason="too far")
                return
            resyncs = self.resyncs
            order = await self.send_command("accept_delivery", **ids)
            self._carried_count += 1
            try:
                await self._deliver(offer, order, resyncs)
            finally:
                self._carried_count -= 1

    async def _deliver(self, offer: dict[str, Any], accepted: dict[str, Any], resyncs: int) -> None:
        order = {"orderId": offer["orderId"]}
        if self.rng.random() < self.release_share:
            await self.send_command("release_delivery", **order, reason="flat tyre")
            return
        await self.pause()
        await self.send_command("arrived_pickup", **order)
        if accepted["status"] != "READY" and not await self._wait_until_ready(
            order["orderId"], resyncs
        ):
            return
        await self.send_command("pick_up", **order)
        await self.pause()
        await self.send_command("arrived_dropoff", **order)
        cash = offer.get("cashToCollect")
        cash_fields = {} if cash is None else {"cashCollected": cash}
        await self.send_command("complete_delivery", **order, **cash_fields)

    async def _wait_until_ready(self, order_id: str, resyncs: int) -> bool:
        """Wait until the order is ready; False if it will not be.

        `resyncs` is their number when the order was accepted; events before a later one are lost.
        """
        while order_id not in self._ready_orders:
            if order_id in self._lost_orders:
                return False
            if self.resyncs > resyncs:
                resyncs = self.resyncs
                await self._poll_order(order_id)
                continue
            self._changed.clear()
            try:
                async with asyncio.timeout(self.missed_event_s):
                    await self._changed.wait()
            except TimeoutError:
                if await self._poll_order(order_id):
                    self.record.missed_events.append(
                        f"{self.identity} did not learn that {order_id} is ready"
                    )
        return True

    async def _poll_order(self, order_id: str) -> bool:
        """Poll the order; whether it is ready."""
        try:
            order = await self.request("GET", f"/orders/{order_id}")
        except CommandRefused:
            # The order is assigned to another rider.
            self._lost_orders.add(order_id)
            return False
        if order["status"] == "READY":
            self._ready_orders.add(order_id)
            return True
        if order["status"] not in OPEN_STATUSES:
            self._lost_orders.add(order_id)
        return False
