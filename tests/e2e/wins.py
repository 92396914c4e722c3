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

from bench.common.client import Phone, Refused
from bench.common.harness import Failed, at_once, spread_ms
from bench.common.result_line import print_line
from bench.common.scenario import (
    ALIVE_EVERY_S,
    LAT,
    LNG,
    Person,
    Town,
)
from city.client.tokens import UserType
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.e2e.progress import telling

NODES = ("all", "all", "all")
# Squads stand so far apart that no rider is in reach of two shops.
APART_DEG = 0.1
RADIUS_KM = 1.0
# One rider of a squad carries the order before; another may have got rid of his only just now.
SPARE_RIDERS = 2
# Source: promise, losers are told within 100 ms.
TOLD_MS = 100.0
OFFERED_S = 10.0
LOST = frozenset({"offer_taken", "offer_expired"})


class Size(NamedTuple):
    """How much is done: `squads` orders at a time, each accepted by `riders`, `sends` times."""

    orders: int
    riders: int
    sends: int
    squads: int


@dataclass(slots=True)
class Racer:
    """A rider with a line to each of two nodes, and what he was told of the present order."""

    person: Person
    twin: Phone | None = None
    offers: dict[str, str] = field(default_factory=dict)
    closed_s: dict[str, float] = field(default_factory=dict)
    carries: str | None = None

    def hear(self, name: str, body: dict[str, Any], at_s: float) -> None:
        """Both lines say the same; the first counts."""
        if name == "delivery_request":
            self.offers.setdefault(body["orderId"], body["offerId"])
        elif name == "delivery_request_closed":
            self.closed_s.setdefault(body["orderId"], at_s)


class Told(NamedTuple):
    """How one accept was answered: the data, or the code of the refusal; and when."""

    data: dict[str, Any] | None
    code: str
    at_s: float


@dataclass(slots=True)
class Squad:
    """A shop, its customer, and the riders around it."""

    number: int
    racers: list[Racer]
    before: str | None = None


class Run:
    """All squads over all nodes, and what was seen."""

    def __init__(self, running: Fleet, size: Size, seed: int) -> None:
        self.fleet = running
        self.size = size
        self.town = Town(running.nodes[0].site, seed)
        self.squads: list[Squad] = []
        self.left = size.orders
        self.wins: list[int] = []
        self.codes: Counter[str] = Counter()
        self.unequal = self.over_capacity = self.untold = self.stray = 0
        self.told_s: list[float] = []
        self.took_s: list[float] = []

    async def prepare(self) -> None:
        """Everybody is there, and all riders around are asked at once."""
        policy = {"waveSizes": [self.size.riders], "radiiKm": [RADIUS_KM], "staggerMs": 0}
        operator: tuple[UserType, str] = ("ADMIN", "adm_1")
        await self.town.site.ask("PUT", "/admin/config/offers/food", operator, policy)
        for number in range(self.size.squads):
            lat = LAT + number * APART_DEG
            await self.town.open_shop(number, lat, LNG)
        for number in range(self.size.squads):
            await self.town.move_in(number)
            count = self.size.riders + SPARE_RIDERS
            hires = [partial(self._hire, number, each) for each in range(count)]
            self.squads.append(Squad(number, await at_once(4, hires)))
        self.report()

    async def _hire(self, squad: int, number: int) -> Racer:
        """A rider on duty, a hundred metres further off than the one before him."""
        who: tuple[UserType, str] = ("RIDER", f"rdr_{squad}_{number}")
        sites = [node.site for node in self.fleet.nodes]
        lat = LAT + squad * APART_DEG + number * 0.0002
        heard: list[Racer] = []

        def hear(name: str, body: dict[str, Any], at_s: float) -> None:
            for racer in heard:
                racer.hear(name, body, at_s)

        phone = await sites[number % len(sites)].phone(who, hear)
        racer = Racer(Person(who, lat, LNG, phone))
        heard.append(racer)
        await phone.call("set_availability", {"available": True})
        racer.twin = await sites[(number + 1) % len(sites)].phone(who, hear)
        return racer

    def report(self) -> None:
        """Every rider says where he stands."""
        for squad in self.squads:
            for racer in squad.racers:
                racer.person.stand()

    async def live(self) -> None:
        """Riders say that they are there, for as long as the run takes."""
        while True:
            await asyncio.sleep(ALIVE_EVERY_S)
            self.report()

    async def work(self, squad: Squad) -> None:
        """One order after the other."""
        while self.left > 0:
            self.left -= 1
            await self._one_order(squad)
        await self._call_off(squad)

    async def _one_order(self, squad: Squad) -> None:
        who = self.town.customers[squad.number].who
        basket = self.town.basket(squad.number)
        order_id = (await self.town.site.ask("POST", "/orders", who, basket))["orderId"]
        shop = self.town.shop_of(squad.number).phone
        await shop.call("accept_order", {"orderId": order_id})
        asked = await self._offered(squad, order_id)
        answers = await asyncio.gather(*(self._accept(racer, order_id) for racer in asked))
        self._judge(order_id, asked, answers)
        await self._told(order_id, asked, answers)
        await self._call_off(squad)
        squad.before = order_id

    async def _offered(self, squad: Squad, order_id: str) -> list[Racer]:
        """Wait until as many riders have been asked as shall be; who they are."""
        end_s = time.perf_counter() + OFFERED_S
        while True:
            asked = [racer for racer in squad.racers if order_id in racer.offers]
            if len(asked) >= self.size.riders:
                return asked
            if time.perf_counter() > end_s:
                raise Failed(f"{order_id} was offered to {len(asked)} riders only")
            await asyncio.sleep(0.005)

    async def _accept(self, racer: Racer, order_id: str) -> list[Told]:
        assert racer.twin is not None, "he has two lines"
        lines = [(racer.person.phone, racer.twin)[each % 2] for each in range(self.size.sends)]
        return await asyncio.gather(*(self._say(line, racer, order_id) for line in lines))

    async def _say(self, line: Phone, racer: Racer, order_id: str) -> Told:
        command = {
            "orderId": order_id,
            "offerId": racer.offers[order_id],
            "commandId": f"accept_{order_id}",
        }
        began_s = time.perf_counter()
        try:
            data, code = await line.call("accept_delivery", command), "ok"
        except Refused as refused:
            data, code = None, refused.code
        at_s = time.perf_counter()
        self.took_s.append(at_s - began_s)
        return Told(data, code, at_s)

    def _judge(
        self, order_id: str, asked: Sequence[Racer], answers: Sequence[Sequence[Told]]
    ) -> None:
        """Who has won, and whether everybody heard the same about it."""
        winners = 0
        for racer, told in zip(asked, answers, strict=True):
            codes = {each.code for each in told}
            self.codes.update(each.code for each in told)
            if "ok" not in codes:
                self.stray += len(codes - LOST)
                continue
            winners += 1
            self.unequal += any(each.data != told[0].data for each in told)
            self.over_capacity += racer.carries is not None
            racer.carries = order_id
        self.wins.append(winners)

    async def _told(
        self, order_id: str, asked: Sequence[Racer], answers: Sequence[Sequence[Told]]
    ) -> None:
        """Wait until each loser has heard that he lost, and note how long after the win."""
        won_s = min((t.at_s for told in answers for t in told if t.code == "ok"), default=0.0)
        losers = [racer for racer in asked if racer.carries != order_id]
        end_s = time.perf_counter() + OFFERED_S
        # Nothing tells of events that do not come.
        while time.perf_counter() < end_s and any(  # noqa: ASYNC110
            order_id not in racer.closed_s for racer in losers
        ):
            await asyncio.sleep(0.005)
        heard = [r.closed_s[order_id] for r in losers if order_id in r.closed_s]
        self.untold += len(losers) - len(heard)
        self.told_s.extend(max(0.0, at_s - won_s) for at_s in heard)

    async def _call_off(self, squad: Squad) -> None:
        """The order before the present one ends, and its rider is free again."""
        if squad.before is None:
            return
        who = self.town.customers[squad.number].who
        await self.town.site.ask("POST", f"/orders/{squad.before}/cancel", who, {})
        for racer in squad.racers:
            if racer.carries == squad.before:
                racer.carries = None
        squad.before = None

    def progress(self) -> str:
        """How far it has come."""
        return f"{len(self.wins)} of {self.size.orders} orders"

    def figures(self) -> dict[str, Any]:
        """What came out."""
        late = sum(s * 1000 > TOLD_MS for s in self.told_s)
        return {
            "orders": len(self.wins),
            "wins": sum(self.wins),
            "orders_with_one_winner": self.wins.count(1),
            "answers": dict(self.codes),
            "strange_answers": self.stray,
            "unequal_answers": self.unequal,
            "over_capacity": self.over_capacity,
            "untold": self.untold,
            **spread_ms("told", self.told_s),
            "told_late": late,
            **spread_ms("accept", self.took_s),
        }

    def close(self) -> None:
        """Everybody hangs up."""
        self.town.close()
        for squad in self.squads:
            for racer in squad.racers:
                racer.person.phone.close()
                assert racer.twin is not None
                racer.twin.close()


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """All orders.

    Errors: Failed.
    """
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(fleet(folder, NODES))
        run = Run(running, size, seed)
        stack.callback(run.close)
        await run.prepare()
        await stack.enter_async_context(telling("wins", run.progress))
        living = asyncio.create_task(run.live())
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for squad in run.squads:
                group.create_task(run.work(squad))
        took_s = time.perf_counter() - began_s
        await cancel(living)
        faults = sum(len(node.faults) for node in running.nodes)
        return run.figures() | {"took_s": round(took_s, 1), "faults": faults}


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether the promises were kept; `slack` stretches that of time on a shared machine."""
    wrong = ("strange_answers", "unequal_answers", "over_capacity", "untold", "faults")
    return (
        figures["orders"] > 0
        and figures["wins"] == figures["orders_with_one_winner"] == figures["orders"]
        and not any(figures[name] for name in wrong)
        and figures["told_p99_ms"] <= TOLD_MS * slack
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
    print_line("wins", {**size._asdict(), "seed": given.seed}, {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
