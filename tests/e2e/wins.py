"""Contention test: many riders accept one order. `python -m tests.e2e.wins --orders 1000`.

Each order is offered to all riders of a squad, who each accept it several times over two nodes.
Prints one JSON line. Full size: --orders 1000 --riders 20 --sends 3.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.client import CommandRefused, SocketClient
from bench.common.harness import BenchFailed, percentiles_ms, run_limited
from bench.common.result_line import print_result
from bench.common.scenario import (
    LAT,
    LNG,
    REPORT_EVERY_S,
    Person,
    Scenario,
)
from city.client.tokens import UserType
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.e2e.progress import report_progress

NODES = ("all", "all", "all")
# Squads are so far apart that no rider is in reach of two shops.
SQUAD_DISTANCE_DEG = 0.1
RADIUS_KM = 1.0
# One rider may still carry the order before, another may have lost it only just now.
SPARE_RIDERS = 2
# Source: docs/promises.md, losers are notified within 100 ms.
LOSS_NOTICE_MS_MAX = 100.0
OFFER_TIMEOUT_S = 10.0
LOSER_CODES = frozenset({"offer_taken", "offer_expired"})


class Size(NamedTuple):
    """Size of a run: `squads` orders at a time, each accepted by `riders`, `sends` times."""

    orders: int
    riders: int
    sends: int
    squads: int


@dataclass(slots=True)
class CompetingRider:
    """A rider connected to two nodes, and what it received about its orders."""

    person: Person
    second_client: SocketClient | None = None
    offers: dict[str, str] = field(default_factory=dict)
    closed_s: dict[str, float] = field(default_factory=dict)
    carried_order: str | None = None

    def on_event(self, name: str, payload: dict[str, Any], at_s: float) -> None:
        """Record an event; both connections get it, the first counts."""
        if name == "delivery_request":
            self.offers.setdefault(payload["orderId"], payload["offerId"])
        elif name == "delivery_request_closed":
            self.closed_s.setdefault(payload["orderId"], at_s)


class AcceptAnswer(NamedTuple):
    """Answer to one accept: its data, or the code of the refusal, and when it came."""

    data: dict[str, Any] | None
    code: str
    answered_s: float


@dataclass(slots=True)
class Squad:
    """A shop, its customer, and the riders around it."""

    number: int
    riders: list[CompetingRider]
    previous_order: str | None = None


class Run:
    """All squads over all nodes, and what was observed."""

    def __init__(self, running: Fleet, size: Size, seed: int) -> None:
        self.fleet = running
        self.size = size
        self.scenario = Scenario(running.nodes[0].site, seed)
        self.squads: list[Squad] = []
        self.remaining_orders = size.orders
        self.winner_counts: list[int] = []
        self.codes: Counter[str] = Counter()
        self.unequal_answers = self.over_capacity = self.uninformed_losers = (
            self.unexpected_codes
        ) = 0
        self.loss_notice_s: list[float] = []
        self.accept_s: list[float] = []

    async def prepare(self) -> None:
        """Create shops, customers and riders; set a policy that asks all riders at once."""
        policy = {"waveSizes": [self.size.riders], "radiiKm": [RADIUS_KM], "staggerMs": 0}
        operator: tuple[UserType, str] = ("ADMIN", "adm_1")
        await self.scenario.site.request("PUT", "/admin/config/offers/food", operator, policy)
        for number in range(self.size.squads):
            lat = LAT + number * SQUAD_DISTANCE_DEG
            await self.scenario.add_shop(number, lat, LNG)
        for number in range(self.size.squads):
            await self.scenario.add_customer(number)
            count = self.size.riders + SPARE_RIDERS
            connects = [partial(self._hire, number, each) for each in range(count)]
            self.squads.append(Squad(number, await run_limited(4, connects)))
        self.report_positions()

    async def _hire(self, squad: int, number: int) -> CompetingRider:
        """Connect an available rider, 20 m further away than the one before."""
        identity: tuple[UserType, str] = ("RIDER", f"rdr_{squad}_{number}")
        sites = [node.site for node in self.fleet.nodes]
        lat = LAT + squad * SQUAD_DISTANCE_DEG + number * 0.0002
        riders: list[CompetingRider] = []

        def on_event(name: str, body: dict[str, Any], at_s: float) -> None:
            for rider in riders:
                rider.on_event(name, body, at_s)

        client = await sites[number % len(sites)].connect(identity, on_event)
        rider = CompetingRider(Person(identity, lat, LNG, client))
        riders.append(rider)
        await client.call("set_availability", {"available": True})
        rider.second_client = await sites[(number + 1) % len(sites)].connect(identity, on_event)
        return rider

    def report_positions(self) -> None:
        """Every rider reports its position."""
        for squad in self.squads:
            for rider in squad.riders:
                rider.person.report_position()

    async def keep_reporting(self) -> None:
        """Riders report their positions until cancelled."""
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            self.report_positions()

    async def run_squad(self, squad: Squad) -> None:
        """Run one order after the other."""
        while self.remaining_orders > 0:
            self.remaining_orders -= 1
            await self._run_order(squad)
        await self._cancel_previous_order(squad)

    async def _run_order(self, squad: Squad) -> None:
        customer = self.scenario.customers[squad.number].identity
        body = self.scenario.order_body(squad.number)
        order_id = (await self.scenario.site.request("POST", "/orders", customer, body))["orderId"]
        shop = self.scenario.shop_of(squad.number).socket
        await shop.call("accept_order", {"orderId": order_id})
        offered = await self._wait_for_offers(squad, order_id)
        answers = await asyncio.gather(*(self._accept_copies(rider, order_id) for rider in offered))
        self._count_answers(order_id, offered, answers)
        await self._wait_for_loss_notices(order_id, offered, answers)
        await self._cancel_previous_order(squad)
        squad.previous_order = order_id

    async def _wait_for_offers(self, squad: Squad, order_id: str) -> list[CompetingRider]:
        """Wait until enough riders have an offer; those riders.

        Errors: BenchFailed.
        """
        end_s = time.perf_counter() + OFFER_TIMEOUT_S
        while True:
            offered = [rider for rider in squad.riders if order_id in rider.offers]
            if len(offered) >= self.size.riders:
                return offered
            if time.perf_counter() > end_s:
                raise BenchFailed(f"{order_id} was offered to {len(offered)} riders only")
            await asyncio.sleep(0.005)

    async def _accept_copies(self, rider: CompetingRider, order_id: str) -> list[AcceptAnswer]:
        assert rider.second_client is not None, "the rider has two connections"
        clients = [
            (rider.person.socket, rider.second_client)[each % 2] for each in range(self.size.sends)
        ]
        return await asyncio.gather(
            *(self._send_accept(client, rider, order_id) for client in clients)
        )

    async def _send_accept(
        self, client: SocketClient, rider: CompetingRider, order_id: str
    ) -> AcceptAnswer:
        command = {
            "orderId": order_id,
            "offerId": rider.offers[order_id],
            "commandId": f"accept_{order_id}",
        }
        began_s = time.perf_counter()
        try:
            data, code = await client.call("accept_delivery", command), "ok"
        except CommandRefused as refusal:
            data, code = None, refusal.code
        at_s = time.perf_counter()
        self.accept_s.append(at_s - began_s)
        return AcceptAnswer(data, code, at_s)

    def _count_answers(
        self,
        order_id: str,
        offered: Sequence[CompetingRider],
        answers: Sequence[Sequence[AcceptAnswer]],
    ) -> None:
        """Count the winners, and check that each rider's answers are equal."""
        winners = 0
        for rider, rider_answers in zip(offered, answers, strict=True):
            codes = {each.code for each in rider_answers}
            self.codes.update(each.code for each in rider_answers)
            if "ok" not in codes:
                self.unexpected_codes += len(codes - LOSER_CODES)
                continue
            winners += 1
            self.unequal_answers += any(
                each.data != rider_answers[0].data for each in rider_answers
            )
            self.over_capacity += rider.carried_order is not None
            rider.carried_order = order_id
        self.winner_counts.append(winners)

    async def _wait_for_loss_notices(
        self,
        order_id: str,
        offered: Sequence[CompetingRider],
        answers: Sequence[Sequence[AcceptAnswer]],
    ) -> None:
        """Wait until each loser is notified; record how long after the win."""
        won_s = min(
            (t.answered_s for rider_answers in answers for t in rider_answers if t.code == "ok"),
            default=0.0,
        )
        losers = [rider for rider in offered if rider.carried_order != order_id]
        end_s = time.perf_counter() + OFFER_TIMEOUT_S
        # There is no event for an event that does not arrive.
        while time.perf_counter() < end_s and any(  # noqa: ASYNC110
            order_id not in rider.closed_s for rider in losers
        ):
            await asyncio.sleep(0.005)
        notified_s = [r.closed_s[order_id] for r in losers if order_id in r.closed_s]
        self.uninformed_losers += len(losers) - len(notified_s)
        self.loss_notice_s.extend(max(0.0, at_s - won_s) for at_s in notified_s)

    async def _cancel_previous_order(self, squad: Squad) -> None:
        """Cancel the previous order, which makes its rider free again."""
        if squad.previous_order is None:
            return
        customer = self.scenario.customers[squad.number].identity
        await self.scenario.site.request(
            "POST", f"/orders/{squad.previous_order}/cancel", customer, {}
        )
        for rider in squad.riders:
            if rider.carried_order == squad.previous_order:
                rider.carried_order = None
        squad.previous_order = None

    def progress(self) -> str:
        """Progress as one line of text."""
        return f"{len(self.winner_counts)} of {self.size.orders} orders"

    def figures(self) -> dict[str, Any]:
        """Figures of the run."""
        late_count = sum(s * 1000 > LOSS_NOTICE_MS_MAX for s in self.loss_notice_s)
        return {
            "orders": len(self.winner_counts),
            "wins": sum(self.winner_counts),
            "orders_with_one_winner": self.winner_counts.count(1),
            "answers": dict(self.codes),
            "unexpected_answers": self.unexpected_codes,
            "unequal_answers": self.unequal_answers,
            "over_capacity": self.over_capacity,
            "uninformed_losers": self.uninformed_losers,
            **percentiles_ms("loss_notice", self.loss_notice_s),
            "loss_notices_late": late_count,
            **percentiles_ms("accept", self.accept_s),
        }

    def close(self) -> None:
        """Disconnect all clients."""
        self.scenario.disconnect_all()
        for squad in self.squads:
            for rider in squad.riders:
                rider.person.socket.close()
                assert rider.second_client is not None
                rider.second_client.close()


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """Run all orders.

    Errors: BenchFailed.
    """
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(fleet(folder, NODES))
        run = Run(servers, size, seed)
        stack.callback(run.close)
        await run.prepare()
        await stack.enter_async_context(report_progress("wins", run.progress))
        reporting = asyncio.create_task(run.keep_reporting())
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for squad in run.squads:
                group.create_task(run.run_squad(squad))
        took_s = time.perf_counter() - began_s
        await cancel(reporting)
        faults = sum(len(node.log_faults) for node in servers.nodes)
        return run.figures() | {"took_s": round(took_s, 1), "faults": faults}


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises hold; `slack` multiplies the time limit on a shared machine."""
    wrong = (
        "unexpected_answers",
        "unequal_answers",
        "over_capacity",
        "uninformed_losers",
        "faults",
    )
    return (
        figures["orders"] > 0
        and figures["wins"] == figures["orders_with_one_winner"] == figures["orders"]
        and not any(figures[name] for name in wrong)
        and figures["loss_notice_p99_ms"] <= LOSS_NOTICE_MS_MAX * slack
    )


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100, help="full size: 1000")
    parser.add_argument("--riders", type=int, default=20, help="who accept each order")
    parser.add_argument("--sends", type=int, default=3, help="copies of each accept")
    parser.add_argument("--squads", type=int, default=1, help="orders at a time")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size = Size(options.orders, options.riders, options.sends, options.squads)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, options.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result("wins", {**size._asdict(), "seed": options.seed}, {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
