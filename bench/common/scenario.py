"""A town on the public interface: shops, customers and riders, real orders from place to paid."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.common.client import Phone, Refused
from bench.common.harness import Failed, Site, at_once
from city.client.tokens import UserType

# Source: the middle of Douala; a square of 8 km around it holds the shops.
LAT, LNG = 4.05, 9.72
SHOPS_WITHIN_DEG = 0.035
# Riders stand within 1.5 km of a shop, where the first wave of offers looks.
RIDERS_WITHIN_DEG = 0.009
SHOPS = 8
PRICE_XAF = 5_000
PURSE_XAF = 1_000_000
# Connects, top-ups and steps of a delivery at once: enough to keep the server busy.
AT_ONCE = 16
# Far above what an offer takes; the next wave comes after 18 s.
OFFER_S = 30.0
# A rider whose last fix is older than 15 s gets no offer; each says so three times as often.
ALIVE_EVERY_S, TICK_S = 5.0, 0.1


@dataclass(slots=True)
class Person:
    """Somebody with an app. Units: degrees."""

    who: tuple[UserType, str]
    lat: float
    lng: float
    phone: Phone
    fixes: int = 0

    def fix(self, lat: float, lng: float, at_ms: int) -> bytes:
        """The packet of a rider's next fix."""
        self.fixes += 1
        return (
            '42/rider,["location_update",'
            f'{{"lat":{lat:.6f},"lng":{lng:.6f},"heading":0,"speed":8,"accuracy":6,'
            f'"ts":{at_ms},"seq":{self.fixes}}}]'
        ).encode()

    def stand(self, at_ms: int | None = None) -> None:
        """Report from where the rider stands. Units: Unix milliseconds, now where not given."""
        self.phone.send(self.fix(self.lat, self.lng, at_ms or int(time.time() * 1000)))


@dataclass(slots=True)
class Job:
    """One order that is to be carried. Units: seconds of the steady clock."""

    order_id: str
    shop: Person
    customer: Person
    rider: Person | None = None
    # Each offer as (rider, offer id).
    offers: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)
    asked_s: float = 0.0
    accepted_s: float = 0.0
    offered_s: float = 0.0
    completed_s: float = 0.0
    settled: asyncio.Future[float] | None = None

    @property
    def carrier(self) -> Person:
        """The rider who has it."""
        if self.rider is None:
            raise Failed(f"nobody carries {self.order_id}")
        return self.rider


class Town:
    """Everybody, connected."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self._rng = random.Random(seed)
        self.shops: list[Person] = []
        self.customers: dict[int, Person] = {}
        self.riders: dict[str, Person] = {}
        self.jobs: dict[str, Job] = {}
        # Cleared while the riders' own reports would disturb a measurement.
        self.is_calm = False

    async def settle_in(self, customers: int, riders: int) -> None:
        """Open the shops, fill the purses, put the riders on duty."""
        rng = self._rng
        for number in range(SHOPS):
            lat, lng = (middle + _within(rng, SHOPS_WITHIN_DEG) for middle in (LAT, LNG))
            await self.open_shop(number, lat, lng)
        await at_once(AT_ONCE, [partial(self.move_in, number) for number in range(customers)])
        at = [self.shops[number % SHOPS] for number in range(riders)]
        places = [
            (shop.lat + _within(rng, RIDERS_WITHIN_DEG), shop.lng + _within(rng, RIDERS_WITHIN_DEG))
            for shop in at
        ]
        hires = [partial(self.hire, number, *place) for number, place in enumerate(places)]
        await at_once(AT_ONCE, hires)

    async def open_shop(self, number: int, lat: float, lng: float) -> None:
        """A shop with one dish, open."""
        who: tuple[UserType, str] = ("VENDOR", f"ven_{number}")
        place = {"lat": lat, "lng": lng, "address": "Akwa"}
        await self.site.ask("PUT", "/vendor/profile", who, {"name": who[1], "location": place})
        item = {"name": "Ndole", "price": PRICE_XAF}
        await self.site.ask("PUT", "/vendor/items/ndole", who, item)
        shop = Person(who, lat, lng, await self.site.phone(who, self._heard))
        await shop.phone.call("set_online", {"online": True})
        self.shops.append(shop)

    async def move_in(self, number: int) -> None:
        """A customer with a full purse, a kilometre from his shop."""
        who: tuple[UserType, str] = ("USER", f"usr_{number}")
        purse = {"amount": PURSE_XAF, "provider": "sandbox"}
        await self.site.ask("POST", "/wallet/topup", who, purse)
        shop = self.shop_of(number)
        phone = await self.site.phone(who, self._heard)
        self.customers[number] = Person(who, shop.lat + 0.01, shop.lng, phone)

    async def hire(self, number: int, lat: float, lng: float, at_ms: int | None = None) -> Person:
        """A rider on duty, who has reported from where he stands."""
        who: tuple[UserType, str] = ("RIDER", f"rdr_{number}")
        phone = await self.site.phone(who, partial(self._to_rider, who[1]))
        rider = self.riders[who[1]] = Person(who, lat, lng, phone)
        await phone.call("set_availability", {"available": True})
        rider.stand(at_ms)
        return rider

    def shop_of(self, customer: int) -> Person:
        """Where a customer always orders."""
        return self.shops[customer % len(self.shops)]

    async def live(self) -> None:
        """Let the riders report that they are there, for as long as the bench runs."""
        riders = list(self.riders.values())
        at, share = 0, max(1, round(len(riders) * TICK_S / ALIVE_EVERY_S))
        while True:
            await asyncio.sleep(TICK_S)
            if self.is_calm:
                continue
            for rider in riders[at : at + share]:
                rider.stand()
            at = at + share if at + share < len(riders) else 0

    def _heard(self, name: str, payload: dict[str, Any], at_s: float) -> None:
        """Customers and vendors only listen."""

    def _to_rider(self, rider_id: str, name: str, payload: dict[str, Any], at_s: float) -> None:
        job = self.jobs.get(payload.get("orderId", ""))
        if job is None:
            return
        if name == "delivery_request":
            job.offered_s = job.offered_s or at_s
            job.offers.put_nowait((rider_id, payload["offerId"]))
        elif name == "order_settled" and job.settled is not None and not job.settled.done():
            job.settled.set_result(at_s)

    # An order's way.

    def basket(self, number: int) -> dict[str, Any]:
        """What the customer of that number orders, always at the same shop."""
        customer, shop = self.customers[number], self.shop_of(number)
        door = {"lat": customer.lat, "lng": customer.lng, "address": "Rue Joffre"}
        return {
            "orderType": "FOOD",
            "vendorId": shop.who[1],
            "items": [{"itemId": "ndole", "quantity": 2}],
            "deliveryAddress": door,
            "paymentMethod": "WALLET",
        }

    def note(self, order_id: str, customer: int) -> Job:
        """An order that was placed is to be carried."""
        job = Job(order_id, self.shop_of(customer), self.customers[customer])
        self.jobs[order_id] = job
        return job

    async def assign(self, job: Job) -> None:
        """The vendor takes the order; whoever is offered it accepts."""
        order = {"orderId": job.order_id}
        await job.customer.phone.call("subscribe_order", order)
        job.asked_s = time.perf_counter()
        await job.shop.phone.call("accept_order", order)
        job.accepted_s = time.perf_counter()
        async with asyncio.timeout(OFFER_S):
            while job.rider is None:
                rider_id, offer_id = await job.offers.get()
                await self._accept(job, self.riders[rider_id], offer_id)

    async def _accept(self, job: Job, rider: Person, offer_id: str) -> None:
        offer = {"orderId": job.order_id, "offerId": offer_id}
        try:
            await rider.phone.call("accept_delivery", offer)
        except Refused:
            # He has accepted another order in the moment in which he was offered this one.
            await rider.phone.call("decline_delivery", offer)
            return
        job.rider = rider

    async def carry(self, job: Job) -> None:
        """Cook, fetch and bring, as far as the customer's door."""
        order = {"orderId": job.order_id}
        for step in ("order_preparing", "order_ready"):
            await job.shop.phone.call(step, order)
        for step in ("arrived_pickup", "pick_up", "arrived_dropoff"):
            await job.carrier.phone.call(step, order)

    async def complete(self, job: Job) -> float:
        """Hand the goods over; when the rider was told that he is paid."""
        job.settled = asyncio.get_running_loop().create_future()
        await job.carrier.phone.call("complete_delivery", {"orderId": job.order_id})
        job.completed_s = time.perf_counter()
        return await asyncio.wait_for(job.settled, OFFER_S)

    def close(self) -> None:
        """Everybody hangs up."""
        for person in (*self.shops, *self.customers.values(), *self.riders.values()):
            person.phone.close()


def _within(rng: random.Random, degrees: float) -> float:
    return rng.uniform(-degrees, degrees)


@asynccontextmanager
async def peopled(site: Site, customers: int, riders: int, seed: int) -> AsyncIterator[Town]:
    """A town in which so many live; they hang up at the end of the block."""
    town = Town(site, seed)
    await town.settle_in(customers, riders)
    living = asyncio.create_task(town.live())
    try:
        yield town
    finally:
        living.cancel()
        town.close()
        await asyncio.wait([living])
