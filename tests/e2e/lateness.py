"""Offers end on time: `python -m tests.e2e.lateness --offers 10000 [--kill]` measures how late.

Riders keep silent, or accept just before or just after the deadline, by the server's time. With
--kill the live engine is killed now and then. One JSON line. Full size: --offers 10000.
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

from bench.common.client import Phone, Refused
from bench.common.harness import Failed, at_once, quantile
from bench.common.result_line import print_line
from bench.common.scenario import AT_ONCE, SHOPS, Town
from city.client.tokens import UserType
from tests.e2e.arguments import live_engines
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.e2e.listeners import wait_for
from tests.e2e.progress import telling

NODES = ("edge", "edge", "engine", "engine")
# As short as a policy may be, so that many offers end in little time.
WINDOW_MS, GRACE_MS = 3_000, 1_000
# A rider is asked again at once, without end; nobody else stands around.
POLICY = {
    "waveSizes": [1], "radiiKm": [7.0], "staggerMs": 0, "windowMs": WINDOW_MS, "graceMs": GRACE_MS,
    "receiptMs": 2_000, "silenceMs": 0, "refillMs": 1_000, "retryMs": [500],
}  # fmt: skip
# Of all riders' answers so many come early, so many late; the others never.
EARLY, LATE = 0.1, 0.1
# By how much they miss the deadline. Units: ms.
NEAR_MS = (30, 400)
# Source: promises, p99 of how late offers end; the second where engines are killed.
LATE_P99_MS, LATE_KILLED_MS = 1_000, 5_000
KILL_EVERY_S = 12.0
ENDED_S = 15.0


class Size(NamedTuple):
    """How many offers in all, open at once, and whether engines are killed."""

    offers: int
    open: int
    kill: bool


class Offered(NamedTuple):
    """One offer. Units: Unix ms by the server's clock, which is ours on one machine."""

    offer_id: str
    order_id: str
    deadline_ms: int


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Run:
    """Riders who hesitate, and what became of their offers."""

    def __init__(self, running: Fleet, size: Size, seed: int) -> None:
        self.fleet = running
        self.size = size
        self.rng = random.Random(seed)
        self.town = Town(running.nodes[0].site, seed)
        self.edges = [node.site for node in running.nodes if node.role == "edge"]
        self.offers: dict[str, Offered] = {}
        self.ended: set[str] = set()
        self.late_ms: list[int] = []
        self.kills = self.closed_early = self.refused_early = self.accepted_late = 0
        self.accepted = self.refused = self.strange = 0
        self.answering: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """As many orders as riders, so that everybody is asked again and again."""
        operator: tuple[UserType, str] = ("ADMIN", "adm_1")
        await self.town.site.ask("PUT", "/admin/config/offers/food", operator, POLICY)
        await self.town.settle_in(SHOPS, 0)
        await at_once(AT_ONCE, [partial(self._hire, number) for number in range(self.size.open)])

    async def _hire(self, number: int) -> None:
        """A rider at one of the edges, near one of the shops."""
        shop = self.town.shops[number % SHOPS]
        site = self.edges[number % len(self.edges)]
        rider = await self.town.hire(number, shop.lat + 0.0001 * number, shop.lng)
        rider.phone.close()
        line: asyncio.Future[Phone] = asyncio.get_running_loop().create_future()

        def hear(name: str, body: dict[str, Any], _at_s: float) -> None:
            # The first words may come with the bytes that let him in, before there is a line.
            line.add_done_callback(lambda there: self._hear(there.result(), name, body))

        rider.phone = await site.phone(rider.who, hear)
        line.set_result(rider.phone)
        rider.stand()

    async def ask(self) -> None:
        """Place the orders, spread over the life of an offer, so that they do not all end at once.

        Errors: Failed.
        """
        pause_s = (WINDOW_MS + GRACE_MS) / 1000 / self.size.open
        for number in range(self.size.open):
            customer = number % SHOPS
            who = self.town.customers[customer].who
            placed = await self.town.site.ask("POST", "/orders", who, self.town.basket(customer))
            shop = self.town.shop_of(customer).phone
            await shop.call("accept_order", {"orderId": placed["orderId"]})
            await asyncio.sleep(pause_s)

    def _hear(self, phone: Phone, name: str, body: dict[str, Any]) -> None:
        if name == "delivery_request" and len(self.offers) < self.size.offers:
            deadline_ms = body["expiresAt"] + GRACE_MS
            offer = Offered(body["offerId"], body["orderId"], deadline_ms)
            self.offers[offer.offer_id] = offer
            self._hesitate(phone, offer)
        elif name == "delivery_request_closed" and body["offerId"] in self.offers:
            self._end(self.offers[body["offerId"]], body)

    def _end(self, offer: Offered, body: dict[str, Any]) -> None:
        """The server closed an offer."""
        if offer.offer_id in self.ended:
            return
        self.ended.add(offer.offer_id)
        self.closed_early += body["ts"] <= offer.deadline_ms
        self.late_ms.append(_now_ms() - offer.deadline_ms)

    def _hesitate(self, phone: Phone, offer: Offered) -> None:
        drawn, miss_ms = self.rng.random(), self.rng.uniform(*NEAR_MS)
        if drawn < EARLY + LATE:
            at_ms = offer.deadline_ms + (-miss_ms if drawn < EARLY else miss_ms)
            task = asyncio.ensure_future(self._accept(phone, offer, at_ms))
            self.answering.add(task)
            task.add_done_callback(self.answering.discard)

    async def _accept(self, phone: Phone, offer: Offered, at_ms: float) -> None:
        """Accept at a moment; whoever wins gives the order back, so that it goes on."""
        await asyncio.sleep(max(0.0, at_ms - _now_ms()) / 1000)
        command = {"orderId": offer.order_id, "offerId": offer.offer_id}
        try:
            told = await phone.call("accept_delivery", command)
        except Refused as refused:
            self.refused += 1
            self.strange += refused.code != "offer_expired"
            # Heard before the deadline, it was decided before it.
            self.refused_early += _now_ms() < offer.deadline_ms
            return
        self.accepted += 1
        self.ended.add(offer.offer_id)
        self.accepted_late += told["updatedAt"] > offer.deadline_ms
        await phone.call("release_delivery", {"orderId": offer.order_id, "reason": "a flat tyre"})

    # Engines that die.

    async def kill(self) -> None:
        """Kill the live engine now and then; another process takes its place."""
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            for node in await live_engines(self.fleet):
                await node.server.kill()
                self.kills += 1
                await self.fleet.launch("engine")

    async def all_ended(self) -> None:
        """Wait until all offers were made and have ended, as long as that may take."""
        longest_s = self.size.offers / self.size.open * (WINDOW_MS + GRACE_MS) / 1000
        await wait_for(lambda: len(self.offers) >= self.size.offers, 3 * longest_s + ENDED_S)
        await wait_for(lambda: self.ended >= self.offers.keys(), ENDED_S)
        await asyncio.gather(*self.answering)

    def progress(self) -> str:
        """How far it has come."""
        return f"{len(self.offers)} of {self.size.offers} offers, {self.kills} kills"

    def figures(self) -> dict[str, Any]:
        """What came out."""
        return {
            "offers": len(self.offers),
            "accepted": self.accepted,
            "refused": self.refused,
            "strange_refusals": self.strange,
            "closed": len(self.late_ms),
            "never_ended": len(self.offers.keys() - self.ended),
            "ended_early": self.closed_early + self.refused_early,
            "accepted_late": self.accepted_late,
            "late_p50_ms": quantile(self.late_ms, 0.50),
            "late_p99_ms": quantile(self.late_ms, 0.99),
            "late_max_ms": max(self.late_ms),
            "kills": self.kills,
        }


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """All offers.

    Errors: Failed.
    """
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(fleet(folder, NODES))
        run = Run(running, size, seed)
        stack.callback(run.town.close)
        await run.prepare()
        await stack.enter_async_context(telling("lateness", run.progress))
        tasks = [asyncio.create_task(run.town.live())]
        if size.kill:
            tasks.append(asyncio.create_task(run.kill()))
        await run.ask()
        await run.all_ended()
        for task in tasks:
            if task.done():
                raise Failed(f"somebody stopped: {task.exception()!r}")
            await cancel(task)
        faults = sum(len(node.faults) for node in running.nodes)
        return run.figures() | {"faults": faults}


def is_good(figures: dict[str, Any], size: Size, slack: float = 1.0) -> bool:
    """Whether the promises were kept; `slack` stretches those of time on a shared machine."""
    wrong = ("strange_refusals", "never_ended", "ended_early", "accepted_late", "faults")
    limit_ms = LATE_KILLED_MS if size.kill else LATE_P99_MS
    in_time = figures["late_p99_ms"] <= limit_ms * slack
    is_full = figures["offers"] == size.offers and figures["accepted"] and figures["refused"]
    return bool(is_full and in_time and not any(figures[name] for name in wrong))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--offers", type=int, default=1_000, help="full size: 10000")
    parser.add_argument("--open", type=int, default=100, help="offers that are open at once")
    parser.add_argument("--kill", action="store_true", help="kill the live engine now and then")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.offers, given.open, given.kill)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, given.seed, Path(folder)))
    result = "kept" if is_good(figures, size) else "broken"
    print_line("lateness", {**size._asdict(), "seed": given.seed}, {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
