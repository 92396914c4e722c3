"""A town on the public interface: shops, customers and riders, real orders from place to paid."""

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
# Riders stand within 1.5 km of a shop, where the first wave of offers looks.
RIDERS_WITHIN_DEG = 0.009
SHOPS = 8
PRICE_XAF = 5_000
BALANCE_XAF = 1_000_000
# Connects, top-ups and steps of a delivery at once: enough to keep the server busy.
CONCURRENCY = 16
# Far above what an offer takes; the next wave comes after 18 s.
OFFER_TIMEOUT_S = 30.0
# A rider whose last fix is older than 15 s gets no offer; each says so three times as often.
REPORT_EVERY_S, TICK_S = 5.0, 0.1


@dataclass(slots=True)
class Person:
    """Somebody with an app. Units: degrees."""

    identity: tuple[UserType, str]
    lat: float
    lng: float
    socket: SocketClient
    fix_count: int = 0

    def fix_packet(self, lat: float, lng: float, at_ms: int) -> bytes:
        """The packet of a rider's next fix."""
        self.fix_count += 1
        return (
            '42/rider,["location_update",'
            f'{{"lat":{lat:.6f},"lng":{lng:.6f},"heading":0,"speed":8,"accuracy":6,'
            f'"ts":{at_ms},"seq":{self.fix_count}}}]'
        ).encode()

    def report_position(self, at_ms: int | None = None) -> None:
        """Report from where the rider stands. Units: Unix milliseconds, now where not given."""
        self.socket.send(self.fix_packet(self.lat, self.lng, at_ms or int(time.time() * 1000)))


@dataclass(slots=True)
class BenchOrder:
    """One order that is to be carried. Units: seconds of the steady clock."""

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
        """The rider who has it."""
        if self.rider is None:
            raise BenchFailed(f"nobody carries {self.order_id}")
        return self.rider


class Scenario:
    """Everybody, connected."""

    def __init__(self, site: RunningServer, seed: int) -> None:
        self.site = site
        self._rng = random.Random(seed)
        self.shops: list[Person] = []
        self.customers: dict[int, Person] = {}
        self.riders: dict[str, Person] = {}
        self.orders: dict[str, BenchOrder] = {}
        # Cleared while the riders' own reports would disturb a measurement.
        self.are_reports_paused = False

    async def set_up(self, customers: int, riders: int) -> None:
        """Open the shops, fill the purses, put the riders on duty."""
        rng = self._rng
        for number in range(SHOPS):
            lat, lng = (middle + _random_offset(rng, SHOPS_WITHIN_DEG) for middle in (LAT, LNG))
            await self.add_shop(number, lat, lng)
        await run_limited(
            CONCURRENCY, [partial(self.add_customer, number) for number in range(customers)]
        )
        at = [self.shops[number % SHOPS] for number in range(riders)]
        places = [
            (
                shop.lat + _random_offset(rng, RIDERS_WITHIN_DEG),
                shop.lng + _random_offset(rng, RIDERS_WITHIN_DEG),
            )
            for shop in at
        ]
        hires = [partial(self.add_rider, number, *place) for number, place in enumerate(places)]
        await run_limited(CONCURRENCY, hires)

    async def add_shop(self, number: int, lat: float, lng: float) -> None:
        """A shop with one dish, open."""
        who: tuple[UserType, str] = ("VENDOR", f"ven_{number}")
        place = {"lat": lat, "lng": lng, "address": "Akwa"}
        await self.site.request("PUT", "/vendor/profile", who, {"name": who[1], "location": place})
        item = {"name": "Ndole", "price": PRICE_XAF}
        await self.site.request("PUT", "/vendor/items/ndole", who, item)
        shop = Person(who, lat, lng, await self.site.connect(who, self._ignore_event))
        await shop.socket.call("set_online", {"online": True})
        self.shops.append(shop)

    async def add_customer(self, number: int) -> None:
        """A customer with a full purse, a kilometre from his shop."""
        who: tuple[UserType, str] = ("USER", f"usr_{number}")
        purse = {"amount": BALANCE_XAF, "provider": "sandbox"}
        await self.site.request("POST", "/wallet/topup", who, purse)
        shop = self.shop_of(number)
        phone = await self.site.connect(who, self._ignore_event)
        self.customers[number] = Person(who, shop.lat + 0.01, shop.lng, phone)

    async def add_rider(
        self, number: int, lat: float, lng: float, at_ms: int | None = None
    ) -> Person:
        """A rider on duty, who has reported from where he stands."""
        who: tuple[UserType, str] = ("RIDER", f"rdr_{number}")
        phone = await self.site.connect(who, partial(self._on_rider_event, who[1]))
        rider = self.riders[who[1]] = Person(who, lat, lng, phone)
        await phone.call("set_availability", {"available": True})
        rider.report_position(at_ms)
        return rider

    def shop_of(self, customer: int) -> Person:
        """Where a customer always orders."""
        return self.shops[customer % len(self.shops)]

    async def report_periodically(self) -> None:
        """Let the riders report that they are there, for as long as the bench runs."""
        riders = list(self.riders.values())
        at, share = 0, max(1, round(len(riders) * TICK_S / REPORT_EVERY_S))
        while True:
            await asyncio.sleep(TICK_S)
            if self.are_reports_paused:
                continue
            for rider in riders[at : at + share]:
                rider.report_position()
            at = at + share if at + share < len(riders) else 0

    def _ignore_event(self, name: str, payload: dict[str, Any], at_s: float) -> None:
        """Customers and vendors only listen."""

    def _on_rider_event(
        self, rider_id: str, name: str, payload: dict[str, Any], at_s: float
    ) -> None:
        job = self.orders.get(payload.get("orderId", ""))
        if job is None:
            return
        if name == "delivery_request":
            job.offered_s = job.offered_s or at_s
            job.offers.put_nowait((rider_id, payload["offerId"]))
        elif name == "order_settled" and job.settled is not None and not job.settled.done():
            job.settled.set_result(at_s)

    # An order's way.

    def order_body(self, number: int) -> dict[str, Any]:
        """What the customer of that number orders, always at the same shop."""
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
        """An order that was placed is to be carried."""
        job = BenchOrder(order_id, self.shop_of(customer), self.customers[customer])
        self.orders[order_id] = job
        return job

    async def assign(self, bench_order: BenchOrder) -> None:
        """The vendor takes the order; whoever is offered it accepts."""
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
            # He has accepted another order in the moment in which he was offered this one.
            await rider.socket.call("decline_delivery", offer)
            return
        bench_order.rider = rider

    async def bring_to_door(self, bench_order: BenchOrder) -> None:
        """Cook, fetch and bring, as far as the customer's door."""
        order = {"orderId": bench_order.order_id}
        for step in ("order_preparing", "order_ready"):
            await bench_order.shop.socket.call(step, order)
        for step in ("arrived_pickup", "pick_up", "arrived_dropoff"):
            await bench_order.assigned_rider.socket.call(step, order)

    async def complete(self, bench_order: BenchOrder) -> float:
        """Hand the goods over; when the rider was told that he is paid."""
        bench_order.settled = asyncio.get_running_loop().create_future()
        await bench_order.assigned_rider.socket.call(
            "complete_delivery", {"orderId": bench_order.order_id}
        )
        bench_order.completed_s = time.perf_counter()
        return await asyncio.wait_for(bench_order.settled, OFFER_TIMEOUT_S)

    def disconnect_all(self) -> None:
        """Everybody hangs up."""
        for person in (*self.shops, *self.customers.values(), *self.riders.values()):
            person.socket.close()


def _random_offset(rng: random.Random, degrees: float) -> float:
    return rng.uniform(-degrees, degrees)


@asynccontextmanager
async def running_scenario(
    site: RunningServer, customers: int, riders: int, seed: int
) -> AsyncIterator[Scenario]:
    """A town in which so many live; they hang up at the end of the block."""
    town = Scenario(site, seed)
    await town.set_up(customers, riders)
    living = asyncio.create_task(town.report_periodically())
    try:
        yield town
    finally:
        living.cancel()
        town.disconnect_all()
        await asyncio.wait([living])
