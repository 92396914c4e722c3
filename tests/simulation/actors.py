"""Simulated vendors, riders and customers, each a small client of the public contract."""

import asyncio
import math
from typing import Any

from tests.simulation.phones import Phone
from tests.simulation.simulated_client import Refused, SimulatedClient
from tests.virtual_time import clock

# Around Akwa, Douala; a small area, so that runs spend their time on faults and not on driving.
LAT, LNG, AREA_HALF_WIDTH_M = 4.0511, 9.7085, 900.0
M_PER_DEGREE = 111_320.0
SPEED_M_S, FIX_EVERY_S = 9.0, 3.0
# Longer than the silence for which an order is withdrawn.
LOST_S = 90
TOP_UP_XAF = 40_000
# How long an offer stays valid after the end that the rider is shown. Source: dispatch/model.py.
GRACE_S = 3.0
OPEN_STATUSES = ("PENDING", "ACCEPTED", "PREPARING", "READY", "IN_TRANSIT")
FINAL_EVENTS = {"order_delivered", "order_cancelled", "order_rejected"}


class Location:
    """A point of the simulated area. Units: metres from its centre."""

    def __init__(self, x: float, y: float) -> None:
        self.x = x
        self.y = y

    def point(self) -> dict[str, float]:
        """Latitude and longitude, as in the contract."""
        lng_m = M_PER_DEGREE * math.cos(math.radians(LAT))
        return {"lat": round(LAT + self.y / M_PER_DEGREE, 6), "lng": round(LNG + self.x / lng_m, 6)}

    def address(self) -> dict[str, Any]:
        """An address, as in an order."""
        return {**self.point(), "address": "Akwa"}


def random_location(rng: Any) -> Location:
    """A random point of the area."""
    return Location(
        rng.uniform(-AREA_HALF_WIDTH_M, AREA_HALF_WIDTH_M),
        rng.uniform(-AREA_HALF_WIDTH_M, AREA_HALF_WIDTH_M),
    )


class Behaviour:
    """How the actors behave: randomly during the faults, cooperatively afterwards."""

    def __init__(self) -> None:
        self.is_cooperative = False

    def draw_wait_s(self, rng: Any, usual_s: float) -> float:
        """Draw a waiting time around its usual value. Units: seconds."""
        return rng.uniform(0.2, 0.6) if self.is_cooperative else rng.uniform(0.3, 1.7) * usual_s


class Vendor:
    """Vendor: accepts or rejects orders, prepares them, and reports them ready."""

    def __init__(self, client: SimulatedClient, behaviour: Behaviour, service: str) -> None:
        self.client = client
        self.vendor_id = client.actor.partition(":")[2]
        self.service = service
        self.location = random_location(client.rng)
        self.is_open = False
        self._behaviour = behaviour
        self._order_tasks: dict[str, asyncio.Task[None]] = {}
        self._poll_tasks: set[asyncio.Task[None]] = set()
        client.on_event = self._on_event
        client.on_open = self._on_open
        client.on_resync = lambda: _spawn(self._poll_tasks, self._poll_orders())

    def _on_open(self) -> None:
        """Fetch the orders where the app has no event to resume from, as after a long outage."""
        if self.is_open and not self.client.has_resume_point:
            _spawn(self._poll_tasks, self._poll_orders())

    async def open_shop(self) -> None:
        """Create the profile and the items, and go online."""
        location, name = self.location.address(), self.vendor_id
        body = {"name": name, "location": location, "services": [self.service]}
        await self.client.put("/vendor/profile", body)
        for number, price in enumerate((2500, 3200, 5400)):
            item = {"name": f"dish {number}", "price": price, "category": "any"}
            if number == 1:
                item["stock"] = 1000
            await self.client.put(f"/vendor/items/i{number}", item)
        await self.client.send_command("set_online", {"online": True})
        self.is_open = True

    def _on_event(self, name: str, payload: dict[str, Any]) -> None:
        if name == "new_order":
            self._start_order(payload["orderId"], "PENDING")

    def _start_order(self, order_id: str, status: str) -> None:
        if order_id not in self._order_tasks:
            self._order_tasks[order_id] = asyncio.create_task(self._prepare_order(order_id, status))

    async def _poll_orders(self) -> None:
        for status in ("PENDING", "ACCEPTED", "PREPARING"):
            page = await self.client.get(f"/orders?status={status}&limit=100")
            for order in page["items"]:
                self._start_order(order["orderId"], status)

    async def _prepare_order(self, order_id: str, status: str) -> None:
        wait_s, rng = self._behaviour.draw_wait_s, self.client.rng
        order = {"orderId": order_id}
        try:
            if status == "PENDING":
                await asyncio.sleep(wait_s(rng, 2))
                if not self._behaviour.is_cooperative and rng.random() < 0.05:
                    await self.client.send_command("reject_order", {**order, "reason": "sold out"})
                    return
                await self.client.send_command("accept_order", {**order, "prepMinutes": 1})
            if status in ("PENDING", "ACCEPTED"):
                await asyncio.sleep(wait_s(rng, 1))
                await self.client.send_command("order_preparing", order)
            await asyncio.sleep(wait_s(rng, 4))
            await self.client.send_command("order_ready", order)
        except Refused:
            # The order was cancelled.
            return


class Rider:
    """Rider: reports positions, answers offers, and delivers accepted orders."""

    def __init__(self, client: SimulatedClient, behaviour: Behaviour) -> None:
        self.client = client
        self.rider_id = client.actor.partition(":")[2]
        self.location = random_location(client.rng)
        self._destination = random_location(client.rng)
        self._behaviour = behaviour
        # The first rider cannot be placed at work, in every run.
        self._phone = Phone(client.rng, "indoors" if self.rider_id == "r0" else None)
        self._offers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._closed_offers: set[str] = set()
        self._lost_orders: set[str] = set()
        self._ready_orders: set[str] = set()
        self._current_order: str | None = None
        self._delivery_lock = asyncio.Lock()
        self._finished_orders: set[str] = set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        client.on_event = self._on_event
        client.on_open = lambda: _spawn(self._tasks, self._go_on_duty())
        client.on_resync = lambda: _spawn(self._tasks, self._poll_orders())

    async def run(self) -> None:
        """Report positions and answer offers until cancelled."""
        profile = {"name": self.rider_id, "phone": "+237600000000", "vehicle": "MOTORBIKE"}
        await self.client.put("/rider/profile", profile)
        _spawn(self._tasks, self._report_positions())
        while True:
            offer = await self._offers.get()
            if self._current_order is None:
                _spawn(self._tasks, self._answer_offer(offer))
            elif self.client.rng.random() < 0.5:
                # Tries to exceed the capacity of one order.
                _spawn(self._tasks, self._try_second_order(offer))

    async def _go_on_duty(self) -> None:
        await self.client.send_command("set_availability", {"available": True})

    async def _report_positions(self) -> None:
        while True:
            self._move()
            fix = {**self.location.point(), "accuracy": 8.0, "ts": clock().now_ms()}
            is_at_work = self._current_order is not None
            for name, payload in self._phone.packets(fix, is_at_work=is_at_work):
                self.client.emit(name, payload)
            await asyncio.sleep(FIX_EVERY_S)

    def _move(self) -> None:
        dx, dy = self._destination.x - self.location.x, self._destination.y - self.location.y
        distance_m = math.hypot(dx, dy)
        step_m = SPEED_M_S * FIX_EVERY_S
        if distance_m <= step_m:
            self.location = self._destination
            self._destination = random_location(self.client.rng)
        else:
            self.location = Location(
                self.location.x + dx / distance_m * step_m,
                self.location.y + dy / distance_m * step_m,
            )

    def _on_event(self, name: str, payload: dict[str, Any]) -> None:
        order_id = payload.get("orderId", "")
        if name == "delivery_request":
            self._offers.put_nowait(payload)
        elif name == "delivery_request_closed":
            self._closed_offers.add(payload["offerId"])
            if order_id == self._current_order:
                self._lost_orders.add(order_id)
        elif name == "order_cancelled":
            self._lost_orders.add(order_id)
        elif name == "order_ready_for_pickup":
            self._ready_orders.add(order_id)
        self._changed.set()

    async def _answer_offer(self, offer: dict[str, Any]) -> None:
        rng, offer_id = self.client.rng, offer["offerId"]
        order = {"orderId": offer["orderId"], "offerId": offer_id}
        await asyncio.sleep(self._behaviour.draw_wait_s(rng, 2))
        drawn = 0.0 if self._behaviour.is_cooperative else rng.random()
        if drawn >= 0.94:
            # Accepts just after the deadline, or long after it.
            end_s = (offer["expiresAt"] - clock().now_ms()) / 1000 + GRACE_S
            await asyncio.sleep(max(0.0, end_s + rng.choice([0.002, 0.01, 0.3, 2])))
        elif drawn >= 0.88 or offer_id in self._closed_offers:
            return
        try:
            if 0.8 <= drawn < 0.88:
                await self.client.send_command("decline_delivery", order)
                return
            await self._accept_and_deliver(offer)
        except Refused:
            # Another rider was faster, the offer had expired, or the order was withdrawn.
            await self._poll_orders()

    async def _try_second_order(self, offer: dict[str, Any]) -> None:
        try:
            # The server may already know that the previous order has ended.
            await self._accept_and_deliver(offer)
        except Refused:
            return

    async def _accept_and_deliver(self, offer: dict[str, Any]) -> None:
        order_id = offer["orderId"]
        accept = {"orderId": order_id, "offerId": offer["offerId"]}
        await self.client.send_command("accept_delivery", accept)
        self._finished_orders.discard(order_id)
        self._lost_orders.discard(order_id)
        if offer["orderType"] == "PACKAGE":
            self._ready_orders.add(order_id)
        await self._deliver_once(order_id, offer.get("cashToCollect"), "ASSIGNED")

    async def _poll_orders(self) -> None:
        """Continue with the orders that the server assigns to this rider."""
        page = await self.client.get("/orders?limit=20")
        assigned = [
            o
            for o in page["items"]
            if o["status"] in OPEN_STATUSES and _is_assigned_to(o, self.rider_id)
        ]
        current_order = self._current_order
        if current_order is not None and current_order not in [
            order["orderId"] for order in assigned
        ]:
            await self._poll_order(current_order)
        for order in assigned:
            if order["status"] in ("READY", "IN_TRANSIT") or order["orderType"] == "PACKAGE":
                self._ready_orders.add(order["orderId"])
                self._changed.set()
            if order["orderId"] != self._current_order:
                # It may have been given back and assigned again.
                self._finished_orders.discard(order["orderId"])
                cash = order["payment"]["method"] == "CASH"
                due = order["pricing"]["total"] if cash else None
                try:
                    await self._deliver_once(order["orderId"], due, order["dispatch"]["state"])
                except Refused:
                    return

    async def _poll_order(self, order_id: str) -> None:
        """Poll one order; unlike a list it is never stale."""
        try:
            order = await self.client.get(f"/orders/{order_id}")
        except Refused:
            order = None
        if order is None or order["status"] not in OPEN_STATUSES:
            self._lost_orders.add(order_id)
        elif order["status"] in ("READY", "IN_TRANSIT"):
            self._ready_orders.add(order_id)
        self._changed.set()

    async def _deliver_once(self, order_id: str, cash: int | None, state: str) -> None:
        async with self._delivery_lock:
            if order_id in self._finished_orders:
                return
            self._current_order = order_id
            try:
                await self._run_delivery(order_id, cash, state)
            finally:
                self._finished_orders.add(order_id)
                self._current_order = None

    async def _run_delivery(self, order_id: str, cash: int | None, state: str) -> None:
        rng, order = self.client.rng, {"orderId": order_id}
        if state == "ASSIGNED":
            await self._pause(4)
            if not self._behaviour.is_cooperative and rng.random() < 0.06:
                await self.client.send_command("release_delivery", {**order, "reason": "flat tyre"})
                return
            if self._phone.loses_position_at_work:
                await self._look_for_the_shop()
            if await self._has_order(order_id):
                await self._tap("arrived_pickup", order)
        if state in ("ASSIGNED", "AT_PICKUP"):
            if rng.random() < 0.1:
                # The goods stand on the counter, and the vendor forgot to report them.
                self._ready_orders.add(order_id)
            while order_id not in self._ready_orders and order_id not in self._lost_orders:
                self._changed.clear()
                await self._changed.wait()
            if not await self._has_order(order_id):
                return
            await self._tap("pick_up", order)
        if state != "AT_DROPOFF":
            await self._pause(5)
            await self._tap("arrived_dropoff", order)
        await self._pause(1)
        done = order if cash is None else {**order, "cashCollected": cash}
        await self._tap("complete_delivery", done)

    async def _tap(self, command: str, payload: dict[str, Any]) -> None:
        """Send a command, and sometimes once more without an id, as a double tap does."""
        await self.client.send_command(command, payload)
        if self.client.rng.random() < 0.2:
            self.client.emit(command, payload)

    async def _look_for_the_shop(self) -> None:
        """Take longer than a rider may be silent, without a usable position."""
        for _ in range(LOST_S):
            if self._behaviour.is_cooperative:
                return
            await asyncio.sleep(1)

    async def _pause(self, usual_s: float) -> None:
        await asyncio.sleep(self._behaviour.draw_wait_s(self.client.rng, usual_s))

    async def _has_order(self, order_id: str) -> bool:
        return order_id not in self._lost_orders


def _is_assigned_to(order: dict[str, Any], rider_id: str) -> bool:
    return order["dispatch"].get("riderId") == rider_id


def _spawn(tasks: set[asyncio.Task[None]], coroutine: Any) -> None:
    task = asyncio.get_running_loop().create_task(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


class Tablet:
    """Tablet: a second phone of a rider, which lies at one place and reports from there."""

    def __init__(self, client: SimulatedClient) -> None:
        self.client = client
        self._location = random_location(client.rng)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            fix = {**self._location.point(), "accuracy": 12.0, "ts": clock().now_ms()}
            self.client.emit("location_update", fix)
            await asyncio.sleep(FIX_EVERY_S)


class Customer:
    """Customer: tops up the wallet, orders, watches, sometimes cancels, rates."""

    def __init__(
        self, client: SimulatedClient, behaviour: Behaviour, vendors: list[Vendor]
    ) -> None:
        self.client = client
        self.home = random_location(client.rng)
        self._behaviour = behaviour
        self._vendors = vendors
        self._changed = asyncio.Event()
        self._ended_orders: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open_order: str | None = None
        client.on_event = self._on_event
        client.on_open = lambda: _spawn(self._tasks, self._subscribe())
        client.on_resync = lambda: _spawn(self._tasks, self._poll_order())

    def _on_event(self, name: str, payload: dict[str, Any]) -> None:
        if name in FINAL_EVENTS:
            self._ended_orders.add(payload["orderId"])
            self._changed.set()

    async def place_and_wait(self) -> None:
        """Place one order and wait for its end."""
        rng = self.client.rng
        body = self._draw_order()
        balance = await self.client.get("/wallet/balance")
        if balance["availableBalance"] < 20_000:
            await self.client.post("/wallet/topup", {"amount": TOP_UP_XAF, "provider": "sandbox"})
        placed = await self.client.post("/orders", body)
        self._open_order = order_id = placed["orderId"]
        await self._subscribe()
        if not self._behaviour.is_cooperative and rng.random() < 0.1:
            _spawn(self._tasks, self._cancel_later(order_id))
        while order_id not in self._ended_orders:
            self._changed.clear()
            self._sometimes_resubscribe()
            await self._changed.wait()
        self._open_order = None
        if rng.random() < 0.3:
            await self._rate(order_id)

    def _sometimes_resubscribe(self) -> None:
        """Subscribe now and then, as a reopened app does, which takes a fresh snapshot."""
        if self.client.rng.random() < 0.3:
            _spawn(self._tasks, self._subscribe())

    async def _rate(self, order_id: str) -> None:
        try:
            stars = self.client.rng.randint(1, 5)
            await self.client.send_command("rate_order", {"orderId": order_id, "rating": stars})
        except Refused:
            # It was not delivered.
            return

    async def _cancel_later(self, order_id: str) -> None:
        await asyncio.sleep(self.client.rng.uniform(0, 25))
        try:
            await self.client.send_command(
                "cancel_order", {"orderId": order_id, "reason": "too slow"}
            )
        except Refused:
            # The order was already picked up.
            return

    async def _subscribe(self) -> None:
        order_id = self._open_order
        if order_id is None:
            return
        try:
            snapshot = await self.client.send_command("subscribe_order", {"orderId": order_id})
        except Refused:
            return
        self._apply_snapshot(snapshot)

    async def _poll_order(self) -> None:
        if self._open_order is not None:
            self._apply_snapshot(await self.client.get(f"/orders/{self._open_order}"))

    def _apply_snapshot(self, order: dict[str, Any]) -> None:
        if order["status"] not in OPEN_STATUSES:
            self._ended_orders.add(order["orderId"])
            self._changed.set()

    def _draw_order(self) -> dict[str, Any]:
        rng = self.client.rng
        method = rng.choices(["WALLET", "CASH", "MOBILE_MONEY"], [6, 2, 2])[0]
        if rng.random() < 0.15:
            return {
                "orderType": "PACKAGE",
                "pickup": self.home.address(),
                "dropoff": random_location(rng).address(),
                "packageDetails": {"category": "papers", "weight": 1.5, "isFragile": False},
                "recipient": {"name": "Aline", "phone": "+237611111111"},
                "paymentMethod": method,
            }
        shop = rng.choice(self._vendors)
        items = rng.choice([["i2"], ["i0", "i1"], ["i1", "i2"]])
        return {
            "orderType": shop.service,
            "vendorId": shop.vendor_id,
            "items": [{"itemId": item, "quantity": 1} for item in items],
            "deliveryAddress": self.home.address(),
            "paymentMethod": method,
        }
