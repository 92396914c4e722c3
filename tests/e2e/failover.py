"""Redis failover test: `python -m tests.e2e.failover --mode proxy --failovers 20`.

Two servers on a Redis whose primary is lost again and again, under orders, offers and deliveries.
Prints one JSON line.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import uvloop

from bench.common.client import CommandRefused, SocketClient
from bench.common.harness import BenchFailed, quantile, run_limited
from bench.common.result_line import print_result
from bench.common.scenario import BALANCE_XAF, CONCURRENCY, LAT, LNG, BenchOrder, Scenario
from dispatch.keys import identity, inbox, timers
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.e2e.progress import report_progress
from tests.e2e.redis_away import CustomerEvents
from tests.e2e.redis_failovers import MODES, FailingRedis

SHOPS, CUSTOMERS, RIDERS = 4, 6, 16
ORDERS_PER_S = 3.0
# Besides the first one, so that the money lasts for some hundred orders each.
TOP_UPS = 3
# Source: docs/promises.md.
BACK_S_MAX = 3.0
# An outage that lasts longer is seen by a balancer, though an answer is kept for a second.
VISIBLE_S = 2.0
PROBE_EVERY_S = 0.1
# How long orders go on before the next failover, beyond the repair of the last one.
BETWEEN_S = 3.0
CAUGHT_UP_S_MAX = 30.0
# A command that is refused because a store is away is sent again for as long.
RETRY_S_MAX, RETRY_PAUSE_S = 15.0, 0.2
ZONE = "douala"
# The events that a customer receives after the vendor's commands.
EXPECTED_EVENTS = ("order_accepted", "order_preparing", "order_ready")


class Failover(NamedTuple):
    """One failover. Units: seconds of `time.perf_counter`."""

    began_s: float
    whole_s: float
    # When events and offers were received that pass through the server that was lost, by receiver.
    times_s: dict[str, list[float]]

    def is_over(self) -> bool:
        """Whether every receiver has got something since Redis is whole again."""
        return all(times and times[-1] > self.whole_s for times in self.times_s.values())

    @property
    def ended_s(self) -> float:
        """When the last receiver got something again, at most so long as it is waited for."""
        late_s = self.whole_s + CAUGHT_UP_S_MAX
        firsts_s = [
            next((at_s for at_s in times if at_s > self.whole_s), late_s)
            for times in self.times_s.values()
        ]
        return max(firsts_s, default=self.whole_s)

    @property
    def back_s(self) -> float:
        """How long it took until events and offers arrived again."""
        return self.ended_s - self.whole_s


class Run:
    """One scenario through several failovers."""

    def __init__(self, running: Fleet, redis: FailingRedis, seed: int) -> None:
        self.fleet = running
        self.redis = redis
        # Customers and vendors at one server, riders at the other: what passes between them passes
        # through Redis.
        self.people = Scenario(running.nodes[0].site, seed)
        self.riders = Scenario(running.nodes[1].site, seed)
        self.riders.orders, self.riders.riders = self.people.orders, self.people.riders
        self.received: dict[int, CustomerEvents] = {}
        self.event_times_s: dict[str, list[float]] = {}
        self.offer_times_s: list[float] = []
        self.placed: dict[str, int] = {}
        self.failovers: list[Failover] = []
        self.unready_times_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self.late_errors: Counter[str] = Counter()
        self.delivered = 0
        # Orders that wait for a rider.
        self.waiting: set[asyncio.Task[None]] = set()
        self.is_ending = False

    async def prepare(self) -> None:
        """Create shops, connected customers and riders."""
        for number in range(SHOPS):
            await self.people.add_shop(number, LAT, LNG)
        await run_limited(CONCURRENCY, [partial(self._add_customer, n) for n in range(CUSTOMERS)])
        self.riders.on_rider_event = self._on_rider_event
        for number in range(RIDERS):
            await self.riders.add_rider(number, LAT + 0.0005 * number, LNG)

    async def _add_customer(self, number: int) -> None:
        await self.people.add_customer(number)
        for _ in range(TOP_UPS):
            top_up = {"amount": BALANCE_XAF, "provider": "sandbox"}
            who = self.people.customers[number].identity
            await self.people.site.request("POST", "/wallet/topup", who, top_up)
        customer, received = self.people.customers[number], CustomerEvents()
        owner = identity("user", customer.identity[1])
        times_s = self.event_times_s.setdefault(owner, [])

        def on_event(name: str, payload: dict[str, Any], at_s: float) -> None:
            received.on_event(name, payload, at_s)
            if "seq" in payload and name != "resync":
                times_s.append(at_s)

        customer.socket.close()
        customer.socket = await self.people.site.connect(customer.identity, on_event)
        self.received[number] = received

    def _on_rider_event(
        self, rider_id: str, name: str, payload: dict[str, Any], at_s: float
    ) -> None:
        if name == "delivery_request":
            self.offer_times_s.append(at_s)
        self.people.on_rider_event(rider_id, name, payload, at_s)

    # Load.

    async def place_orders(self) -> None:
        """Place orders at a steady rate until the end, by all customers in turn."""
        number = 0
        async with asyncio.TaskGroup() as group:
            while not self.is_ending:
                group.create_task(self._run_order(number % CUSTOMERS))
                number += 1
                await asyncio.sleep(1 / ORDERS_PER_S)

    async def _run_order(self, number: int) -> None:
        customer = self.people.customers[number].identity
        body = self.people.order_body(number)
        try:
            placed = await self.people.site.request("POST", "/orders", customer, body)
        except BenchFailed as error:
            self._count_error(str(error)[:60])
            return
        order = self.people.add_order(placed["orderId"], number)
        offered = asyncio.create_task(self._take_offer(order))
        self.waiting.add(offered)
        try:
            for command in ("accept_order", "order_preparing", "order_ready"):
                await self._call(order.shop.socket, command, {"orderId": order.order_id})
            self.placed[order.order_id] = number
            await asyncio.wait([offered])
            if order.rider is not None:
                await self._deliver(order)
        except (CommandRefused, TimeoutError) as error:
            self._count_error(str(error))
        finally:
            offered.cancel()
            self.waiting.discard(offered)

    async def _take_offer(self, order: BenchOrder) -> None:
        """Accept the first offer that can be accepted, however late it comes.

        An order that nobody waits for would keep its riders from all others.
        """
        while order.rider is None:
            rider_id, offer_id = await order.offers.get()
            rider = self.people.riders[rider_id]
            offer = {"orderId": order.order_id, "offerId": offer_id}
            with suppress(CommandRefused):
                await self._call(rider.socket, "accept_delivery", offer)
                order.rider = rider

    async def _deliver(self, order: BenchOrder) -> None:
        steps = ("arrived_pickup", "pick_up", "arrived_dropoff", "complete_delivery")
        for step in steps:
            await self._call(order.assigned_rider.socket, step, {"orderId": order.order_id})
        self.delivered += 1

    async def _call(self, socket: SocketClient, command: str, payload: dict[str, Any]) -> None:
        """Send a command until it is not refused for a store that is away."""
        payload = {**payload, "commandId": f"{command}-{payload['orderId']}"}
        end_s = time.perf_counter() + RETRY_S_MAX
        while True:
            try:
                await socket.call(command, payload)
            except CommandRefused as error:
                if error.code != "unavailable" or time.perf_counter() > end_s:
                    raise
                self._count_error(error.code)
                await asyncio.sleep(RETRY_PAUSE_S)
            else:
                return

    def _count_error(self, what: str) -> None:
        """Count an error; one long after Redis was whole again is late."""
        self.errors[what] += 1
        last = self.failovers[-1] if self.failovers else None
        if last is None or time.perf_counter() > last.whole_s + BACK_S_MAX:
            self.late_errors[what] += 1

    async def watch_readiness(self, url: str) -> None:
        """Ask a server whether it is ready, for as long as it runs."""
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self.fleet.session.get(f"{url}/readyz") as answer:
                    if answer.status == 503:
                        self.unready_times_s.append(time.perf_counter())
            await asyncio.sleep(PROBE_EVERY_S)

    # Failovers.

    async def fail_over_repeatedly(self, count: int) -> None:
        """Lose the primary `count` times, each time after the last one was repaired."""
        for _ in range(count):
            await asyncio.sleep(BETWEEN_S)
            began_s = time.perf_counter()
            # Errors while it is away are early, whatever comes of them.
            self.failovers.append(Failover(began_s, float("inf"), {}))
            whole_s = await self.redis.fail_over()
            failover = Failover(began_s, whole_s, self._affected())
            self.failovers[-1] = failover
            await _wait_for(failover.is_over)
            await self.redis.repair()
        await asyncio.sleep(BETWEEN_S)
        self.is_ending = True

    def _affected(self) -> dict[str, list[float]]:
        """The times of what passes through the server that was lost, by receiver."""
        times_s = {
            owner: times
            for owner, times in self.event_times_s.items()
            if self.redis.is_affected(inbox(owner))
        }
        if self.redis.is_affected(timers(ZONE)):
            times_s["offers"] = self.offer_times_s
        return times_s

    async def wait_for_missing_events(self) -> None:
        """Wait for the missing events, at most as long as promised."""
        await _wait_for(lambda: not self.count_missing_events())

    def count_missing_events(self) -> int:
        """Expected events that no client received, and that no later resync makes it fetch."""
        missing = 0
        for order_id, number in self.placed.items():
            received = self.received[number]
            names = {name for name, _, _ in received.events_by_order.get(order_id, [])}
            if not received.resyncs:
                missing += len(set(EXPECTED_EVENTS) - names)
        return missing

    def progress(self) -> str:
        """Progress as one line of text."""
        return f"{len(self.failovers)} failovers, {self.delivered} orders delivered"

    def figures(self) -> dict[str, Any]:
        """Figures of the run."""
        by_order = [
            events
            for received in self.received.values()
            for events in received.events_by_order.values()
        ]
        doubled = sum(
            count - 1 for events in by_order for count in Counter(e[:2] for e in events).values()
        )
        backs_s = [each.back_s for each in self.failovers]
        return {
            "orders": len(self.placed),
            "delivered": self.delivered,
            "events": sum(map(len, by_order)),
            "lost": self.count_missing_events(),
            "doubled": doubled,
            "resyncs": sum(received.resyncs for received in self.received.values()),
            "whole_after_s_max": round(max(f.whole_s - f.began_s for f in self.failovers), 2),
            "back_after_s_p50": round(quantile(backs_s, 0.5), 2),
            "back_after_s_p99": round(quantile(backs_s, 0.99), 2),
            "back_after_s_max": round(max(backs_s), 2),
            "without_s_max": round(max(f.ended_s - f.began_s for f in self.failovers), 2),
            "unready_seen": sum(map(self._is_unready_in, self.failovers)),
            "unready_missed": sum(
                each.ended_s - each.began_s > VISIBLE_S and not self._is_unready_in(each)
                for each in self.failovers
            ),
            "errors": dict(self.errors),
            "late_errors": dict(self.late_errors),
        }

    def _is_unready_in(self, failover: Failover) -> bool:
        return any(failover.began_s <= at_s <= failover.ended_s for at_s in self.unready_times_s)


async def _wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what clients receive, at most as long as promised for the last of it."""
    end_s = time.perf_counter() + CAUGHT_UP_S_MAX
    # There is no event for an event that does not arrive.
    while time.perf_counter() < end_s and not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def measure(mode: str, failovers: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run the failovers of one mode.

    Errors: BenchFailed.
    """
    async with (
        MODES[mode](folder / "redis") as redis,
        fleet(folder / "fleet", ["all", "all"], REDIS_URL=redis.url) as servers,
    ):
        run = Run(servers, redis, seed)
        await run.prepare()
        background = [
            asyncio.create_task(run.riders.report_periodically()),
            *(asyncio.create_task(run.watch_readiness(node.site.url)) for node in servers.nodes),
        ]
        placing = asyncio.create_task(run.place_orders())
        async with report_progress(f"failover {mode}", run.progress):
            await run.fail_over_repeatedly(failovers)
            await _wait_for(lambda: not run.waiting)
            for task in run.waiting:
                task.cancel()
            await placing
            await run.wait_for_missing_events()
        for task in background:
            await cancel(task)
        figures = run.figures()
        run.people.disconnect_all()
        for node in servers.nodes:
            if any("Traceback" in line for line in node.log_faults):
                raise BenchFailed(node.server.log_tail())
    return figures


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises hold; `slack` multiplies the time limit on a shared machine."""
    return (
        figures["delivered"] == figures["orders"] > 0
        and not figures["lost"] + figures["doubled"] + figures["unready_missed"]
        and not figures["late_errors"]
        and figures["back_after_s_max"] <= BACK_S_MAX * slack
    )


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=MODES, default="proxy")
    parser.add_argument("--failovers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(options.mode, options.failovers, options.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result("failover", vars(options), {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
