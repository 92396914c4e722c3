"""A fake of the server: enough of the public contract for whole orders, in memory."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import orjson
import socketio
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError as Refused

SECRET = "s" * 32
EPOCH = "epoch-1"
OFFER_MS = 8_000
OFFERS_AT_ONCE = 3
NAMESPACES = {"USER": "/user", "VENDOR": "/vendor", "RIDER": "/rider"}
# Requests and answers as decoded JSON.
Json = dict[str, Any]


class CommandError(Exception):
    """A refusal with its code."""


@dataclass
class FakeServer:
    """Orders, offers and wallets in memory, with the commands of the contract."""

    url: str = ""
    orders: dict[str, Json] = field(default_factory=dict)
    items: dict[str, Json] = field(default_factory=dict)
    riders: dict[str, bool] = field(default_factory=dict)
    balances: Counter[str] = field(default_factory=Counter)
    command_counts: Counter[str] = field(default_factory=Counter)
    fixes: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    batches: int = 0
    services: set[str] = field(default_factory=lambda: {"FOOD"})
    trial_balance_total: int = 0
    server: socketio.AsyncServer = field(
        default_factory=lambda: socketio.AsyncServer(async_mode="aiohttp")
    )
    seqs: Counter[str] = field(default_factory=Counter)
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def send_event(self, user_type: str, identity: str, name: str, **facts: Any) -> None:
        """Send a durable event to one identity."""
        self.seqs[identity] += 1
        payload = {**facts, "epoch": EPOCH, "seq": self.seqs[identity], "ts": 1}
        await self.server.emit(name, payload, to=identity, namespace=NAMESPACES[user_type])

    async def run_command(self, identity: str, name: str, facts: Json) -> Json:
        """Run one socket command; the answer's data.

        Errors: CommandError.
        """
        self.command_counts[name] += 1
        if name == "set_availability":
            self.riders[identity] = True
            return {}
        if name == "location_batch":
            self.batches += 1
            self.fixes[identity] += facts["fixes"]
            return {}
        if name == "set_online":
            return {}
        order = self.orders.get(str(facts.get("orderId")))
        if order is None:
            raise CommandError("not_found")
        return await getattr(self, f"do_{name}", self.do_nothing)(order, identity, facts)

    async def do_nothing(self, *_: object) -> Json:
        """A command without an effect in this fake."""
        return {}

    async def do_accept_order(self, order: Json, *_: object) -> Json:
        """Accept an order, and offer it to riders at once."""
        self.set_status(order, {"PENDING"}, "ACCEPTED")
        await self.send_event("USER", order["userId"], "order_accepted", orderId=order["orderId"])
        await self.offer(order)
        return {}

    async def do_reject_order(self, order: Json, *_: object) -> Json:
        """Reject an order."""
        self.set_status(order, {"PENDING"}, "REJECTED")
        await self.send_event("USER", order["userId"], "order_rejected", orderId=order["orderId"])
        return {}

    async def do_order_preparing(self, order: Json, *_: object) -> Json:
        """Begin to prepare an order."""
        self.set_status(order, {"ACCEPTED"}, "PREPARING")
        return {}

    async def do_order_ready(self, order: Json, *_: object) -> Json:
        """Mark an order ready, and notify its rider if it has one."""
        self.set_status(order, {"ACCEPTED", "PREPARING"}, "READY")
        await self.send_ready(order)
        return {}

    async def do_accept_delivery(self, order: Json, rider: str, _: Json) -> Json:
        """Assign an order to the first rider who accepts."""
        if order["dispatch"]["state"] != "OFFERED":
            raise CommandError("offer_taken")
        order["dispatch"] = {"state": "ASSIGNED", "riderId": rider}
        self.riders[rider] = False
        facts = {"orderId": order["orderId"], "riderId": rider}
        await self.send_event("USER", order["userId"], "rider_assigned", **facts)
        await self.send_ready(order)
        return {}

    async def do_decline_delivery(self, order: Json, rider: str, _: Json) -> Json:
        """Offer an order to other riders, unless one has accepted."""
        if order["dispatch"]["state"] == "OFFERED":
            await self.offer(order, except_rider=rider)
        return {}

    async def do_release_delivery(self, order: Json, rider: str, _: Json) -> Json:
        """Make the rider free, and offer the order to others."""
        self.riders[rider] = True
        await self.offer(order, except_rider=rider)
        return {}

    async def do_arrived_pickup(self, order: Json, *_: object) -> Json:
        """The rider is at the shop."""
        order["dispatch"]["state"] = "AT_PICKUP"
        return {}

    async def do_pick_up(self, order: Json, *_: object) -> Json:
        """The rider has the goods."""
        self.set_status(order, {"READY", "PENDING"}, "IN_TRANSIT")
        order["dispatch"]["state"] = "PICKED_UP"
        return {}

    async def do_complete_delivery(self, order: Json, rider: str, fields: Json) -> Json:
        """Settle an order."""
        is_cash = order["payment"]["method"] == "CASH"
        if is_cash != ("cashCollected" in fields):
            raise CommandError("malformed")
        self.set_status(order, {"IN_TRANSIT"}, "FUNDS_DISTRIBUTED")
        self.riders[rider] = True
        facts = {"orderId": order["orderId"]}
        await self.send_event("USER", order["userId"], "order_delivered", **facts)
        await self.send_event("RIDER", rider, "order_settled", amount=1500, **facts)
        if order["vendorId"]:
            await self.send_event(
                "VENDOR", order["vendorId"], "order_settled", amount=2000, **facts
            )
        return {}

    async def do_cancel_order(self, order: Json, *_: object) -> Json:
        """Cancel an order, and notify its rider and vendor."""
        self.set_status(order, {"PENDING", "ACCEPTED", "PREPARING", "READY"}, "CANCELLED")
        facts = {"orderId": order["orderId"], "reason": "x", "refundAmount": 0}
        rider = order["dispatch"].get("riderId")
        if rider:
            self.riders[rider] = True
            await self.send_event("RIDER", rider, "order_cancelled", **facts)
        if order["vendorId"]:
            await self.send_event("VENDOR", order["vendorId"], "order_cancelled", **facts)
        return {}

    def set_status(self, order: Json, states: set[str], to: str) -> None:
        """Change an order's status, where it has one of `states`."""
        if order["status"] not in states:
            raise CommandError("wrong_state")
        order["status"] = to

    async def send_ready(self, order: Json) -> None:
        """Notify the rider that the goods are ready."""
        rider = order["dispatch"].get("riderId")
        if rider and order["status"] == "READY":
            await self.send_event(
                "RIDER", rider, "order_ready_for_pickup", orderId=order["orderId"]
            )

    async def offer(self, order: Json, except_rider: str = "") -> None:
        """Offer an order to the nearest free riders."""
        order["dispatch"] = {"state": "OFFERED"}
        free = [
            rider for rider, is_free in self.riders.items() if is_free and rider != except_rider
        ]
        free.sort(key=lambda rider: self.distance(rider, order["locations"]["pickup"]))
        for rider in free[:OFFERS_AT_ONCE]:
            request = {
                "offerId": f"ofr_{next(self.numbers)}",
                "orderId": order["orderId"],
                "orderType": order["orderType"],
                "pickupLocation": order["locations"]["pickup"],
                "dropoffLocation": order["locations"]["dropoff"],
                "expiresInMs": OFFER_MS,
            }
            if order["payment"]["method"] == "CASH":
                request["cashToCollect"] = order["pricing"]["total"]
            await self.send_event("RIDER", rider, "delivery_request", **request)

    def distance(self, rider: str, location: Json) -> float:
        """Distance of a rider's last fix; a rider without a fix is infinitely far."""
        if not self.fixes[rider]:
            return math.inf
        last = self.fixes[rider][-1]
        return math.dist((last["lat"], last["lng"]), (location["lat"], location["lng"]))

    def place_order(self, identity: str, body: Json) -> Json:
        """Store a new order.

        Errors: CommandError.
        """
        if body["orderType"] not in self.services:
            raise CommandError("service_disabled")
        order_id = f"ord_{next(self.numbers)}"
        shop = self.items.get(body.get("vendorId", ""), {})
        home = body.get("pickup") or shop["location"]
        prices = {name: item["price"] for name, item in shop.get("items", {}).items()}
        subtotal = sum(prices[line["itemId"]] * line["quantity"] for line in body.get("items", []))
        self.orders[order_id] = {
            "orderId": order_id,
            "userId": identity,
            "vendorId": body.get("vendorId"),
            "orderType": body["orderType"],
            "status": "PENDING",
            "dispatch": {},
            "pricing": {"subtotal": subtotal, "deliveryFee": 1500, "total": subtotal + 1500},
            "locations": {
                "pickup": home,
                "dropoff": body.get("dropoff") or body["deliveryAddress"],
            },
            "payment": {"method": body["paymentMethod"]},
        }
        return self.orders[order_id]


def make_namespace(fake: FakeServer, user_type: str) -> socketio.AsyncNamespace:
    class Audience(socketio.AsyncNamespace):
        async def on_connect(self, sid: str, _: object, auth: Json) -> None:
            user_id = identity(auth["token"], user_type)
            await self.save_session(sid, {"user_id": user_id})
            await self.enter_room(sid, user_id)

        async def trigger_event(self, event: str, *args: Any) -> Any:
            if event in {"connect", "disconnect"}:
                return await super().trigger_event(event, *args)
            user_id = (await self.get_session(args[0]))["user_id"]
            if event == "location_update":
                fake.fixes[user_id].append(args[1])
                return None
            try:
                return {"ok": True, "data": await fake.run_command(user_id, event, args[1])}
            except CommandError as refusal:
                return {
                    "ok": False,
                    "error": {"code": str(refusal), "message": "", "retryable": False},
                }

    return Audience(NAMESPACES[user_type])


def identity(token: str, user_type: str) -> str:
    claims = jwt.decode(
        token, SECRET, algorithms=["HS256"], options={"require": ["exp", "iat", "userId"]}
    )
    if claims["userType"] != user_type:
        raise Refused("wrong_user_type")
    return claims["userId"]


def caller_of(request: web.Request) -> str:
    token = request.headers["Authorization"].removeprefix("Bearer ")
    return jwt.decode(token, SECRET, algorithms=["HS256"])["userId"]


def success(data: Any, status: int = 200) -> web.Response:
    body = orjson.dumps({"success": True, "data": data})
    return web.Response(body=body, status=status, content_type="application/json")


def shop_routes(fake: FakeServer) -> web.RouteTableDef:
    table = web.RouteTableDef()

    @table.put("/api/v1/vendor/profile")
    async def vendor_profile(request: web.Request) -> web.Response:
        body = await request.json()
        fake.items[caller_of(request)] = {"location": body["location"], "items": {}}
        return success({})

    @table.put("/api/v1/vendor/items/{item}")
    async def vendor_item(request: web.Request) -> web.Response:
        shop = fake.items[caller_of(request)]
        shop["items"][request.match_info["item"]] = await request.json()
        return success({})

    @table.get("/api/v1/vendors/{vendor}/items")
    async def vendor_items(request: web.Request) -> web.Response:
        items = fake.items[request.match_info["vendor"]]["items"]
        listed = [{"itemId": name, **item} for name, item in items.items()]
        return success({"items": listed, "nextCursor": None})

    return table


def city_routes(fake: FakeServer) -> web.RouteTableDef:
    table = web.RouteTableDef()

    @table.get("/readyz")
    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    @table.put("/api/v1/rider/profile")
    async def rider_profile(_: web.Request) -> web.Response:
        return success({})

    @table.put("/api/v1/admin/config/services/{name}")
    async def service(request: web.Request) -> web.Response:
        names = {"food": "FOOD", "mart": "MART", "packages": "PACKAGE"}
        fake.services.add(names[request.match_info["name"]])
        return success({})

    @table.get("/api/v1/admin/ledger/trial-balance")
    async def trial_balance(_: web.Request) -> web.Response:
        return success(
            {"total": fake.trial_balance_total, "accounts": [], "entries": len(fake.orders)}
        )

    @table.get("/api/v1/wallet/balance")
    async def balance(request: web.Request) -> web.Response:
        return success({"availableBalance": fake.balances[caller_of(request)]})

    @table.post("/api/v1/wallet/topup")
    async def top_up(request: web.Request) -> web.Response:
        fake.balances[caller_of(request)] += (await request.json())["amount"]
        return success({}, 201)

    return table


def order_routes(fake: FakeServer) -> web.RouteTableDef:
    table = web.RouteTableDef()

    @table.get("/api/v1/orders")
    async def orders(request: web.Request) -> web.Response:
        user_id, status = caller_of(request), request.query.get("status")
        own = [
            order
            for order in fake.orders.values()
            if user_id in {order["userId"], order["vendorId"], order["dispatch"].get("riderId")}
            and status in {None, order["status"]}
        ]
        return success({"items": own, "nextCursor": None})

    @table.get("/api/v1/orders/{order}")
    async def order(request: web.Request) -> web.Response:
        return success(fake.orders[request.match_info["order"]])

    @table.post("/api/v1/orders")
    async def place(request: web.Request) -> web.Response:
        assert request.headers["Idempotency-Key"]
        order = fake.place_order(caller_of(request), await request.json())
        if order["vendorId"]:
            facts = {"orderId": order["orderId"], "order": order}
            await fake.send_event("VENDOR", order["vendorId"], "new_order", **facts)
        else:
            await fake.offer(order)
        return success(order, 201)

    return table


@web.middleware
async def envelope(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        return await handler(request)
    except CommandError as refusal:
        body = {"success": False, "error": {"code": str(refusal), "message": ""}}
        return web.json_response(body, status=409)


@asynccontextmanager
async def running_fake_server() -> AsyncIterator[FakeServer]:
    """A fake server that listens on a free port."""
    fake = FakeServer()
    app = web.Application(middlewares=[envelope])
    for table in (shop_routes, city_routes, order_routes):
        app.add_routes(table(fake))
    fake.server.attach(app)
    for user_type in NAMESPACES:
        fake.server.register_namespace(make_namespace(fake, user_type))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await fake.server.shutdown()
    await runner.cleanup()
