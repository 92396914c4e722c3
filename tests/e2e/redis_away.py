"""Redis dies and comes back: `python -m tests.e2e.redis_away --seconds 6 --flush` says how it went.

Orders are placed and accepted all the while, a rider is watched; one JSON line.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.client import Phone
from bench.common.harness import Failed, Site, at_once
from bench.common.result_line import print_line
from bench.common.scenario import (
    AT_ONCE,
    LAT,
    LNG,
    SHOPS,
    Job,
    Town,
)
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.e2e.progress import telling

# What a vendor's yes leads to at the customer's, in this order.
STORY = ("order_accepted", "order_preparing", "order_ready")
FIX_EVERY_S = 0.25
ORDERS_PER_S = 10
# Source: promises, listeners are back at most 2 s after Redis, and everything within 30 s.
BACK_S, CAUGHT_UP_S = 2.0, 30.0
# Orders go on for so long after Redis is back.
AFTER_S = 6.0


class Size(NamedTuple):
    """How much is done, and how."""

    seconds: float
    customers: int
    is_flushed: bool


class Told:
    """What one customer was told of each order, and when."""

    def __init__(self) -> None:
        self.said: dict[str, list[tuple[str, int, float]]] = {}
        self.resyncs = 0
        # What an emptied Redis has forgotten may be said again to whoever was told to start afresh.
        self.again = 0

    def hear(self, name: str, body: dict[str, Any], at_s: float) -> None:
        """One event."""
        if name == "resync":
            self.resyncs += 1
        elif "version" in body:
            said = self.said.setdefault(body["orderId"], [])
            if self.resyncs and (name, body["version"]) in [each[:2] for each in said]:
                self.again += 1
            else:
                said.append((name, body["version"], at_s))


class Run:
    """One town through one outage."""

    def __init__(self, running: Fleet, size: Size, seed: int) -> None:
        self.fleet = running
        self.site: Site = running.nodes[0].site
        self.size = size
        self.town = Town(self.site, seed)
        self.told: dict[int, Told] = {}
        self.placed: dict[str, int] = {}
        self.post_s: list[float] = []
        self.seen_s: list[float] = []
        self.of_outage: frozenset[str] = frozenset()
        self.away_s = self.back_s = 0.0

    async def prepare(self) -> Job:
        """A shop, customers with a line each, and a rider who carries a watched order."""
        town = self.town
        # One shop alone would have more commands waiting than a socket may have.
        for number in range(SHOPS):
            await town.open_shop(number, LAT, LNG)
        await at_once(AT_ONCE, [partial(self._come, n) for n in range(self.size.customers)])
        await town.hire(0, LAT, LNG)
        job = town.note(await self._place(0), 0)
        await town.assign(job)
        job.customer.phone.on_position = self._see
        await job.carrier.phone.call("set_availability", {"available": False})
        return job

    async def _come(self, number: int) -> None:
        await self.town.move_in(number)
        person, told = self.town.customers[number], Told()
        person.phone.close()
        person.phone = await self.site.phone(person.who, told.hear)
        self.told[number] = told

    def _see(self, _packet: bytes) -> None:
        self.seen_s.append(time.perf_counter())

    async def _place(self, number: int) -> str:
        began_s = time.perf_counter()
        who = self.town.customers[number].who
        placed = await self.site.ask("POST", "/orders", who, self.town.basket(number))
        self.post_s.append(time.perf_counter() - began_s)
        return placed["orderId"]

    async def one_order(self, number: int) -> None:
        """Place, accept, cook: acknowledged at every step, whatever Redis does."""
        order_id = await self._place(number)
        shop: Phone = self.town.shop_of(number).phone
        for command in ("accept_order", "order_preparing", "order_ready"):
            await shop.call(command, {"orderId": order_id})
        self.placed[order_id] = number

    async def drive(self, job: Job) -> None:
        """The rider reports from ever new places."""
        rider = job.carrier
        while True:
            await asyncio.sleep(FIX_EVERY_S)
            rider.lat += 0.00002
            rider.stand()

    async def trade(self) -> None:
        """Orders one after the other, by all customers in turn."""
        number = 0
        async with asyncio.TaskGroup() as group:
            while not self.back_s or time.perf_counter() < self.back_s + AFTER_S:
                group.create_task(self.one_order(number % self.size.customers))
                number += 1
                await asyncio.sleep(1 / ORDERS_PER_S)

    async def outage(self) -> None:
        """Redis dies, and comes back at its port."""
        await asyncio.sleep(1.0)
        self.away_s = time.perf_counter()
        await self.fleet.valkey.kill()
        if self.size.is_flushed:
            self.fleet.valkey.forget()
        await asyncio.sleep(self.size.seconds)
        await self.fleet.valkey.start()
        self.back_s = time.perf_counter()

    async def settled(self) -> None:
        """Wait for what is still missing, as long as it may take."""
        end_s = time.perf_counter() + CAUGHT_UP_S
        # Events tell nothing of those that do not come.
        while time.perf_counter() < end_s and self.missing():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def events(self, order_id: str) -> list[tuple[str, int, float]]:
        """What the customer was told of his order, as far as the vendor caused it."""
        told = self.told[self.placed[order_id]].said.get(order_id, [])
        return [each for each in told if each[0] in STORY]

    def missing(self) -> int:
        """Events that nobody has heard yet."""
        return sum(len(set(STORY) - {e[0] for e in self.events(each)}) for each in self.placed)

    def progress(self) -> str:
        """How far it has come."""
        is_back = "is back" if self.back_s else "is away"
        return f"Redis {is_back}, {len(self.placed)} orders cooked"

    def figures(self) -> dict[str, Any]:
        """How it went."""
        told = [self.events(order_id) for order_id in self.placed]
        counts = [Counter(event[:2] for event in events) for events in told]
        late = [at_s for events in told for _, _, at_s in events if at_s > self.away_s]
        first_s = min((at_s for at_s in late if at_s > self.back_s), default=0.0)
        held = self._held_until()
        seen = [self.away_s, *(s for s in self.seen_s if self.away_s < s < self.back_s)]
        gaps = [b - a for a, b in zip(seen, [*seen[1:], self.back_s], strict=True)]
        return {
            "orders": len(self.placed),
            "events": sum(len(events) for events in told),
            "lost": self.missing(),
            "twice": sum(count - 1 for each in counts for count in each.values()),
            "disordered": sum(
                [v for _, v, _ in events] != sorted(v for _, v, _ in events) for events in told
            ),
            "resyncs": sum(told.resyncs for told in self.told.values()),
            "again_after_resync": sum(told.again for told in self.told.values()),
            "first_event_after_s": round(first_s - self.back_s, 3),
            "caught_up_after_s": round(held - self.back_s, 3),
            "post_max_ms": round(max(self.post_s) * 1000),
            "position_gap_max_s": round(max(gaps), 2),
        }

    def _held_until(self) -> float:
        """When the last event was heard of the orders that were cooked while Redis was away."""
        ends = [events[-1][2] for order in self.of_outage if (events := self.events(order))]
        return max(ends, default=self.back_s)


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """One outage.

    Errors: Failed.
    """
    async with fleet(folder, ["all"]) as running:
        run = Run(running, size, seed)
        job = await run.prepare()
        driving = asyncio.create_task(run.drive(job))
        trading = asyncio.create_task(run.trade())
        async with telling("redis_away", run.progress):
            await run.outage()
            run.of_outage = frozenset(run.placed)
            await trading
            await run.settled()
        await cancel(driving)
        figures = run.figures()
        run.town.close()
        [node] = running.nodes
        if any("Traceback" in line for line in node.faults):
            raise Failed(node.server.tail())
    return figures


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises were kept; `slack` stretches those of time on a shared machine."""
    return (
        figures["orders"] > 0
        and not figures["lost"] + figures["twice"] + figures["disordered"]
        and figures["first_event_after_s"] <= BACK_S * slack
        and figures["caught_up_after_s"] <= CAUGHT_UP_S
        and figures["position_gap_max_s"] <= 4 * FIX_EVERY_S * slack
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--flush", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.seconds, given.customers, given.flush)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, given.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_line("redis_away", {**size._asdict(), "seed": given.seed}, {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
