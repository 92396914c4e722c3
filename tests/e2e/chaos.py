"""Servers are killed again and again in a working town: `python -m tests.e2e.chaos --orders 200`.

Three nodes on one Redis and one DynamoDB engine; `kill -9` hits a random one at random times, now
and then Redis as well; each comes back at once. An auditor judges what people were acknowledged and
told against the raw items. One JSON line. Full size: --orders 2000 --kills 200.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aioboto3
import aiohttp
import uvloop
from boto3.dynamodb.types import TypeDeserializer

from bench.common.harness import at_once
from bench.common.result_line import print_line
from bench.common.scenario import LAT, LNG
from city.demo.server_process import ServerDown
from tests.e2e import invariants
from tests.e2e.actors import Customer, Rider, Vendor
from tests.e2e.fleet import Fleet, Node, fleet
from tests.e2e.invariants import Facts, Finding
from tests.e2e.listeners import wait_for
from tests.e2e.progress import say, telling
from tests.e2e.swarm import FIX_EVERY_S, TICK_S, Doors, Record

# Two nodes hold sockets, two may be the live engine; every kill hits one, the other or both.
ROLES = ("all", "edge", "engine")
CUSTOMERS, VENDORS, RIDERS = 40, 8, 70
SHOPS_WITHIN_DEG = 0.008
AT_ONCE = 8
# Source: promise, all orders have ended within 60 s of the last fault.
ENDED_S = 60.0
# Beyond it nothing more is waited for.
GIVE_UP_S = 120.0
LAST_WORDS_S = 1.0
# Orders under way at once; riders are more.
OPEN_MAX = 50
# A kill waits for its share of the orders to end, so that work is spread over all kills on a slow
# machine as well; but no longer than that.
HELD_UP_S = 10.0
LOOK_S = 0.25
REDIS_AWAY_S = 1.5
REDIS_SHARE = 0.1
EVERY_S = 1.0
# Where orders are decided together; everything is quick here.
BATCH_EVERY_MS = 1_000


class Size(NamedTuple):
    """How much is done, how often something is killed, how often Redis beside it; the offers' mode.

    Units: seconds between kills, at least, on average.
    """

    orders: int
    kills: int
    every_s: float = EVERY_S
    redis_share: float = REDIS_SHARE
    mode: str = "offers"


@dataclass(slots=True)
class Seat:
    """A place in the fleet: killed, it is taken by another process at once, at the same port."""

    role: str
    node: Node
    is_up: bool = True
    reviving: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class Reaper:
    """Kills, and sees to it that what was killed comes back."""

    fleet: Fleet
    seats: list[Seat]
    rng: random.Random
    kills: int = 0
    redis_kills: int = 0
    last_s: float = field(default_factory=time.perf_counter)

    def urls(self) -> list[str]:
        """Where a balancer would send people now; anywhere where nothing is up."""
        edges = [seat for seat in self.seats if seat.role != "engine"]
        up = [seat for seat in edges if seat.is_up]
        return [seat.node.site.url for seat in up or edges]

    def progress(self, size: Size) -> float:
        """How far it has come, from 0 to 1."""
        return self.kills / size.kills if size.kills else 1.0

    async def kill_again(self, size: Size, ended: Callable[[], int]) -> None:
        """So many kills, at random times, spread over the orders."""
        while self.kills < size.kills:
            due = size.orders * (self.kills + 1) // size.kills - OPEN_MAX
            await wait_for(lambda: ended() >= due, HELD_UP_S)  # noqa: B023 (it is over when we go on)
            await asyncio.sleep(self.rng.expovariate(1 / size.every_s))
            if self.rng.random() < size.redis_share:
                await self._kill_redis()
            await self._kill(self.rng.choice(self.seats))
        await asyncio.gather(*(seat.reviving for seat in self.seats if seat.reviving))

    async def _kill(self, seat: Seat) -> None:
        self.kills += 1
        seat.is_up = False
        await seat.node.server.kill()
        self.last_s = time.perf_counter()
        if seat.reviving is None or seat.reviving.done():
            seat.reviving = asyncio.create_task(self._revive(seat))

    async def _revive(self, seat: Seat) -> None:
        """Bring it back; it may be killed again before it is ready."""
        port = int(seat.node.site.url.rpartition(":")[2])
        while not seat.is_up:
            seat.node = await self.fleet.spawn(seat.role, port)
            try:
                await seat.node.server.ready(self.fleet.session, lambda _line: None)
            except ServerDown:
                if seat.node.server.process.returncode != -9:
                    raise
                continue
            seat.is_up = not seat.node.server.has_ended

    async def _kill_redis(self) -> None:
        self.redis_kills += 1
        await self.fleet.valkey.kill()
        await asyncio.sleep(self.rng.uniform(0, REDIS_AWAY_S))
        await self.fleet.valkey.start()
        self.last_s = time.perf_counter()


class Town:
    """Everybody in it."""

    def __init__(self, doors: Doors, seed: int) -> None:
        rng = random.Random(seed)
        self.record = Record()

        def people(kind: Any, prefix: str, count: int) -> list[Any]:
            return [
                kind(f"{prefix}_{n}", doors, self.record, random.Random(rng.random()))
                for n in range(count)
            ]

        self.customers: list[Customer] = people(Customer, "usr", CUSTOMERS)
        self.vendors: list[Vendor] = people(Vendor, "ven", VENDORS)
        self.riders: list[Rider] = people(Rider, "rdr", RIDERS)
        self.rng = rng
        self.placed = self.ended = 0

    async def settle_in(self) -> None:
        """Shops and purses, before the first kill."""
        for vendor in self.vendors:
            await vendor.open_shop(LAT + self._near(), LNG + self._near())
        for rider in self.riders:
            rider.lat, rider.lng = LAT + self._near(), LNG + self._near()
        await at_once(AT_ONCE, [customer.fill_purse for customer in self.customers])

    def _near(self) -> float:
        return self.rng.uniform(-SHOPS_WITHIN_DEG, SHOPS_WITHIN_DEG)

    async def are_here(self) -> None:
        """Wait until everybody has come in and said so."""
        for person in (*self.customers, *self.vendors, *self.riders):
            await person.is_here.wait()

    async def live(self) -> None:
        """All lines, for as long as it is let."""
        async with asyncio.TaskGroup() as group:
            for person in (*self.customers, *self.vendors, *self.riders):
                group.create_task(person.live())
            group.create_task(self._report())

    async def _report(self) -> None:
        """Riders say in turn where they are."""
        turn = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            before, turn = int(turn), turn + len(self.riders) * TICK_S / FIX_EVERY_S
            for number in range(before, int(turn)):
                await self.riders[number % len(self.riders)].report()

    async def trade(self, orders: int, progress: Callable[[], float]) -> None:
        """So many orders, as the kills go on; until all have ended. `progress` runs from 0 to 1."""
        open_ = asyncio.Semaphore(OPEN_MAX)
        async with asyncio.TaskGroup() as group:
            for number in range(orders):
                await wait_for(lambda: number <= progress() * orders + OPEN_MAX, HELD_UP_S)  # noqa: B023
                await open_.acquire()
                order = group.create_task(self._one(number))
                order.add_done_callback(lambda _: open_.release())

    async def _one(self, number: int) -> None:
        self.placed += 1
        vendor = self.rng.choice(self.vendors).name
        await self.customers[number % len(self.customers)].order(number, vendor)
        self.ended += 1


async def raw_items(running: Fleet) -> list[dict[str, Any]]:
    """Every item of the table, as the engine has it."""
    read = TypeDeserializer()
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    # The checker does not see what the session makes.
    client: Any = aioboto3.Session(**keys, region_name="eu-west-1").client(
        "dynamodb", endpoint_url=running.environ["DYNAMODB_ENDPOINT"]
    )
    async with client as dynamodb:
        pages = dynamodb.get_paginator("scan").paginate(TableName="reeyo", ConsistentRead=True)
        return [
            {name: read.deserialize(value) for name, value in item.items()}
            async for page in pages
            for item in page["Items"]
        ]


def is_over(items: Sequence[dict[str, Any]]) -> bool:
    """Whether no order moves any more and nothing waits to be said."""
    return not any(
        item["PK"].startswith("OUTBOX#") or str(item.get("GSI4PK", "")).startswith("ORDERS#OPEN")
        for item in items
    )


async def wait_for_end(running: Fleet, trading: "asyncio.Task[None]", last_s: float) -> float:
    """How long after the last fault the last order has ended. Units: seconds."""
    await asyncio.wait([trading], timeout=max(0.0, last_s + GIVE_UP_S - time.perf_counter()))
    end_s = last_s + GIVE_UP_S
    # The table tells nobody that nothing moves any more.
    while not is_over(await raw_items(running)) and time.perf_counter() < end_s:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)
    return time.perf_counter() - last_s


def progress(town: Town, reaper: Reaper) -> str:
    """How it goes."""
    return (
        f"{town.ended} of {town.placed} orders ended, {reaper.kills} kills,"
        f" {reaper.redis_kills} of Redis, {len(town.record.acks)} acknowledged"
    )


async def measure(size: Size, seed: int, folder: Path) -> tuple[dict[str, Any], list[Finding]]:
    """One run and its judgement."""
    rng = random.Random(seed)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        fleet(folder, ROLES) as running,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        seats = [Seat(node.role, node) for node in running.nodes]
        reaper = Reaper(running, seats, rng)
        town = Town(Doors(reaper.urls, session, running.office), seed)
        await town.settle_in()
        door = next(node for node in running.nodes if node.role != "engine")
        how = {"mode": size.mode, "batchEveryMs": BATCH_EVERY_MS}
        await door.site.ask("PUT", "/admin/config/offers/food", ("ADMIN", "adm_1"), how)
        async with (
            telling("chaos", partial(progress, town, reaper)),
            asyncio.TaskGroup() as group,
        ):
            living = group.create_task(town.live())
            await town.are_here()
            trading = group.create_task(town.trade(size.orders, lambda: reaper.progress(size)))
            await reaper.kill_again(size, lambda: town.ended)
            ended_s = await wait_for_end(running, trading, reaper.last_s)
            # What was relayed last is still on its way to the apps.
            await asyncio.sleep(LAST_WORDS_S)
            for task in (trading, living):
                task.cancel()
        facts = Facts(town.record, await raw_items(running), _faults(running), len(running.nodes))
        findings = invariants.judge(facts)
        return _figures(town, reaper, facts, ended_s), findings


def _faults(running: Fleet) -> list[str]:
    return [line for node in running.nodes for line in node.faults]


def _figures(town: Town, reaper: Reaper, facts: Facts, ended_s: float) -> dict[str, Any]:
    happened = town.record.tally.happened
    return {
        "kills": reaper.kills,
        "redis_kills": reaper.redis_kills,
        "ended_after_last_fault_s": round(ended_s, 1),
        "statuses": dict(Counter(order["status"] for order in facts.orders.values())),
        "acknowledged": len(facts.done),
        "refused": len(town.record.acks) - len(facts.done),
        "commands_repeated": happened["commands_repeated"],
        "lines_opened": happened["lines_opened"],
        "events": len(town.record.heard),
        "resyncs": sum(heard.name == "resync" for heard in town.record.heard),
        "events_excused_by_resync": invariants.excused(facts),
        "positions": town.record.positions,
    }


def is_good(figures: dict[str, Any], findings: Sequence[Finding]) -> bool:
    """Whether the promises were kept; a promise that nothing was held against is not."""
    return (
        all(finding.of and not finding.wrong for finding in findings)
        and figures["ended_after_last_fault_s"] <= ENDED_S
    )


def shown(findings: Sequence[Finding]) -> dict[str, str]:
    """Each promise as how many were wrong of how many."""
    return {finding.name: f"{len(finding.wrong)} of {finding.of}" for finding in findings}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--every", type=float, default=EVERY_S, help="seconds between kills, on average"
    )
    parser.add_argument("--redis-share", type=float, default=REDIS_SHARE, help="of the kills")
    parser.add_argument(
        "--mode", choices=("offers", "batch", "auto"), default="offers", help="how riders are asked"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.orders, given.kills, given.every, given.redis_share, given.mode)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures, findings = uvloop.run(measure(size, given.seed, Path(folder)))
    for finding in findings:
        for wrong in finding.wrong[:20]:
            say("chaos", f"{finding.name}: {wrong}")
    result = "kept" if is_good(figures, findings) else "broken"
    print_line(
        "chaos",
        {**size._asdict(), "seed": given.seed},
        {**figures, **shown(findings), "result": result},
    )
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
