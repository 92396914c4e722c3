"""Everybody in the city at once: lets them in, starts again whoever falls over, makes demand."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import click

from city.actors.customer import Customer
from city.actors.rider import Rider
from city.actors.vendor import Vendor, open_shop
from city.model.city import Service, World

# Source: guess; FOOD leads, as everywhere.
SERVICES: dict[Service, float] = {"FOOD": 0.74, "MART": 0.14, "PACKAGE": 0.12}
MART_EVERY = 5
# People who start their app in one second; a city does not wake in one instant.
ARRIVALS_PER_S = 90.0
FALL_PAUSE_S = 2.0
# The first customers have waited for the shops to open, so that the map comes alive at once.
RUSH_ORDERS, RUSH_PAUSE_S = 15, 0.25
# Customers asked before a wish is given up as unserved.
ASKED_MAX = 20
# Tracebacks of fallen actors kept for the summary.
FALLS_MAX = 5

Life = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each there are, and how hungry they are."""

    riders: int
    vendors: int
    customers: int
    orders_per_minute: float


@dataclass(slots=True)
class Crowd:
    """The running actors of one city."""

    world: World
    size: Size
    rng: Random = field(init=False)
    customers: list[Customer] = field(default_factory=list)
    falls: list[str] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = self.world.rng("crowd")

    async def run(self) -> None:
        """Live until cancelled; nobody's fall is anybody else's."""
        try:
            self._start("demand", self._demand)
            await self._let_in()
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _let_in(self) -> None:
        for number in range(self.size.vendors):
            service: Service = "MART" if number % MART_EVERY == MART_EVERY - 1 else "FOOD"
            self.world.shops.append(open_shop(self.world, number, service))
        for shop in self.world.shops:
            self._start("vendor", lambda shop=shop: Vendor(self.world, shop).run())
        await self.world.first_shop.wait()
        riders, customers = self._riders(), self._customers()
        for number in range(max(len(riders), len(customers))):
            for who, life in (*riders[number : number + 1], *customers[number : number + 1]):
                self._start(who, life)
                await asyncio.sleep(1 / ARRIVALS_PER_S)

    def _riders(self) -> list[tuple[str, Life]]:
        lives: list[tuple[str, Life]] = []
        for number in range(self.size.riders):
            start = self.world.corner(self.rng)
            rider_id = f"rdr_city_{number:03d}"
            lives.append(("rider", lambda i=rider_id, at=start: Rider(self.world, i, at).run()))
        return lives

    def _customers(self) -> list[tuple[str, Life]]:
        for number in range(self.size.customers):
            home = self.world.district_spot(self.rng)[1]
            self.customers.append(Customer(self.world, f"usr_city_{number:03d}", home))
        return [("customer", customer.run) for customer in self.customers]

    def _start(self, who: str, life: Life) -> None:
        task = asyncio.create_task(self._live(who, life))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, who: str, life: Life) -> None:
        while True:
            task = asyncio.create_task(life())
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                await asyncio.wait({task})
            fault = None if task.cancelled() else task.exception()
            self._note(who, fault)
            await asyncio.sleep(FALL_PAUSE_S)

    def _note(self, who: str, fault: BaseException | None) -> None:
        root = _root(fault)
        code = getattr(root, "code", None) or type(root).__name__
        self.world.tally.error(who, "fell", str(code))
        if root is not None and len(self.falls) < FALLS_MAX:
            self.falls.append("".join(traceback.format_exception(root)))
            click.echo(self.falls[-1], err=True)

    async def _demand(self) -> None:
        """Wishes come at random, at an even rate; a Poisson process."""
        await self.world.first_shop.wait()
        per_s = self.size.orders_per_minute / 60
        rush = RUSH_ORDERS
        while True:
            pause_s = self.rng.expovariate(per_s)
            await asyncio.sleep(min(pause_s, RUSH_PAUSE_S) if rush > 0 else pause_s)
            rush -= 1
            service = self.rng.choices(list(SERVICES), list(SERVICES.values()))[0]
            asked = self.rng.sample(self.customers, min(ASKED_MAX, len(self.customers)))
            if any(customer.wish(service) for customer in asked):
                self.world.tally.count("wishes")
            else:
                self.world.tally.count("wishes_unserved")


def _root(fault: BaseException | None) -> BaseException | None:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault
