"""Many riders take one order at once: `python -m tests.e2e.wins --orders 1000` counts the winners.

Each order is offered to all riders of a squad; everyone accepts several times over two nodes.
One JSON line. Full size: --orders 1000 --riders 20 --sends 3.
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
# Squads stand so far apart that no rider is in reach of two shops.
SQUAD_DISTANCE_DEG = 0.1
RADIUS_KM = 1.0
# One rider of a squad carries the order before; another may have got rid of his only just now.
SPARE_RIDERS = 2
# Source: promise, losers are told within 100 ms.
LOSS_NOTICE_MS_MAX = 100.0
OFFER_TIMEOUT_S = 10.0
LOSER_CODES = frozenset({"offer_taken", "offer_expired"})


class Size(NamedTuple):
    """How much is done: `squads` orders at a time, each accepted by `riders`, `sends` times."""

    orders: int
    riders: int
    sends: int
    squads: int


@dataclass(slots=True)
class CompetingRider:
    """A rider with a line to each of two nodes, and what he was told of the present order."""

    person: Person
    second_client: SocketClient | None = None
    offers: dict[str, str] = field(default_factory=dict)
    closed_s: dict[str, float] = field(default_factory=dict)
    carried_order: str | None = None

    def on_event(self, name: str, payload: dict[str, Any], at_s: float) -> None:
        """Both lines say the same; the first counts."""
        if name == "delivery_request":
            self.offers.setdefault(payload["orderId"], payload["offerId"])
        elif name == "delivery_request_closed":
            self.closed_s.setdefault(payload["orderId"], at_s)


class AcceptAnswer(NamedTuple):
    """How one accept was answered: the data, or the code of the refusal; and when."""

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
    """All squads over all nodes, and what was seen."""

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
        """Everybody is there, and all riders around are asked at once."""
        policy = {"waveSizes": [self.size.riders], "radiiKm": [RADIUS_KM], "staggerMs": 0}
        operator: tuple[UserType, str] = ("ADMIN", "adm_1")
        await self.scenario.site.request("PUT", "/admin/config/offers/food", operator, policy)
        for number in range(self.size.squads):
            lat = LAT + number * SQUAD_DISTANCE_DEG
            await self.scenario.add_shop(number, lat, LNG)
        for number in range(self.size.squads):
            await self.scenario.add_customer(number)
            count = self.size.riders + SPARE_RIDERS
            hires = [partial(self._hire, number, each) for each in range(count)]
            self.squads.append(Squad(number, await run_limited(4, hires)))
        self.report_positions()

    async def _hire(self, squad: int, number: int) -> CompetingRider:
        """A rider on duty, a hundred metres further off than the one before him."""
        who: tuple[UserType, str] = ("RIDER", f"rdr_{squad}_{number}")
        sites = [node.site for node in self.fleet.nodes]
        lat = LAT + squad * SQUAD_DISTANCE_DEG + number * 0.0002
        heard: list[CompetingRider] = []

        def hear(name: str, body: dict[str, Any], at_s: float) -> None:
            for racer in heard:
                racer.on_event(name, body, at_s)

        phone = await sites[number % len(sites)].connect(who, hear)
        racer = CompetingRider(Person(who, lat, LNG, phone))
        heard.append(racer)
        await phone.call("set_availability", {"available": True})
        racer.second_client = await sites[(number + 1) % len(sites)].connect(who, hear)
        return racer

    def report_positions(self) -> None:
        """Every rider says where he stands."""
        for squad in self.squads:
            for racer in squad.riders:
                racer.person.report_position()

    async def keep_reporting(self) -> None:
        """Riders say that they are there, for as long as the run takes."""
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            self.report_positions()

    async def run_squad(self, squad: Squad) -> None:
        """One order after the other."""
        while self.remaining_orders > 0:
            self.remaining_orders -= 1
            await self._run_order(squad)
        await self._cancel_previous_order(squad)

    async def _run_order(self, squad: Squad) -> None:
        who = self.scenario.customers[squad.number].identity
        basket = self.scenario.order_body(squad.number)
        order_id = (await self.scenario.site.request("POST", "/orders", who, basket))["orderId"]
        shop = self.scenario.shop_of(squad.number).socket
        await shop.call("accept_order", {"orderId": order_id})
        asked = await self._wait_for_offers(squad, order_id)
        answers = await asyncio.gather(*(self._accept_copies(racer, order_id) for racer in asked))
        self._count_answers(order_id, asked, answers)
        await self._wait_for_loss_notices(order_id, asked, answers)
        await self._cancel_previous_order(squad)
        squad.previous_order = order_id

    async def _wait_for_offers(self, squad: Squad, order_id: str) -> list[CompetingRider]:
        """Wait until as many riders have been asked as shall be; who they are."""
        end_s = time.perf_counter() + OFFER_TIMEOUT_S
        while True:
            asked = [racer for racer in squad.riders if order_id in racer.offers]
            if len(asked) >= self.size.riders:
                return asked
            if time.perf_counter() > end_s:
                raise BenchFailed(f"{order_id} was offered to {len(asked)} riders only")
            await asyncio.sleep(0.005)

    async def _accept_copies(self, rider: CompetingRider, order_id: str) -> list[AcceptAnswer]:
        assert rider.second_client is not None, "he has two lines"
        lines = [
            (rider.person.socket, rider.second_client)[each % 2] for each in range(self.size.sends)
        ]
        return await asyncio.gather(*(self._send_accept(line, rider, order_id) for line in lines))

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
        except CommandRefused as refused:
            data, code = None, refused.code
        at_s = time.perf_counter()
        self.accept_s.append(at_s - began_s)
        return AcceptAnswer(data, code, at_s)

    def _count_answers(
        self,
        order_id: str,
        offered: Sequence[CompetingRider],
        answers: Sequence[Sequence[AcceptAnswer]],
    ) -> None:
        """Who has won, and whether everybody heard the same about it."""
        winners = 0
        for racer, told in zip(offered, answers, strict=True):
            codes = {each.code for each in told}
            self.codes.update(each.code for each in told)
            if "ok" not in codes:
                self.unexpected_codes += len(codes - LOSER_CODES)
                continue
            winners += 1
            self.unequal_answers += any(each.data != told[0].data for each in told)
            self.over_capacity += racer.carried_order is not None
            racer.carried_order = order_id
        self.winner_counts.append(winners)

    async def _wait_for_loss_notices(
        self,
        order_id: str,
        offered: Sequence[CompetingRider],
        answers: Sequence[Sequence[AcceptAnswer]],
    ) -> None:
        """Wait until each loser has heard that he lost, and note how long after the win."""
        won_s = min((t.answered_s for told in answers for t in told if t.code == "ok"), default=0.0)
        losers = [racer for racer in offered if racer.carried_order != order_id]
        end_s = time.perf_counter() + OFFER_TIMEOUT_S
        # Nothing tells of events that do not come.
        while time.perf_counter() < end_s and any(  # noqa: ASYNC110
            order_id not in racer.closed_s for racer in losers
        ):
            await asyncio.sleep(0.005)
        heard = [r.closed_s[order_id] for r in losers if order_id in r.closed_s]
        self.uninformed_losers += len(losers) - len(heard)
        self.loss_notice_s.extend(max(0.0, at_s - won_s) for at_s in heard)

    async def _cancel_previous_order(self, squad: Squad) -> None:
        """The order before the present one ends, and its rider is free again."""
        if squad.previous_order is None:
            return
        who = self.scenario.customers[squad.number].identity
        await self.scenario.site.request("POST", f"/orders/{squad.previous_order}/cancel", who, {})
        for racer in squad.riders:
            if racer.carried_order == squad.previous_order:
                racer.carried_order = None
        squad.previous_order = None

    def progress(self) -> str:
        """How far it has come."""
        return f"{len(self.winner_counts)} of {self.size.orders} orders"

    def figures(self) -> dict[str, Any]:
        """What came out."""
        late = sum(s * 1000 > LOSS_NOTICE_MS_MAX for s in self.loss_notice_s)
        return {
            "orders": len(self.winner_counts),
            "wins": sum(self.winner_counts),
            "orders_with_one_winner": self.winner_counts.count(1),
            "answers": dict(self.codes),
            "strange_answers": self.unexpected_codes,
            "unequal_answers": self.unequal_answers,
            "over_capacity": self.over_capacity,
            "untold": self.uninformed_losers,
            **percentiles_ms("told", self.loss_notice_s),
            "told_late": late,
            **percentiles_ms("accept", self.accept_s),
        }

    def close(self) -> None:
        """Everybody hangs up."""
        self.scenario.disconnect_all()
        for squad in self.squads:
            for racer in squad.riders:
                racer.person.socket.close()
                assert racer.second_client is not None
                racer.second_client.close()


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """All orders.

    Errors: Failed.
    """
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(fleet(folder, NODES))
        run = Run(running, size, seed)
        stack.callback(run.close)
        await run.prepare()
        await stack.enter_async_context(report_progress("wins", run.progress))
        living = asyncio.create_task(run.keep_reporting())
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for squad in run.squads:
                group.create_task(run.run_squad(squad))
        took_s = time.perf_counter() - began_s
        await cancel(living)
        faults = sum(len(node.log_faults) for node in running.nodes)
        return run.figures() | {"took_s": round(took_s, 1), "faults": faults}


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises were kept; `slack` stretches that of time on a shared machine."""
    wrong = ("strange_answers", "unequal_answers", "over_capacity", "untold", "faults")
    return (
        figures["orders"] > 0
        and figures["wins"] == figures["orders_with_one_winner"] == figures["orders"]
        and not any(figures[name] for name in wrong)
        and figures["told_p99_ms"] <= LOSS_NOTICE_MS_MAX * slack
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100, help="full size: 1000")
    parser.add_argument("--riders", type=int, default=20, help="who accept each order")
    parser.add_argument("--sends", type=int, default=3, help="copies of each accept")
    parser.add_argument("--squads", type=int, default=1, help="orders at a time")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.orders, given.riders, given.sends, given.squads)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, given.seed, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result("wins", {**size._asdict(), "seed": given.seed}, {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
