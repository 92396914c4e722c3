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

from bench.common.harness import run_limited
from bench.common.result_line import print_result
from bench.common.scenario import LAT, LNG
from city.demo.server_process import ServerDown
from tests.e2e import invariants
from tests.e2e.fleet import Fleet, Node, fleet
from tests.e2e.invariants import CheckResult, RunEvidence
from tests.e2e.listeners import wait_for
from tests.e2e.progress import print_progress, report_progress
from tests.e2e.retrying_client import FIX_EVERY_S, TICK_S, ServerAccess, SwarmRecord
from tests.e2e.swarm_actors import Customer, Rider, Vendor

# Two nodes hold sockets, two may be the live engine; every kill hits one, the other or both.
ROLES = ("all", "edge", "engine")
CUSTOMERS, VENDORS, RIDERS = 40, 8, 70
SHOPS_WITHIN_DEG = 0.008
CONCURRENT_TOP_UPS = 8
# Source: promise, all orders have ended within 60 s of the last fault.
END_TIMEOUT_S = 60.0
# Beyond it nothing more is waited for.
GIVE_UP_S = 120.0
FINAL_EVENTS_S = 1.0
# Orders under way at once; riders are more.
OPEN_MAX = 50
# A kill waits for its share of the orders to end, so that work is spread over all kills on a slow
# machine as well; but no longer than that.
PACING_S_MAX = 10.0
POLL_S = 0.25
REDIS_DOWN_S_MAX = 1.5
REDIS_KILL_SHARE = 0.1
KILL_EVERY_S = 1.0
# Where orders are decided together; everything is quick here.
BATCH_EVERY_MS = 1_000


class Size(NamedTuple):
    """How much is done, how often something is killed, how often Redis beside it; the offers' mode.

    Units: seconds between kills, at least, on average.
    """

    orders: int
    kills: int
    every_s: float = KILL_EVERY_S
    redis_share: float = REDIS_KILL_SHARE
    mode: str = "offers"


@dataclass(slots=True)
class NodeSlot:
    """A place in the fleet: killed, it is taken by another process at once, at the same port."""

    role: str
    node: Node
    is_up: bool = True
    restarting: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class NodeKiller:
    """Kills, and sees to it that what was killed comes back."""

    fleet: Fleet
    slots: list[NodeSlot]
    rng: random.Random
    kills: int = 0
    redis_kills: int = 0
    last_fault_s: float = field(default_factory=time.perf_counter)

    def urls(self) -> list[str]:
        """Where a balancer would send people now; anywhere where nothing is up."""
        edges = [seat for seat in self.slots if seat.role != "engine"]
        up = [seat for seat in edges if seat.is_up]
        return [seat.node.site.url for seat in up or edges]

    def completed_share(self, size: Size) -> float:
        """How far it has come, from 0 to 1."""
        return self.kills / size.kills if size.kills else 1.0

    async def kill_repeatedly(self, size: Size, ended_count: Callable[[], int]) -> None:
        """So many kills, at random times, spread over the orders."""
        while self.kills < size.kills:
            due = size.orders * (self.kills + 1) // size.kills - OPEN_MAX
            await wait_for(lambda: ended_count() >= due, PACING_S_MAX)  # noqa: B023 (it is over when we go on)
            await asyncio.sleep(self.rng.expovariate(1 / size.every_s))
            if self.rng.random() < size.redis_share:
                await self._kill_redis()
            await self._kill(self.rng.choice(self.slots))
        await asyncio.gather(*(seat.restarting for seat in self.slots if seat.restarting))

    async def _kill(self, slot: NodeSlot) -> None:
        self.kills += 1
        slot.is_up = False
        await slot.node.server.kill()
        self.last_fault_s = time.perf_counter()
        if slot.restarting is None or slot.restarting.done():
            slot.restarting = asyncio.create_task(self._restart(slot))

    async def _restart(self, slot: NodeSlot) -> None:
        """Bring it back; it may be killed again before it is ready."""
        port = int(slot.node.site.url.rpartition(":")[2])
        while not slot.is_up:
            slot.node = await self.fleet.spawn(slot.role, port)
            try:
                await slot.node.server.wait_ready(self.fleet.session, lambda _line: None)
            except ServerDown:
                if slot.node.server.process.returncode != -9:
                    raise
                continue
            slot.is_up = not slot.node.server.has_ended

    async def _kill_redis(self) -> None:
        self.redis_kills += 1
        await self.fleet.valkey.kill()
        await asyncio.sleep(self.rng.uniform(0, REDIS_DOWN_S_MAX))
        await self.fleet.valkey.start()
        self.last_fault_s = time.perf_counter()


class Swarm:
    """Everybody in it."""

    def __init__(self, servers: ServerAccess, seed: int) -> None:
        rng = random.Random(seed)
        self.record = SwarmRecord()

        def people(kind: Any, prefix: str, count: int) -> list[Any]:
            return [
                kind(f"{prefix}_{n}", servers, self.record, random.Random(rng.random()))
                for n in range(count)
            ]

        self.customers: list[Customer] = people(Customer, "usr", CUSTOMERS)
        self.vendors: list[Vendor] = people(Vendor, "ven", VENDORS)
        self.riders: list[Rider] = people(Rider, "rdr", RIDERS)
        self.rng = rng
        self.placed = self.ended = 0

    async def prepare(self) -> None:
        """Shops and purses, before the first kill."""
        for vendor in self.vendors:
            await vendor.open_shop(LAT + self._random_offset_deg(), LNG + self._random_offset_deg())
        for rider in self.riders:
            rider.lat, rider.lng = LAT + self._random_offset_deg(), LNG + self._random_offset_deg()
        await run_limited(
            CONCURRENT_TOP_UPS, [customer.top_up_wallet for customer in self.customers]
        )

    def _random_offset_deg(self) -> float:
        return self.rng.uniform(-SHOPS_WITHIN_DEG, SHOPS_WITHIN_DEG)

    async def wait_until_online(self) -> None:
        """Wait until everybody has come in and said so."""
        for person in (*self.customers, *self.vendors, *self.riders):
            await person.is_online.wait()

    async def run(self) -> None:
        """All lines, for as long as it is let."""
        async with asyncio.TaskGroup() as group:
            for person in (*self.customers, *self.vendors, *self.riders):
                group.create_task(person.run())
            group.create_task(self._report_positions())

    async def _report_positions(self) -> None:
        """Riders say in turn where they are."""
        turn = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            before, turn = int(turn), turn + len(self.riders) * TICK_S / FIX_EVERY_S
            for number in range(before, int(turn)):
                await self.riders[number % len(self.riders)].report_position()

    async def place_orders(self, orders: int, completed_share: Callable[[], float]) -> None:
        """So many orders, as the kills go on; until all have ended. `progress` runs from 0 to 1."""
        open_ = asyncio.Semaphore(OPEN_MAX)
        async with asyncio.TaskGroup() as group:
            for number in range(orders):
                await wait_for(
                    lambda number=number: number <= completed_share() * orders + OPEN_MAX,
                    PACING_S_MAX,
                )
                await open_.acquire()
                order = group.create_task(self._run_order(number))
                order.add_done_callback(lambda _: open_.release())

    async def _run_order(self, number: int) -> None:
        self.placed += 1
        vendor = self.rng.choice(self.vendors).user_id
        await self.customers[number % len(self.customers)].place_and_wait(number, vendor)
        self.ended += 1


async def scan_table(running: Fleet) -> list[dict[str, Any]]:
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


def is_quiescent(items: Sequence[dict[str, Any]]) -> bool:
    """Whether no order moves any more and nothing waits to be said."""
    return not any(
        item["PK"].startswith("OUTBOX#") or str(item.get("GSI4PK", "")).startswith("ORDERS#OPEN")
        for item in items
    )


async def wait_until_quiescent(
    running: Fleet, ordering: "asyncio.Task[None]", last_fault_s: float
) -> float:
    """How long after the last fault the last order has ended. Units: seconds."""
    await asyncio.wait([ordering], timeout=max(0.0, last_fault_s + GIVE_UP_S - time.perf_counter()))
    end_s = last_fault_s + GIVE_UP_S
    # The table tells nobody that nothing moves any more.
    while not is_quiescent(await scan_table(running)) and time.perf_counter() < end_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    return time.perf_counter() - last_fault_s


def describe_progress(swarm: Swarm, killer: NodeKiller) -> str:
    """How it goes."""
    return (
        f"{swarm.ended} of {swarm.placed} orders ended, {killer.kills} kills,"
        f" {killer.redis_kills} of Redis, {len(swarm.record.acks)} acknowledged"
    )


async def measure(size: Size, seed: int, folder: Path) -> tuple[dict[str, Any], list[CheckResult]]:
    """One run and its judgement."""
    rng = random.Random(seed)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        fleet(folder, ROLES) as running,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        seats = [NodeSlot(node.role, node) for node in running.nodes]
        reaper = NodeKiller(running, seats, rng)
        town = Swarm(ServerAccess(reaper.urls, session, running.token_signer), seed)
        await town.prepare()
        door = next(node for node in running.nodes if node.role != "engine")
        how = {"mode": size.mode, "batchEveryMs": BATCH_EVERY_MS}
        await door.site.request("PUT", "/admin/config/offers/food", ("ADMIN", "adm_1"), how)
        async with (
            report_progress("chaos", partial(describe_progress, town, reaper)),
            asyncio.TaskGroup() as group,
        ):
            living = group.create_task(town.run())
            await town.wait_until_online()
            trading = group.create_task(
                town.place_orders(size.orders, lambda: reaper.completed_share(size))
            )
            await reaper.kill_repeatedly(size, lambda: town.ended)
            ended_s = await wait_until_quiescent(running, trading, reaper.last_fault_s)
            # What was relayed last is still on its way to the apps.
            await asyncio.sleep(FINAL_EVENTS_S)
            for task in (trading, living):
                task.cancel()
        facts = RunEvidence(
            town.record, await scan_table(running), _log_faults(running), len(running.nodes)
        )
        findings = invariants.run_checks(facts)
        return _figures(town, reaper, facts, ended_s), findings


def _log_faults(running: Fleet) -> list[str]:
    return [line for node in running.nodes for line in node.log_faults]


def _figures(
    swarm: Swarm, killer: NodeKiller, evidence: RunEvidence, ended_s: float
) -> dict[str, Any]:
    happened = swarm.record.counters.counts
    return {
        "kills": killer.kills,
        "redis_kills": killer.redis_kills,
        "ended_after_last_fault_s": round(ended_s, 1),
        "statuses": dict(Counter(order["status"] for order in evidence.orders.values())),
        "acknowledged": len(evidence.acknowledged),
        "refused": len(swarm.record.acks) - len(evidence.acknowledged),
        "commands_repeated": happened["commands_repeated"],
        "connections_opened": happened["connections_opened"],
        "events": len(swarm.record.events),
        "resyncs": sum(heard.name == "resync" for heard in swarm.record.events),
        "events_excused_by_resync": invariants.count_events_lost_to_resync(evidence),
        "positions": swarm.record.position_count,
    }


def is_good(figures: dict[str, Any], results: Sequence[CheckResult]) -> bool:
    """Whether the promises were kept; a promise that nothing was held against is not."""
    return (
        all(finding.checked_count and not finding.violations for finding in results)
        and figures["ended_after_last_fault_s"] <= END_TIMEOUT_S
    )


def summarize_results(results: Sequence[CheckResult]) -> dict[str, str]:
    """Each promise as how many were wrong of how many."""
    return {
        finding.name: f"{len(finding.violations)} of {finding.checked_count}" for finding in results
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--every", type=float, default=KILL_EVERY_S, help="seconds between kills, on average"
    )
    parser.add_argument("--redis-share", type=float, default=REDIS_KILL_SHARE, help="of the kills")
    parser.add_argument(
        "--mode", choices=("offers", "batch", "auto"), default="offers", help="how riders are asked"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.orders, given.kills, given.every, given.redis_share, given.mode)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures, findings = uvloop.run(measure(size, given.seed, Path(folder)))
    for finding in findings:
        for wrong in finding.violations[:20]:
            print_progress("chaos", f"{finding.name}: {wrong}")
    result = "kept" if is_good(figures, findings) else "broken"
    print_result(
        "chaos",
        {**size._asdict(), "seed": given.seed},
        {**figures, **summarize_results(findings), "result": result},
    )
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
