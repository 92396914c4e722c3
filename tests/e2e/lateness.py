"""Offer deadline test: `python -m tests.e2e.lateness --offers 10000 [--kill]` measures lateness.

Riders ignore offers, or accept just before or just after the deadline by the server's clock. With
--kill the live engine is killed now and then. Prints one JSON line. Full size: --offers 10000.
"""

import argparse
import asyncio
import random
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.client import CommandRefused, SocketClient
from bench.common.harness import BenchFailed, quantile, run_limited
from bench.common.result_line import print_result
from bench.common.scenario import CONCURRENCY, SHOPS, Scenario
from city.client.tokens import UserType
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.e2e.listeners import wait_for
from tests.e2e.offer_observer import live_engines
from tests.e2e.progress import report_progress

NODES = ("edge", "edge", "engine", "engine")
# The shortest times a policy allows, so that many offers end in little time.
WINDOW_MS, GRACE_MS = 3_000, 1_000
# Offers go to one rider at a time, who is asked again at once, without limit.
POLICY = {
    "waveSizes": [1], "radiiKm": [7.0], "staggerMs": 0, "windowMs": WINDOW_MS, "graceMs": GRACE_MS,
    "receiptMs": 2_000, "silenceMs": 0, "refillMs": 1_000, "retryMs": [500],
}  # fmt: skip
# Shares of offers that are accepted early and late; the others are never answered.
EARLY_SHARE, LATE_SHARE = 0.1, 0.1
# How far from the deadline an answer is. Units: ms.
MISS_MS_RANGE = (30, 400)
# Source: docs/promises.md, p99 of how late offers end: normally, and with killed engines.
LATE_P99_MS_MAX, LATE_P99_MS_MAX_WITH_KILLS = 1_000, 5_000
KILL_EVERY_S = 12.0
# Far above what ending takes, also on a busy machine.
END_TIMEOUT_S = 60.0


class Size(NamedTuple):
    """Size of a run: offers in all, open at once, and whether engines are killed."""

    offers: int
    open: int
    kill: bool


class MadeOffer(NamedTuple):
    """One offer. Units: Unix ms by the server's clock, which on one machine is ours."""

    offer_id: str
    order_id: str
    deadline_ms: int


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Run:
    """Riders who answer near the deadline, and what became of their offers."""

    def __init__(self, running: Fleet, size: Size, seed: int) -> None:
        self.fleet = running
        self.size = size
        self.rng = random.Random(seed)
        self.scenario = Scenario(running.nodes[0].site, seed)
        self.edges = [node.site for node in running.nodes if node.role == "edge"]
        self.offers: dict[str, MadeOffer] = {}
        self.ended_offers: set[str] = set()
        self.late_ms: list[int] = []
        self.kills = self.closed_early_count = self.refused_early = self.accepted_late = 0
        self.accepted = self.refused = self.unexpected_refusals = 0
        self.accept_tasks: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """Set the policy; create as many riders as open orders, so that all get many offers."""
        operator: tuple[UserType, str] = ("ADMIN", "adm_1")
        await self.scenario.site.request("PUT", "/admin/config/offers/food", operator, POLICY)
        await self.scenario.set_up(SHOPS, 0)
        await run_limited(
            CONCURRENCY, [partial(self._hire, number) for number in range(self.size.open)]
        )

    async def _hire(self, number: int) -> None:
        """Connect a rider at one of the edges, near one of the shops."""
        shop = self.scenario.shops[number % SHOPS]
        site = self.edges[number % len(self.edges)]
        rider = await self.scenario.add_rider(number, shop.lat + 0.0001 * number, shop.lng)
        rider.socket.close()
        connected: asyncio.Future[SocketClient] = asyncio.get_running_loop().create_future()

        def on_event(name: str, body: dict[str, Any], _at_s: float) -> None:
            # Events may arrive together with the upgrade, before `connect` has returned the socket.
            connected.add_done_callback(lambda socket: self._on_event(socket.result(), name, body))

        rider.socket = await site.connect(rider.identity, on_event)
        connected.set_result(rider.socket)
        rider.report_position()

    async def place_orders(self) -> None:
        """Place the orders, spread over an offer's lifetime, so that offers do not all end at once.

        Errors: BenchFailed.
        """
        pause_s = (WINDOW_MS + GRACE_MS) / 1000 / self.size.open
        for number in range(self.size.open):
            customer = number % SHOPS
            customer_identity = self.scenario.customers[customer].identity
            placed = await self.scenario.site.request(
                "POST", "/orders", customer_identity, self.scenario.order_body(customer)
            )
            shop = self.scenario.shop_of(customer).socket
            await shop.call("accept_order", {"orderId": placed["orderId"]})
            await asyncio.sleep(pause_s)

    def _on_event(self, client: SocketClient, name: str, payload: dict[str, Any]) -> None:
        if name == "delivery_request" and len(self.offers) < self.size.offers:
            deadline_ms = payload["expiresAt"] + GRACE_MS
            offer = MadeOffer(payload["offerId"], payload["orderId"], deadline_ms)
            self.offers[offer.offer_id] = offer
            self._schedule_accept(client, offer)
        elif name == "delivery_request_closed" and payload["offerId"] in self.offers:
            self._record_end(self.offers[payload["offerId"]], payload)

    def _record_end(self, offer: MadeOffer, payload: dict[str, Any]) -> None:
        """The server closed an offer."""
        if offer.offer_id in self.ended_offers:
            return
        self.ended_offers.add(offer.offer_id)
        self.closed_early_count += payload["ts"] <= offer.deadline_ms
        self.late_ms.append(_now_ms() - offer.deadline_ms)

    def _schedule_accept(self, client: SocketClient, offer: MadeOffer) -> None:
        drawn, miss_ms = self.rng.random(), self.rng.uniform(*MISS_MS_RANGE)
        if drawn < EARLY_SHARE + LATE_SHARE:
            at_ms = offer.deadline_ms + (-miss_ms if drawn < EARLY_SHARE else miss_ms)
            task = asyncio.ensure_future(self._accept_at(client, offer, at_ms))
            self.accept_tasks.add(task)
            task.add_done_callback(self.accept_tasks.discard)

    async def _accept_at(self, client: SocketClient, offer: MadeOffer, at_ms: float) -> None:
        """Accept at a moment; a rider who wins gives the order back, to be offered again."""
        await asyncio.sleep(max(0.0, at_ms - _now_ms()) / 1000)
        command = {"orderId": offer.order_id, "offerId": offer.offer_id}
        try:
            order = await client.call("accept_delivery", command)
        except CommandRefused as refusal:
            self.refused += 1
            self.unexpected_refusals += refusal.code != "offer_expired"
            # A refusal received before the deadline was decided before it.
            self.refused_early += _now_ms() < offer.deadline_ms
            return
        self.accepted += 1
        self.ended_offers.add(offer.offer_id)
        self.accepted_late += order["updatedAt"] > offer.deadline_ms
        await client.call("release_delivery", {"orderId": offer.order_id, "reason": "a flat tyre"})

    # Engine kills.

    async def kill_engines(self) -> None:
        """Kill the live engine now and then and start another one."""
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            for node in await live_engines(self.fleet):
                await node.server.kill()
                self.kills += 1
                await self.fleet.launch("engine")

    async def wait_until_ended(self) -> None:
        """Wait until all offers were made and have ended, at most the longest expected time."""
        longest_s = self.size.offers / self.size.open * (WINDOW_MS + GRACE_MS) / 1000
        await wait_for(lambda: len(self.offers) >= self.size.offers, 3 * longest_s + END_TIMEOUT_S)
        await wait_for(lambda: self.ended_offers >= self.offers.keys(), END_TIMEOUT_S)
        await asyncio.gather(*self.accept_tasks)

    def progress(self) -> str:
        """Progress as one line of text."""
        return f"{len(self.offers)} of {self.size.offers} offers, {self.kills} kills"

    def figures(self) -> dict[str, Any]:
        """Figures of the run."""
        return {
            "offers": len(self.offers),
            "accepted": self.accepted,
            "refused": self.refused,
            "unexpected_refusals": self.unexpected_refusals,
            "closed": len(self.late_ms),
            "never_ended": len(self.offers.keys() - self.ended_offers),
            "ended_early": self.closed_early_count + self.refused_early,
            "accepted_late": self.accepted_late,
            "late_p50_ms": quantile(self.late_ms, 0.50),
            "late_p99_ms": quantile(self.late_ms, 0.99),
            "late_max_ms": max(self.late_ms),
            "kills": self.kills,
        }


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """Run all offers.

    Errors: BenchFailed.
    """
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(fleet(folder, NODES))
        run = Run(running, size, seed)
        stack.callback(run.scenario.disconnect_all)
        await run.prepare()
        await stack.enter_async_context(report_progress("lateness", run.progress))
        tasks = [asyncio.create_task(run.scenario.report_periodically())]
        if size.kill:
            tasks.append(asyncio.create_task(run.kill_engines()))
        await run.place_orders()
        await run.wait_until_ended()
        for task in tasks:
            if task.done():
                raise BenchFailed(f"a background task ended: {task.exception()!r}")
            await cancel(task)
        faults = sum(len(node.log_faults) for node in running.nodes)
        return run.figures() | {"faults": faults}


def is_good(figures: dict[str, Any], size: Size) -> bool:
    """Whether the promises were kept: every deadline held, and offers end soon after it."""
    limit_ms = LATE_P99_MS_MAX_WITH_KILLS if size.kill else LATE_P99_MS_MAX
    return holds_deadlines(figures, size) and figures["late_p99_ms"] <= limit_ms


def holds_deadlines(figures: dict[str, Any], size: Size) -> bool:
    """Whether all offers were made and ended, none early, and none was accepted late.

    This does not depend on how fast the machine is.
    """
    wrong = ("unexpected_refusals", "never_ended", "ended_early", "accepted_late", "faults")
    is_full = figures["offers"] == size.offers and figures["accepted"] and figures["refused"]
    return bool(is_full) and not any(figures[name] for name in wrong)


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offers", type=int, default=1_000, help="full size: 10000")
    parser.add_argument("--open", type=int, default=100, help="offers that are open at once")
    parser.add_argument("--kill", action="store_true", help="kill the live engine now and then")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = Size(options.offers, options.open, options.kill)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, options.seed, Path(folder)))
    result = "kept" if is_good(figures, size) else "broken"
    print_result(
        "lateness", {**size._asdict(), "seed": options.seed}, {**figures, "result": result}
    )
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
