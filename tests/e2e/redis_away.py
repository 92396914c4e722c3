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

from bench.common.client import SocketClient
from bench.common.harness import BenchFailed, RunningServer, run_limited
from bench.common.result_line import print_result
from bench.common.scenario import (
    CONCURRENCY,
    LAT,
    LNG,
    SHOPS,
    BenchOrder,
    Scenario,
)
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.e2e.progress import report_progress

# What a vendor's yes leads to at the customer's, in this order.
EXPECTED_EVENTS = ("order_accepted", "order_preparing", "order_ready")
FIX_EVERY_S = 0.25
ORDERS_PER_S = 10
# Source: promises, listeners are back at most 2 s after Redis, and everything within 30 s.
FIRST_EVENT_S_MAX, CAUGHT_UP_S_MAX = 2.0, 30.0
# Orders go on for so long after Redis is back.
ORDERS_AFTER_S = 6.0


class Size(NamedTuple):
    """How much is done, and how."""

    outage_s: float
    customers: int
    is_flushed: bool


class CustomerEvents:
    """What one customer was told of each order, and when."""

    def __init__(self) -> None:
        self.events_by_order: dict[str, list[tuple[str, int, float]]] = {}
        self.resyncs = 0
        # What an emptied Redis has forgotten may be said again to whoever was told to start afresh.
        self.repeated_after_resync = 0

    def on_event(self, name: str, payload: dict[str, Any], at_s: float) -> None:
        """One event."""
        if name == "resync":
            self.resyncs += 1
        elif "version" in payload:
            said = self.events_by_order.setdefault(payload["orderId"], [])
            if self.resyncs and (name, payload["version"]) in [each[:2] for each in said]:
                self.repeated_after_resync += 1
            else:
                said.append((name, payload["version"], at_s))


class Run:
    """One town through one outage."""

    def __init__(self, running: Fleet, size: Size, seed: int) -> None:
        self.fleet = running
        self.site: RunningServer = running.nodes[0].site
        self.size = size
        self.scenario = Scenario(self.site, seed)
        self.received: dict[int, CustomerEvents] = {}
        self.placed: dict[str, int] = {}
        self.post_s: list[float] = []
        self.position_times_s: list[float] = []
        self.outage_orders: frozenset[str] = frozenset()
        self.down_at_s = self.up_at_s = 0.0

    async def prepare(self) -> BenchOrder:
        """A shop, customers with a line each, and a rider who carries a watched order."""
        town = self.scenario
        # One shop alone would have more commands waiting than a socket may have.
        for number in range(SHOPS):
            await town.add_shop(number, LAT, LNG)
        await run_limited(
            CONCURRENCY, [partial(self._connect_customer, n) for n in range(self.size.customers)]
        )
        await town.add_rider(0, LAT, LNG)
        job = town.add_order(await self._place_order(0), 0)
        await town.assign(job)
        job.customer.socket.on_position = self._on_position
        await job.assigned_rider.socket.call("set_availability", {"available": False})
        return job

    async def _connect_customer(self, number: int) -> None:
        await self.scenario.add_customer(number)
        person, told = self.scenario.customers[number], CustomerEvents()
        person.socket.close()
        person.socket = await self.site.connect(person.identity, told.on_event)
        self.received[number] = told

    def _on_position(self, _packet: bytes) -> None:
        self.position_times_s.append(time.perf_counter())

    async def _place_order(self, number: int) -> str:
        began_s = time.perf_counter()
        who = self.scenario.customers[number].identity
        placed = await self.site.request("POST", "/orders", who, self.scenario.order_body(number))
        self.post_s.append(time.perf_counter() - began_s)
        return placed["orderId"]

    async def run_order(self, number: int) -> None:
        """Place, accept, cook: acknowledged at every step, whatever Redis does."""
        order_id = await self._place_order(number)
        shop: SocketClient = self.scenario.shop_of(number).socket
        for command in ("accept_order", "order_preparing", "order_ready"):
            await shop.call(command, {"orderId": order_id})
        self.placed[order_id] = number

    async def report_positions(self, job: BenchOrder) -> None:
        """The rider reports from ever new places."""
        rider = job.assigned_rider
        while True:
            await asyncio.sleep(FIX_EVERY_S)
            rider.lat += 0.00002
            rider.report_position()

    async def place_orders(self) -> None:
        """Orders one after the other, by all customers in turn."""
        number = 0
        async with asyncio.TaskGroup() as group:
            while not self.up_at_s or time.perf_counter() < self.up_at_s + ORDERS_AFTER_S:
                group.create_task(self.run_order(number % self.size.customers))
                number += 1
                await asyncio.sleep(1 / ORDERS_PER_S)

    async def run_outage(self) -> None:
        """Redis dies, and comes back at its port."""
        await asyncio.sleep(1.0)
        self.down_at_s = time.perf_counter()
        await self.fleet.valkey.kill()
        if self.size.is_flushed:
            self.fleet.valkey.delete_data()
        await asyncio.sleep(self.size.outage_s)
        await self.fleet.valkey.start()
        self.up_at_s = time.perf_counter()

    async def wait_for_missing_events(self) -> None:
        """Wait for what is still missing, as long as it may take."""
        end_s = time.perf_counter() + CAUGHT_UP_S_MAX
        # Events tell nothing of those that do not come.
        while time.perf_counter() < end_s and self.count_missing_events():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def events_of(self, order_id: str) -> list[tuple[str, int, float]]:
        """What the customer was told of his order, as far as the vendor caused it."""
        told = self.received[self.placed[order_id]].events_by_order.get(order_id, [])
        return [each for each in told if each[0] in EXPECTED_EVENTS]

    def count_missing_events(self) -> int:
        """Events that nobody has heard yet."""
        return sum(
            len(set(EXPECTED_EVENTS) - {e[0] for e in self.events_of(each)}) for each in self.placed
        )

    def progress(self) -> str:
        """How far it has come."""
        is_back = "is back" if self.up_at_s else "is away"
        return f"Redis {is_back}, {len(self.placed)} orders cooked"

    def figures(self) -> dict[str, Any]:
        """How it went."""
        told = [self.events_of(order_id) for order_id in self.placed]
        counts = [Counter(event[:2] for event in events) for events in told]
        late = [at_s for events in told for _, _, at_s in events if at_s > self.down_at_s]
        first_s = min((at_s for at_s in late if at_s > self.up_at_s), default=0.0)
        held = self._last_outage_event_s()
        seen = [
            self.down_at_s,
            *(s for s in self.position_times_s if self.down_at_s < s < self.up_at_s),
        ]
        gaps = [b - a for a, b in zip(seen, [*seen[1:], self.up_at_s], strict=True)]
        return {
            "orders": len(self.placed),
            "events": sum(len(events) for events in told),
            "lost": self.count_missing_events(),
            "twice": sum(count - 1 for each in counts for count in each.values()),
            "disordered": sum(
                [v for _, v, _ in events] != sorted(v for _, v, _ in events) for events in told
            ),
            "resyncs": sum(told.resyncs for told in self.received.values()),
            "again_after_resync": sum(
                told.repeated_after_resync for told in self.received.values()
            ),
            "first_event_after_s": round(first_s - self.up_at_s, 3),
            "caught_up_after_s": round(held - self.up_at_s, 3),
            "post_max_ms": round(max(self.post_s) * 1000),
            "position_gap_max_s": round(max(gaps), 2),
        }

    def _last_outage_event_s(self) -> float:
        """When the last event was heard of the orders that were cooked while Redis was away."""
        ends = [events[-1][2] for order in self.outage_orders if (events := self.events_of(order))]
        return max(ends, default=self.up_at_s)


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """One outage.

    Errors: Failed.
    """
    async with fleet(folder, ["all"]) as running:
        run = Run(running, size, seed)
        job = await run.prepare()
        driving = asyncio.create_task(run.report_positions(job))
        trading = asyncio.create_task(run.place_orders())
        async with report_progress("redis_away", run.progress):
            await run.run_outage()
            run.outage_orders = frozenset(run.placed)
            await trading
            await run.wait_for_missing_events()
        await cancel(driving)
        figures = run.figures()
        run.scenario.disconnect_all()
        [node] = running.nodes
        if any("Traceback" in line for line in node.log_faults):
            raise BenchFailed(node.server.log_tail())
    return figures


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises were kept; `slack` stretches those of time on a shared machine."""
    return (
        figures["orders"] > 0
        and not figures["lost"] + figures["twice"] + figures["disordered"]
        and figures["first_event_after_s"] <= FIRST_EVENT_S_MAX * slack
        and figures["caught_up_after_s"] <= CAUGHT_UP_S_MAX
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
    print_result(
        "redis_away", {**size._asdict(), "seed": given.seed}, {**figures, "result": result}
    )
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
