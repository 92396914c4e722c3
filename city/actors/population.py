"""Runs all actors of the city: starts them, restarts crashed ones, generates demand."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import click

from city.actors.city import City, Service
from city.actors.customer import Customer
from city.actors.rider import Rider
from city.actors.vendor import Vendor, make_shop

# Source: guess; most orders are FOOD.
SERVICE_SHARES: dict[Service, float] = {"FOOD": 0.74, "MART": 0.14, "PACKAGE": 0.12}
MART_EVERY = 5
# Actors who start their app in one second, so that not all connect at once.
APP_STARTS_PER_S = 90.0
RESTART_PAUSE_S = 2.0
# The first orders come quickly, so that the map shows activity soon after the start.
RUSH_ORDERS, RUSH_PAUSE_S = 15, 0.25
# Customers who are asked before an order is counted as unserved.
CUSTOMERS_ASKED_MAX = 20
# Tracebacks of crashed actors that are kept for the summary.
CRASHES_MAX = 5

ActorRun = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class PopulationSize:
    """Number of actors of each role, and the rate of orders."""

    riders: int
    vendors: int
    customers: int
    orders_per_minute: float


@dataclass(slots=True)
class Population:
    """All running actors of one city."""

    city: City
    size: PopulationSize
    restart_pause_s: float = RESTART_PAUSE_S
    rng: Random = field(init=False)
    customers: list[Customer] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = self.city.rng("crowd")

    async def run(self) -> None:
        """Run all actors until cancelled; a crash of one does not end the others."""
        try:
            self._start("demand", self._generate_demand)
            await self._start_actors()
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start_actors(self) -> None:
        for number in range(self.size.vendors):
            service: Service = "MART" if number % MART_EVERY == MART_EVERY - 1 else "FOOD"
            self.city.shops.append(make_shop(self.city, number, service))
        for shop in self.city.shops:
            self._start("vendor", lambda shop=shop: Vendor(self.city, shop).run())
        await self.city.first_shop_open.wait()
        riders, customers = self._make_riders(), self._make_customers()
        for number in range(max(len(riders), len(customers))):
            for role, run_actor in (
                *riders[number : number + 1],
                *customers[number : number + 1],
            ):
                self._start(role, run_actor)
                await asyncio.sleep(1 / APP_STARTS_PER_S)

    def _make_riders(self) -> list[tuple[str, ActorRun]]:
        riders: list[tuple[str, ActorRun]] = []
        for number in range(self.size.riders):
            start = self.city.random_waiting_point(self.rng)
            rider_id = f"rdr_city_{number:03d}"
            riders.append(("rider", lambda i=rider_id, at=start: Rider(self.city, i, at).run()))
        return riders

    def _make_customers(self) -> list[tuple[str, ActorRun]]:
        for number in range(self.size.customers):
            home = self.city.random_district_point(self.rng)[1]
            self.customers.append(Customer(self.city, f"usr_city_{number:03d}", home))
        return [("customer", customer.run) for customer in self.customers]

    def _start(self, role: str, run_actor: ActorRun) -> None:
        task = asyncio.create_task(self._run_supervised(role, run_actor))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_supervised(self, role: str, run_actor: ActorRun) -> None:
        while True:
            task = asyncio.create_task(run_actor())
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                await asyncio.wait({task})
            fault = None if task.cancelled() else task.exception()
            self._record_crash(role, fault)
            await asyncio.sleep(self.restart_pause_s)

    def _record_crash(self, role: str, fault: BaseException | None) -> None:
        root = _root_cause(fault)
        code = getattr(root, "code", None) or type(root).__name__
        self.city.counters.count_error(role, "crashed", str(code))
        if root is not None and len(self.crashes) < CRASHES_MAX:
            self.crashes.append("".join(traceback.format_exception(root)))
            click.echo(self.crashes[-1], err=True)

    async def _generate_demand(self) -> None:
        """Ask random customers to order, as a Poisson process."""
        await self.city.first_shop_open.wait()
        per_s = self.size.orders_per_minute / 60
        rush = RUSH_ORDERS
        while True:
            pause_s = self.rng.expovariate(per_s)
            await asyncio.sleep(min(pause_s, RUSH_PAUSE_S) if rush > 0 else pause_s)
            rush -= 1
            service = self.rng.choices(list(SERVICE_SHARES), list(SERVICE_SHARES.values()))[0]
            asked = self.rng.sample(self.customers, min(CUSTOMERS_ASKED_MAX, len(self.customers)))
            if any(customer.request_order(service) for customer in asked):
                self.city.counters.count("orders_wanted")
            else:
                self.city.counters.count("orders_unserved")


def _root_cause(fault: BaseException | None) -> BaseException | None:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault
