"""Redis outage test: `python -m tests.e2e.redis_away --seconds 6 --flush` kills and restarts Redis.

Orders are placed and accepted and a rider is watched meanwhile. Prints one JSON line.
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

# The events that a customer receives after the vendor's commands, in this order.
EXPECTED_EVENTS = ("order_accepted", "order_preparing", "order_ready")
FIX_EVERY_S = 0.25
ORDERS_PER_S = 10
# Source: docs/promises.md, events flow at most 2 s after Redis is back, all within 30 s.
FIRST_EVENT_S_MAX, CAUGHT_UP_S_MAX = 2.0, 30.0
# How long orders continue after Redis is back.
ORDERS_AFTER_S = 6.0


class Size(NamedTuple):
    """Size of a run: length of the outage, customers, and whether Redis loses its data.

    Units: seconds.
    """

    outage_s: float
    customers: int
    is_flushed: bool


class CustomerEvents:
    """The events that one customer received for each order, and when."""

    def __init__(self) -> None:
        self.events_by_order: dict[str, list[tuple[str, int, float]]] = {}
        self.resyncs = 0
        # Events that an emptied Redis has forgotten may be repeated after a resync.
        self.repeated_after_resync = 0

    def on_event(self, name: str, payload: dict[str, Any], at_s: float) -> None:
        """Record one event."""
        if name == "resync":
            self.resyncs += 1
        elif "version" in payload:
            events = self.events_by_order.setdefault(payload["orderId"], [])
            if self.resyncs and (name, payload["version"]) in [event[:2] for event in events]:
                self.repeated_after_resync += 1
            else:
                events.append((name, payload["version"], at_s))


class Run:
    """One scenario through one outage."""

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
        """Create shops, connected customers, and a rider who carries a watched order."""
        scenario = self.scenario
        # With one shop alone, more commands would be pending than a socket may have.
        for number in range(SHOPS):
            await scenario.add_shop(number, LAT, LNG)
        await run_limited(
            CONCURRENCY, [partial(self._connect_customer, n) for n in range(self.size.customers)]
        )
        await scenario.add_rider(0, LAT, LNG)
        order = scenario.add_order(await self._place_order(0), 0)
        await scenario.assign(order)
        order.customer.socket.on_position = self._on_position
        await order.assigned_rider.socket.call("set_availability", {"available": False})
        return order

    async def _connect_customer(self, number: int) -> None:
        await self.scenario.add_customer(number)
        customer, received = self.scenario.customers[number], CustomerEvents()
        customer.socket.close()
        customer.socket = await self.site.connect(customer.identity, received.on_event)
        self.received[number] = received

    def _on_position(self, _packet: bytes) -> None:
        self.position_times_s.append(time.perf_counter())

    async def _place_order(self, number: int) -> str:
        began_s = time.perf_counter()
        customer = self.scenario.customers[number].identity
        placed = await self.site.request(
            "POST", "/orders", customer, self.scenario.order_body(number)
        )
        self.post_s.append(time.perf_counter() - began_s)
        return placed["orderId"]

    async def run_order(self, number: int) -> None:
        """Place, accept and prepare an order; each step is acknowledged, with Redis or without."""
        order_id = await self._place_order(number)
        shop: SocketClient = self.scenario.shop_of(number).socket
        for command in ("accept_order", "order_preparing", "order_ready"):
            await shop.call(command, {"orderId": order_id})
        self.placed[order_id] = number

    async def report_positions(self, order: BenchOrder) -> None:
        """The rider reports from changing positions."""
        rider = order.assigned_rider
        while True:
            await asyncio.sleep(FIX_EVERY_S)
            rider.lat += 0.00002
            rider.report_position()

    async def place_orders(self) -> None:
        """Place orders at a steady rate, by all customers in turn."""
        number = 0
        async with asyncio.TaskGroup() as group:
            while not self.up_at_s or time.perf_counter() < self.up_at_s + ORDERS_AFTER_S:
                group.create_task(self.run_order(number % self.size.customers))
                number += 1
                await asyncio.sleep(1 / ORDERS_PER_S)

    async def run_outage(self) -> None:
        """Kill Redis, and restart it at the same port."""
        await asyncio.sleep(1.0)
        self.down_at_s = time.perf_counter()
        await self.fleet.valkey.kill()
        if self.size.is_flushed:
            self.fleet.valkey.delete_data()
        await asyncio.sleep(self.size.outage_s)
        await self.fleet.valkey.start()
        self.up_at_s = time.perf_counter()

    async def wait_for_missing_events(self) -> None:
        """Wait for the missing events, at most as long as promised."""
        end_s = time.perf_counter() + CAUGHT_UP_S_MAX
        # There is no event for an event that does not arrive.
        while time.perf_counter() < end_s and self.count_missing_events():  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def events_of(self, order_id: str) -> list[tuple[str, int, float]]:
        """Events of an order that the vendor's commands caused, as its customer received them."""
        events = self.received[self.placed[order_id]].events_by_order.get(order_id, [])
        return [event for event in events if event[0] in EXPECTED_EVENTS]

    def count_missing_events(self) -> int:
        """Number of expected events that have not been received."""
        return sum(
            len(set(EXPECTED_EVENTS) - {event[0] for event in self.events_of(order_id)})
            for order_id in self.placed
        )

    def progress(self) -> str:
        """Progress as one line of text."""
        is_back = "is back" if self.up_at_s else "is away"
        return f"Redis {is_back}, {len(self.placed)} orders cooked"

    def figures(self) -> dict[str, Any]:
        """Figures of the run."""
        events_by_order = [self.events_of(order_id) for order_id in self.placed]
        counts = [Counter(event[:2] for event in events) for events in events_by_order]
        late_s = [
            at_s for events in events_by_order for _, _, at_s in events if at_s > self.down_at_s
        ]
        first_s = min((at_s for at_s in late_s if at_s > self.up_at_s), default=0.0)
        caught_up_s = self._last_outage_event_s()
        times_s = [
            self.down_at_s,
            *(s for s in self.position_times_s if self.down_at_s < s < self.up_at_s),
        ]
        gaps = [b - a for a, b in zip(times_s, [*times_s[1:], self.up_at_s], strict=True)]
        return {
            "orders": len(self.placed),
            "events": sum(len(events) for events in events_by_order),
            "lost": self.count_missing_events(),
            "duplicated": sum(count - 1 for each in counts for count in each.values()),
            "out_of_order": sum(
                [v for _, v, _ in events] != sorted(v for _, v, _ in events)
                for events in events_by_order
            ),
            "resyncs": sum(events_by_order.resyncs for events_by_order in self.received.values()),
            "repeated_after_resync": sum(
                events_by_order.repeated_after_resync for events_by_order in self.received.values()
            ),
            "first_event_after_s": round(first_s - self.up_at_s, 3),
            "caught_up_after_s": round(caught_up_s - self.up_at_s, 3),
            "post_max_ms": round(max(self.post_s) * 1000),
            "position_gap_max_s": round(max(gaps), 2),
        }

    def _last_outage_event_s(self) -> float:
        """When the last event of the orders prepared during the outage was received."""
        ends = [events[-1][2] for order in self.outage_orders if (events := self.events_of(order))]
        return max(ends, default=self.up_at_s)


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """Run one outage.

    Errors: BenchFailed.
    """
    async with fleet(folder, ["all"]) as servers:
        run = Run(servers, size, seed)
        order = await run.prepare()
        reporting = asyncio.create_task(run.report_positions(order))
        placing = asyncio.create_task(run.place_orders())
        async with report_progress("redis_away", run.progress):
            await run.run_outage()
            run.outage_orders = frozenset(run.placed)
            await placing
            await run.wait_for_missing_events()
        await cancel(reporting)
        figures = run.figures()
        run.scenario.disconnect_all()
        [node] = servers.nodes
        if any("Traceback" in line for line in node.log_faults):
            raise BenchFailed(node.server.log_tail())
    return figures


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises hold; `slack` multiplies the time limits on a shared machine."""
    return (
        figures["orders"] > 0
        and not figures["lost"] + figures["duplicated"] + figures["out_of_order"]
        and figures["first_event_after_s"] <= FIRST_EVENT_S_MAX * slack
        and figures["caught_up_after_s"] <= CAUGHT_UP_S_MAX
        and figures["position_gap_max_s"] <= 4 * FIX_EVERY_S * slack
    )


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--flush", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = Size(options.seconds, options.customers, options.flush)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, options.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result(
        "redis_away", {**size._asdict(), "seed": options.seed}, {**figures, "result": result}
    )
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
