"""Load scenario over the public interface: shops, customers and riders with real orders."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.common.client import CommandRefused, SocketClient
from bench.common.harness import BenchFailed, RunningServer, run_limited
from city.client.tokens import UserType

# Source: the middle of Douala; a square of 8 km around it holds the shops.
LAT, LNG = 4.05, 9.72
SHOPS_WITHIN_DEG = 0.035
# Riders stand within 1.5 km of a shop, the radius of the first wave of offers.
RIDERS_WITHIN_DEG = 0.009
SHOPS = 8
PRICE_XAF = 5_000
BALANCE_XAF = 1_000_000
# Connects, top-ups and steps of a delivery at once: enough to keep the server busy.
CONCURRENCY = 16
# Far above what an offer takes; the next wave comes after 18 s.
OFFER_TIMEOUT_S = 30.0
# A rider whose last fix is older than 15 s gets no offer; each reports three times as often.
REPORT_EVERY_S, TICK_S = 5.0, 0.1


@dataclass(slots=True)
class Person:
    """A user of one of the apps. Units: degrees."""

    identity: tuple[UserType, str]
    lat: float
    lng: float
    socket: SocketClient
    fix_count: int = 0

    def fix_packet(self, lat: float, lng: float, at_ms: int, speed_mps: int = 8) -> bytes:
        """The packet of a rider's next fix. Units: degrees, Unix milliseconds, metres a second."""
        self.fix_count += 1
        return (
            '42/rider,["location_update",'
            f'{{"lat":{lat:.6f},"lng":{lng:.6f},"heading":0,"speed":{speed_mps},"accuracy":6,'
            f'"ts":{at_ms},"seq":{self.fix_count}}}]'
        ).encode()

    def report_position(self, at_ms: int | None = None) -> None:
        """Send a fix from where the rider stands. Units: Unix milliseconds; None is now.

        With a speed, the same place again and again is taken for a receiver that hangs.
        """
        at_ms = at_ms or int(time.time() * 1000)
        self.socket.send(self.fix_packet(self.lat, self.lng, at_ms, speed_mps=0))


@dataclass(slots=True)
class BenchOrder:
    """One order to be delivered. Units: seconds of `time.perf_counter`."""

    order_id: str
    shop: Person
    customer: Person
    rider: Person | None = None
    # Each offer as (rider, offer id).
    offers: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)
    accept_sent_s: float = 0.0
    accept_acked_s: float = 0.0
    offered_s: float = 0.0
    completed_s: float = 0.0
    settled: asyncio.Future[float] | None = None

    @property
    def assigned_rider(self) -> Person:
        """The rider who has accepted the order.

        Errors: BenchFailed where none has.
        """
        if self.rider is None:
            raise BenchFailed(f"{self.order_id} has no rider")
        return self.rider


class Scenario:
    """Shops, customers and riders, connected to one server."""

    def __init__(self, site: RunningServer, seed: int) -> None:
        self.site = site
        self._rng = random.Random(seed)
        self.shops: list[Person] = []
        self.customers: dict[int, Person] = {}
        self.riders: dict[str, Person] = {}
        self.orders: dict[str, BenchOrder] = {}
        # Set while the riders' own reports would disturb a measurement.
        self.are_reports_paused = False

    async def set_up(self, customers: int, riders: int) -> None:
        """Open the shops, fill the customers' wallets, make the riders available."""
        rng = self._rng
        for number in range(SHOPS):
            lat, lng = (middle + _random_offset(rng, SHOPS_WITHIN_DEG) for middle in (LAT, LNG))
            await self.add_shop(number, lat, lng)
        await run_limited(
            CONCURRENCY, [partial(self.add_customer, number) for number in range(customers)]
        )
        shops = [self.shops[number % SHOPS] for number in range(riders)]
        places = [
            (
                shop.lat + _random_offset(rng, RIDERS_WITHIN_DEG),
                shop.lng + _random_offset(rng, RIDERS_WITHIN_DEG),
            )
            for shop in shops
        ]
        jobs = [partial(self.add_rider, number, *place) for number, place in enumerate(places)]
        await run_limited(CONCURRENCY, jobs)

    async def add_shop(self, number: int, lat: float, lng: float) -> None:
        """Open a shop with one dish. Units: degrees."""
        identity: tuple[UserType, str] = ("VENDOR", f"ven_{number}")
        location = {"lat": lat, "lng": lng, "address": "Akwa"}
        profile = {"name": identity[1], "location": location}
        await self.site.request("PUT", "/vendor/profile", identity, profile)
        item = {"name": "Ndole", "price": PRICE_XAF}
        await self.site.request("PUT", "/vendor/items/ndole", identity, item)
        shop = Person(identity, lat, lng, await self.site.connect(identity, self._ignore_event))
        await shop.socket.call("set_online", {"online": True})
        self.shops.append(shop)

    async def add_customer(self, number: int) -> None:
        """Add a customer with BALANCE_XAF in the wallet, a kilometre from its shop."""
        identity: tuple[UserType, str] = ("USER", f"usr_{number}")
        top_up = {"amount": BALANCE_XAF, "provider": "sandbox"}
        await self.site.request("POST", "/wallet/topup", identity, top_up)
        shop = self.shop_of(number)
        socket = await self.site.connect(identity, self._ignore_event)
        self.customers[number] = Person(identity, shop.lat + 0.01, shop.lng, socket)

    async def add_rider(
        self, number: int, lat: float, lng: float, at_ms: int | None = None
    ) -> Person:
        """Add an available rider who has reported a fix. Units: degrees, Unix milliseconds."""
        identity: tuple[UserType, str] = ("RIDER", f"rdr_{number}")
        socket = await self.site.connect(
            identity,
            lambda name, payload, at_s: self.on_rider_event(identity[1], name, payload, at_s),
        )
        rider = self.riders[identity[1]] = Person(identity, lat, lng, socket)
        await socket.call("set_availability", {"available": True})
        rider.report_position(at_ms)
        return rider

    def shop_of(self, customer: int) -> Person:
        """The shop at which a customer always orders."""
        return self.shops[customer % len(self.shops)]

    async def report_periodically(self) -> None:
        """Let every rider report each REPORT_EVERY_S until cancelled.

        How many are due follows from the clock, so that late ticks on a busy machine do not make
        riders stale.
        """
        riders = list(self.riders.values())
        clock, reported = asyncio.get_running_loop().time, 0
        began_s = clock()
        while True:
            await asyncio.sleep(TICK_S)
            due = int((clock() - began_s) * len(riders) / REPORT_EVERY_S)
            if not self.are_reports_paused:
                for number in range(max(reported, due - len(riders)), due):
                    riders[number % len(riders)].report_position()
            reported = due

    def _ignore_event(self, name: str, payload: dict[str, Any], at_s: float) -> None:
        """Customers and vendors do nothing on events."""

    def on_rider_event(
        self, rider_id: str, name: str, payload: dict[str, Any], at_s: float
    ) -> None:
        """Note an offer or a settlement that a rider's socket received."""
        order = self.orders.get(payload.get("orderId", ""))
        if order is None:
            return
        if name == "delivery_request":
            order.offered_s = order.offered_s or at_s
            order.offers.put_nowait((rider_id, payload["offerId"]))
        elif name == "order_settled" and order.settled is not None and not order.settled.done():
            order.settled.set_result(at_s)

    # Steps of an order.

    def order_body(self, number: int) -> dict[str, Any]:
        """The order of a customer, always at the same shop, as the body of `POST /orders`."""
        customer, shop = self.customers[number], self.shop_of(number)
        door = {"lat": customer.lat, "lng": customer.lng, "address": "Rue Joffre"}
        return {
            "orderType": "FOOD",
            "vendorId": shop.identity[1],
            "items": [{"itemId": "ndole", "quantity": 2}],
            "deliveryAddress": door,
            "paymentMethod": "WALLET",
        }

    def add_order(self, order_id: str, customer: int) -> BenchOrder:
        """Follow an order that was placed."""
        order = BenchOrder(order_id, self.shop_of(customer), self.customers[customer])
        self.orders[order_id] = order
        return order

    async def assign(self, bench_order: BenchOrder) -> None:
        """Let the vendor accept the order, and the first rider who is offered it accept too.

        Errors: CommandRefused; TimeoutError where no rider is offered it in OFFER_TIMEOUT_S.
        """
        order = {"orderId": bench_order.order_id}
        await bench_order.customer.socket.call("subscribe_order", order)
        bench_order.accept_sent_s = time.perf_counter()
        await bench_order.shop.socket.call("accept_order", order)
        bench_order.accept_acked_s = time.perf_counter()
        async with asyncio.timeout(OFFER_TIMEOUT_S):
            while bench_order.rider is None:
                rider_id, offer_id = await bench_order.offers.get()
                await self._accept(bench_order, self.riders[rider_id], offer_id)

    async def _accept(self, bench_order: BenchOrder, rider: Person, offer_id: str) -> None:
        offer = {"orderId": bench_order.order_id, "offerId": offer_id}
        try:
            await rider.socket.call("accept_delivery", offer)
        except CommandRefused:
            # The rider accepted another order at the moment of this offer.
            await rider.socket.call("decline_delivery", offer)
            return
        bench_order.rider = rider

    async def bring_to_door(self, bench_order: BenchOrder) -> None:
        """Prepare, pick up and bring an order to the customer's door."""
        order = {"orderId": bench_order.order_id}
        for step in ("order_preparing", "order_ready"):
            await bench_order.shop.socket.call(step, order)
        for step in ("arrived_pickup", "pick_up", "arrived_dropoff"):
            await bench_order.assigned_rider.socket.call(step, order)

    async def complete(self, bench_order: BenchOrder) -> float:
        """Complete the delivery; when the rider got `order_settled`.

        Units: seconds of `time.perf_counter`. Errors: CommandRefused; TimeoutError.
        """
        bench_order.settled = asyncio.get_running_loop().create_future()
        await bench_order.assigned_rider.socket.call(
            "complete_delivery", {"orderId": bench_order.order_id}
        )
        bench_order.completed_s = time.perf_counter()
        return await asyncio.wait_for(bench_order.settled, OFFER_TIMEOUT_S)

    def disconnect_all(self) -> None:
        """Close all connections."""
        for person in (*self.shops, *self.customers.values(), *self.riders.values()):
            person.socket.close()


def _random_offset(rng: random.Random, degrees: float) -> float:
    return rng.uniform(-degrees, degrees)


@asynccontextmanager
async def running_scenario(
    site: RunningServer, customers: int, riders: int, seed: int
) -> AsyncIterator[Scenario]:
    """A scenario of this size, its riders reporting; disconnected at the end of the block."""
    scenario = Scenario(site, seed)
    await scenario.set_up(customers, riders)
    reports = asyncio.create_task(scenario.report_periodically())
    try:
        yield scenario
    finally:
        reports.cancel()
        scenario.disconnect_all()
        await asyncio.wait([reports])
