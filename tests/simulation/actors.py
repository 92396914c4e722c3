"""The people of the town, each a small client of the public contract."""

import asyncio
import math
from typing import Any

from tests.simulation.phone import Phone, Refused
from tests.virtual_time import clock

# Around Akwa, Douala; the town is small so that stories are about faults and not about roads.
LAT, LNG, TOWN_M = 4.0511, 9.7085, 900.0
M_PER_DEGREE = 111_320.0
SPEED_M_S, FIX_EVERY_S = 9.0, 3.0
TOP_UP = 40_000
# What an offer leaves a rider after the moment he sees. Source: offer policy, 3 s of grace.
GRACE_S = 3.0
OPEN = ("PENDING", "ACCEPTED", "PREPARING", "READY", "IN_TRANSIT")
ENDS = {"order_delivered", "order_cancelled", "order_rejected"}


class Place:
    """A point of the town. Units: metres from its middle."""

    def __init__(self, x: float, y: float) -> None:
        self.x = x
        self.y = y

    def point(self) -> dict[str, float]:
        """As the contract writes it."""
        lng_m = M_PER_DEGREE * math.cos(math.radians(LAT))
        return {"lat": round(LAT + self.y / M_PER_DEGREE, 6), "lng": round(LNG + self.x / lng_m, 6)}

    def address(self) -> dict[str, Any]:
        """As an order names it."""
        return {**self.point(), "address": "Akwa"}


def somewhere(chance: Any) -> Place:
    """A place of the town."""
    return Place(chance.uniform(-TOWN_M, TOWN_M), chance.uniform(-TOWN_M, TOWN_M))


class Manners:
    """How people behave: in the storm as they like, in the calm as everybody wishes."""

    def __init__(self) -> None:
        self.are_calm = False

    def wait_s(self, chance: Any, usual_s: float) -> float:
        """How long something takes that usually takes so long."""
        return chance.uniform(0.2, 0.6) if self.are_calm else chance.uniform(0.3, 1.7) * usual_s


class Vendor:
    """A shop: answers orders, cooks, and says when the bag waits."""

    def __init__(self, phone: Phone, manners: Manners, service: str) -> None:
        self.phone = phone
        self.owner = phone.who.partition(":")[2]
        self.service = service
        self.place = somewhere(phone.chance)
        self.is_open = False
        self._manners = manners
        self._served: dict[str, asyncio.Task[None]] = {}
        self._looks: set[asyncio.Task[None]] = set()
        phone.on_event = self._hear
        phone.on_lost = lambda: _spawn(self._looks, self._look())

    async def open(self) -> None:
        """Furnish the shop."""
        location, name = self.place.address(), self.owner
        body = {"name": name, "location": location, "services": [self.service]}
        await self.phone.put("/vendor/profile", body)
        for number, price in enumerate((2500, 3200, 5400)):
            item = {"name": f"dish {number}", "price": price, "category": "any"}
            if number == 1:
                item["stock"] = 1000
            await self.phone.put(f"/vendor/items/i{number}", item)
        await self.phone.insist("set_online", {"online": True})
        self.is_open = True

    def _hear(self, name: str, payload: dict[str, Any]) -> None:
        if name == "new_order":
            self._serve(payload["orderId"], "PENDING")

    def _serve(self, order_id: str, status: str) -> None:
        if order_id not in self._served:
            self._served[order_id] = asyncio.create_task(self._cook(order_id, status))

    async def _look(self) -> None:
        for status in ("PENDING", "ACCEPTED", "PREPARING"):
            page = await self.phone.get(f"/orders?status={status}&limit=100")
            for order in page["items"]:
                self._serve(order["orderId"], status)

    async def _cook(self, order_id: str, status: str) -> None:
        wait_s, chance = self._manners.wait_s, self.phone.chance
        order = {"orderId": order_id}
        try:
            if status == "PENDING":
                await asyncio.sleep(wait_s(chance, 2))
                if not self._manners.are_calm and chance.random() < 0.05:
                    await self.phone.insist("reject_order", {**order, "reason": "sold out"})
                    return
                await self.phone.insist("accept_order", {**order, "prepMinutes": 1})
            if status in ("PENDING", "ACCEPTED"):
                await asyncio.sleep(wait_s(chance, 1))
                await self.phone.insist("order_preparing", order)
            await asyncio.sleep(wait_s(chance, 4))
            await self.phone.insist("order_ready", order)
        except Refused:
            # It was called off.
            return


class Rider:
    """A rider: says where he is, answers offers in his own way, carries what he took."""

    def __init__(self, phone: Phone, manners: Manners) -> None:
        self.phone = phone
        self.owner = phone.who.partition(":")[2]
        self.here = somewhere(phone.chance)
        self._goal = somewhere(phone.chance)
        self._manners = manners
        self._offers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._closed: set[str] = set()
        self._gone: set[str] = set()
        self._ready: set[str] = set()
        self._job: str | None = None
        self._hands = asyncio.Lock()
        self._done: set[str] = set()
        self._news = asyncio.Event()
        self._side: set[asyncio.Task[None]] = set()
        phone.on_event = self._hear
        phone.on_open = lambda: _spawn(self._side, self._on_duty())
        phone.on_lost = lambda: _spawn(self._side, self._look())

    async def run(self) -> None:
        """Be on the road, for ever."""
        profile = {"name": self.owner, "phone": "+237600000000", "vehicle": "MOTORBIKE"}
        await self.phone.put("/rider/profile", profile)
        _spawn(self._side, self._ride())
        while True:
            offer = await self._offers.get()
            if self._job is None:
                _spawn(self._side, self._answer(offer))
            elif self.phone.chance.random() < 0.5:
                # He would carry two at once.
                _spawn(self._side, self._grab(offer))

    async def _on_duty(self) -> None:
        await self.phone.insist("set_availability", {"available": True})

    async def _ride(self) -> None:
        while True:
            self._move()
            fix = {**self.here.point(), "accuracy": 8.0, "ts": clock().now_ms()}
            self.phone.say("location_update", fix)
            await asyncio.sleep(FIX_EVERY_S)

    def _move(self) -> None:
        dx, dy = self._goal.x - self.here.x, self._goal.y - self.here.y
        far_m = math.hypot(dx, dy)
        step_m = SPEED_M_S * FIX_EVERY_S
        if far_m <= step_m:
            self.here = self._goal
            self._goal = somewhere(self.phone.chance)
        else:
            self.here = Place(self.here.x + dx / far_m * step_m, self.here.y + dy / far_m * step_m)

    def _hear(self, name: str, payload: dict[str, Any]) -> None:
        order_id = payload.get("orderId", "")
        if name == "delivery_request":
            self._offers.put_nowait(payload)
        elif name == "delivery_request_closed":
            self._closed.add(payload["offerId"])
            if order_id == self._job:
                self._gone.add(order_id)
        elif name == "order_cancelled":
            self._gone.add(order_id)
        elif name == "order_ready_for_pickup":
            self._ready.add(order_id)
        self._news.set()

    async def _answer(self, offer: dict[str, Any]) -> None:
        chance, offer_id = self.phone.chance, offer["offerId"]
        order = {"orderId": offer["orderId"], "offerId": offer_id}
        await asyncio.sleep(self._manners.wait_s(chance, 2))
        drawn = 0.0 if self._manners.are_calm else chance.random()
        if drawn >= 0.94:
            # He wakes up when it is too late, by a little or by much.
            end_s = (offer["expiresAt"] - clock().now_ms()) / 1000 + GRACE_S
            await asyncio.sleep(max(0.0, end_s + chance.choice([0.002, 0.01, 0.3, 2])))
        elif drawn >= 0.88 or offer_id in self._closed:
            return
        try:
            if 0.8 <= drawn < 0.88:
                await self.phone.insist("decline_delivery", order)
                return
            await self._take(offer)
        except Refused:
            # Somebody was faster, it was too late, or it was taken from him.
            await self._look()

    async def _grab(self, offer: dict[str, Any]) -> None:
        try:
            # The server may know sooner than he that his hands are free again.
            await self._take(offer)
        except Refused:
            return

    async def _take(self, offer: dict[str, Any]) -> None:
        order_id = offer["orderId"]
        accept = {"orderId": order_id, "offerId": offer["offerId"]}
        await self.phone.insist("accept_delivery", accept)
        self._done.discard(order_id)
        self._gone.discard(order_id)
        if offer["orderType"] == "PACKAGE":
            self._ready.add(order_id)
        await self._deliver(order_id, offer.get("cashToCollect"), "ASSIGNED")

    async def _look(self) -> None:
        """Go on with what the server says he carries."""
        page = await self.phone.get("/orders?limit=20")
        mine = [o for o in page["items"] if o["status"] in OPEN and _is_with(o, self.owner)]
        job = self._job
        if job is not None and job not in [order["orderId"] for order in mine]:
            await self._look_at(job)
        for order in mine:
            if order["status"] in ("READY", "IN_TRANSIT") or order["orderType"] == "PACKAGE":
                self._ready.add(order["orderId"])
                self._news.set()
            if order["orderId"] != self._job:
                # Perhaps he had given it back, and has it again.
                self._done.discard(order["orderId"])
                cash = order["payment"]["method"] == "CASH"
                due = order["pricing"]["total"] if cash else None
                try:
                    await self._deliver(order["orderId"], due, order["dispatch"]["state"])
                except Refused:
                    return

    async def _look_at(self, order_id: str) -> None:
        """A list may be a moment behind; the order itself never is."""
        try:
            order = await self.phone.get(f"/orders/{order_id}")
        except Refused:
            order = None
        if order is None or order["status"] not in OPEN:
            self._gone.add(order_id)
        elif order["status"] in ("READY", "IN_TRANSIT"):
            self._ready.add(order_id)
        self._news.set()

    async def _deliver(self, order_id: str, cash: int | None, state: str) -> None:
        async with self._hands:
            if order_id in self._done:
                return
            self._job = order_id
            try:
                await self._carry(order_id, cash, state)
            finally:
                self._done.add(order_id)
                self._job = None

    async def _carry(self, order_id: str, cash: int | None, state: str) -> None:
        chance, order = self.phone.chance, {"orderId": order_id}
        if state == "ASSIGNED":
            await self._pause(4)
            if not self._manners.are_calm and chance.random() < 0.06:
                await self.phone.insist("release_delivery", {**order, "reason": "flat tyre"})
                return
            if await self._is_mine(order_id):
                await self.phone.insist("arrived_pickup", order)
        if state in ("ASSIGNED", "AT_PICKUP"):
            while order_id not in self._ready and order_id not in self._gone:
                self._news.clear()
                await self._news.wait()
            if not await self._is_mine(order_id):
                return
            await self.phone.insist("pick_up", order)
        if state != "AT_DROPOFF":
            await self._pause(5)
            await self.phone.insist("arrived_dropoff", order)
        await self._pause(1)
        done = order if cash is None else {**order, "cashCollected": cash}
        await self.phone.insist("complete_delivery", done)

    async def _pause(self, usual_s: float) -> None:
        await asyncio.sleep(self._manners.wait_s(self.phone.chance, usual_s))

    async def _is_mine(self, order_id: str) -> bool:
        return order_id not in self._gone


def _is_with(order: dict[str, Any], rider: str) -> bool:
    return order["dispatch"].get("riderId") == rider


def _spawn(kept: set[asyncio.Task[None]], work: Any) -> None:
    task = asyncio.get_running_loop().create_task(work)
    kept.add(task)
    task.add_done_callback(kept.discard)


class Customer:
    """A customer: fills the purse, orders, watches, sometimes calls off, rates."""

    def __init__(self, phone: Phone, manners: Manners, shops: list[Vendor]) -> None:
        self.phone = phone
        self.home = somewhere(phone.chance)
        self._manners = manners
        self._shops = shops
        self._news = asyncio.Event()
        self._ended: set[str] = set()
        self._side: set[asyncio.Task[None]] = set()
        self._open: str | None = None
        phone.on_event = self._hear
        phone.on_open = lambda: _spawn(self._side, self._watch())
        phone.on_lost = lambda: _spawn(self._side, self._look())

    def _hear(self, name: str, payload: dict[str, Any]) -> None:
        if name in ENDS:
            self._ended.add(payload["orderId"])
            self._news.set()

    async def order(self) -> None:
        """Want something, and wait for its end."""
        chance = self.phone.chance
        body = self._wish()
        balance = await self.phone.get("/wallet/balance")
        if balance["availableBalance"] < 20_000:
            await self.phone.post("/wallet/topup", {"amount": TOP_UP, "provider": "sandbox"})
        placed = await self.phone.post("/orders", body)
        self._open = order_id = placed["orderId"]
        await self._watch()
        if not self._manners.are_calm and chance.random() < 0.1:
            _spawn(self._side, self._call_off(order_id))
        while order_id not in self._ended:
            self._news.clear()
            self._look_again()
            await self._news.wait()
        self._open = None
        if chance.random() < 0.3:
            await self._rate(order_id)

    def _look_again(self) -> None:
        """Now and then an app is opened anew and takes a fresh snapshot."""
        if self.phone.chance.random() < 0.3:
            _spawn(self._side, self._watch())

    async def _rate(self, order_id: str) -> None:
        try:
            stars = self.phone.chance.randint(1, 5)
            await self.phone.insist("rate_order", {"orderId": order_id, "rating": stars})
        except Refused:
            # It was not delivered.
            return

    async def _call_off(self, order_id: str) -> None:
        await asyncio.sleep(self.phone.chance.uniform(0, 25))
        try:
            await self.phone.insist("cancel_order", {"orderId": order_id, "reason": "too slow"})
        except Refused:
            # The goods are on their way.
            return

    async def _watch(self) -> None:
        order_id = self._open
        if order_id is None:
            return
        try:
            snapshot = await self.phone.insist("subscribe_order", {"orderId": order_id})
        except Refused:
            return
        self._see(snapshot)

    async def _look(self) -> None:
        if self._open is not None:
            self._see(await self.phone.get(f"/orders/{self._open}"))

    def _see(self, order: dict[str, Any]) -> None:
        if order["status"] not in OPEN:
            self._ended.add(order["orderId"])
            self._news.set()

    def _wish(self) -> dict[str, Any]:
        chance = self.phone.chance
        method = chance.choices(["WALLET", "CASH", "MOBILE_MONEY"], [6, 2, 2])[0]
        if chance.random() < 0.15:
            return {
                "orderType": "PACKAGE",
                "pickup": self.home.address(),
                "dropoff": somewhere(chance).address(),
                "packageDetails": {"category": "papers", "weight": 1.5, "isFragile": False},
                "recipient": {"name": "Aline", "phone": "+237611111111"},
                "paymentMethod": method,
            }
        shop = chance.choice(self._shops)
        wanted = chance.choice([["i2"], ["i0", "i1"], ["i1", "i2"]])
        return {
            "orderType": shop.service,
            "vendorId": shop.owner,
            "items": [{"itemId": item, "quantity": 1} for item in wanted],
            "deliveryAddress": self.home.address(),
            "paymentMethod": method,
        }
