"""Chaos test: kills servers while orders run. `python -m tests.e2e.chaos --orders 200`.

Three nodes share one Redis and one DynamoDB engine. `kill -9` hits a random node at random times,
sometimes Redis as well; each is restarted at once. tests.e2e.invariants then compares what the
clients were acknowledged and sent with the raw items of the table. Prints one JSON line. Full size:
--orders 2000 --kills 200.
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

# Two nodes hold sockets, two can be the live engine: every kill hits one, the other or both.
ROLES = ("all", "edge", "engine")
CUSTOMERS, VENDORS, RIDERS = 40, 8, 70
SHOPS_WITHIN_DEG = 0.008
CONCURRENT_TOP_UPS = 8
# Source: docs/promises.md, all orders have ended within 60 s of the last fault.
END_TIMEOUT_S = 60.0
# After this the run stops waiting for orders that have not ended.
GIVE_UP_S = 120.0
FINAL_EVENTS_S = 1.0
# Orders open at once; fewer than there are riders.
OPEN_MAX = 50
# A kill waits until its share of the orders has ended, so that the load is spread over all kills
# on a slow machine as well, but at most this long.
PACING_S_MAX = 10.0
POLL_S = 0.25
REDIS_DOWN_S_MAX = 1.5
REDIS_KILL_SHARE = 0.1
KILL_EVERY_S = 1.0
# Batch interval where orders are decided together; short, as all waits are here.
BATCH_EVERY_MS = 1_000


class Size(NamedTuple):
    """Size of a run: orders, kills, their mean interval, share of Redis kills, matching mode.

    Units: seconds.
    """

    orders: int
    kills: int
    every_s: float = KILL_EVERY_S
    redis_share: float = REDIS_KILL_SHARE
    mode: str = "offers"


@dataclass(slots=True)
class NodeSlot:
    """One server of the fleet; a killed process is replaced by another one at the same port."""

    role: str
    node: Node
    is_up: bool = True
    restarting: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class NodeKiller:
    """Kills random nodes (and sometimes Redis) and restarts them."""

    fleet: Fleet
    slots: list[NodeSlot]
    rng: random.Random
    kills: int = 0
    redis_kills: int = 0
    last_fault_s: float = field(default_factory=time.perf_counter)

    def urls(self) -> list[str]:
        """Base URLs of the edges that are up, as a load balancer would choose; all if none is."""
        edges = [slot for slot in self.slots if slot.role != "engine"]
        up = [slot for slot in edges if slot.is_up]
        return [slot.node.site.url for slot in up or edges]

    def completed_share(self, size: Size) -> float:
        """Share of the kills that are done, from 0 to 1."""
        return self.kills / size.kills if size.kills else 1.0

    async def kill_repeatedly(self, size: Size, ended_count: Callable[[], int]) -> None:
        """Kill random nodes at random times, spread over the orders."""
        while self.kills < size.kills:
            due = size.orders * (self.kills + 1) // size.kills - OPEN_MAX
            await wait_for(lambda: ended_count() >= due, PACING_S_MAX)  # noqa: B023 (awaited in this iteration)
            await asyncio.sleep(self.rng.expovariate(1 / size.every_s))
            if self.rng.random() < size.redis_share:
                await self._kill_redis()
            await self._kill(self.rng.choice(self.slots))
        await asyncio.gather(*(slot.restarting for slot in self.slots if slot.restarting))

    async def _kill(self, slot: NodeSlot) -> None:
        self.kills += 1
        slot.is_up = False
        await slot.node.server.kill()
        self.last_fault_s = time.perf_counter()
        if slot.restarting is None or slot.restarting.done():
            slot.restarting = asyncio.create_task(self._restart(slot))

    async def _restart(self, slot: NodeSlot) -> None:
        """Restart a node; it may be killed again before it is ready."""
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
    """All simulated clients of a run: customers, vendors and riders."""

    def __init__(self, servers: ServerAccess, seed: int) -> None:
        rng = random.Random(seed)
        self.record = SwarmRecord()

        def make_clients(client_class: Any, prefix: str, count: int) -> list[Any]:
            return [
                client_class(f"{prefix}_{n}", servers, self.record, random.Random(rng.random()))
                for n in range(count)
            ]

        self.customers: list[Customer] = make_clients(Customer, "usr", CUSTOMERS)
        self.vendors: list[Vendor] = make_clients(Vendor, "ven", VENDORS)
        self.riders: list[Rider] = make_clients(Rider, "rdr", RIDERS)
        self.rng = rng
        self.placed = self.ended = 0

    async def prepare(self) -> None:
        """Open the shops and fill the wallets, before the first kill."""
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
        """Wait until every client is connected and online."""
        for client in (*self.customers, *self.vendors, *self.riders):
            await client.is_online.wait()

    async def run(self) -> None:
        """Run every client and the position reports until cancelled."""
        async with asyncio.TaskGroup() as group:
            for client in (*self.customers, *self.vendors, *self.riders):
                group.create_task(client.run())
            group.create_task(self._report_positions())

    async def _report_positions(self) -> None:
        """Riders report their positions in turn."""
        turn = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            before, turn = int(turn), turn + len(self.riders) * TICK_S / FIX_EVERY_S
            for number in range(before, int(turn)):
                await self.riders[number % len(self.riders)].report_position()

    async def place_orders(self, orders: int, completed_share: Callable[[], float]) -> None:
        """Place orders at the pace of the kills and wait until all have ended.

        `completed_share` returns the share of the kills that are done, from 0 to 1.
        """
        slots = asyncio.Semaphore(OPEN_MAX)
        async with asyncio.TaskGroup() as group:
            for number in range(orders):
                await wait_for(
                    lambda number=number: number <= completed_share() * orders + OPEN_MAX,
                    PACING_S_MAX,
                )
                await slots.acquire()
                order = group.create_task(self._run_order(number))
                order.add_done_callback(lambda _: slots.release())

    async def _run_order(self, number: int) -> None:
        self.placed += 1
        vendor = self.rng.choice(self.vendors).user_id
        await self.customers[number % len(self.customers)].place_and_wait(number, vendor)
        self.ended += 1


async def scan_table(servers: Fleet) -> list[dict[str, Any]]:
    """Every item of the table, read from the engine itself."""
    deserializer = TypeDeserializer()
    credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    # aioboto3's clients are generated at run time; the type checker does not know them.
    client: Any = aioboto3.Session(**credentials, region_name="eu-west-1").client(
        "dynamodb", endpoint_url=servers.environ["DYNAMODB_ENDPOINT"]
    )
    async with client as dynamodb:
        pages = dynamodb.get_paginator("scan").paginate(TableName="reeyo", ConsistentRead=True)
        return [
            {name: deserializer.deserialize(value) for name, value in item.items()}
            async for page in pages
            for item in page["Items"]
        ]


def is_quiescent(items: Sequence[dict[str, Any]]) -> bool:
    """Whether every order has ended and the outbox is empty."""
    return not any(
        item["PK"].startswith("OUTBOX#") or str(item.get("GSI4PK", "")).startswith("ORDERS#OPEN")
        for item in items
    )


async def wait_until_quiescent(
    servers: Fleet, ordering: "asyncio.Task[None]", last_fault_s: float
) -> float:
    """Wait until all orders have ended; time since the last fault. Units: seconds."""
    await asyncio.wait([ordering], timeout=max(0.0, last_fault_s + GIVE_UP_S - time.perf_counter()))
    end_s = last_fault_s + GIVE_UP_S
    # There is no event for it, so the table is polled.
    while not is_quiescent(await scan_table(servers)) and time.perf_counter() < end_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    return time.perf_counter() - last_fault_s


def describe_progress(swarm: Swarm, killer: NodeKiller) -> str:
    """Progress as one line of text."""
    return (
        f"{swarm.ended} of {swarm.placed} orders ended, {killer.kills} kills,"
        f" {killer.redis_kills} of Redis, {len(swarm.record.acks)} acknowledged"
    )


async def measure(size: Size, seed: int, folder: Path) -> tuple[dict[str, Any], list[CheckResult]]:
    """Run once; its figures and the results of all checks."""
    rng = random.Random(seed)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        # A customer here orders without waiting for its last order.
        fleet(folder, ROLES, UNPAID_ORDERS_MAX="50", UNPAID_VALUE_MAX="10000000") as servers,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        slots = [NodeSlot(node.role, node) for node in servers.nodes]
        killer = NodeKiller(servers, slots, rng)
        swarm = Swarm(ServerAccess(killer.urls, session, servers.token_signer), seed)
        await swarm.prepare()
        edge = next(node for node in servers.nodes if node.role != "engine")
        policy = {"mode": size.mode, "batchEveryMs": BATCH_EVERY_MS}
        await edge.site.request("PUT", "/admin/config/offers/food", ("ADMIN", "adm_1"), policy)
        async with (
            report_progress("chaos", partial(describe_progress, swarm, killer)),
            asyncio.TaskGroup() as group,
        ):
            running_clients = group.create_task(swarm.run())
            await swarm.wait_until_online()
            placing = group.create_task(
                swarm.place_orders(size.orders, lambda: killer.completed_share(size))
            )
            await killer.kill_repeatedly(size, lambda: swarm.ended)
            ended_s = await wait_until_quiescent(servers, placing, killer.last_fault_s)
            # Events that the relay sent last are still on their way to the clients.
            await asyncio.sleep(FINAL_EVENTS_S)
            for task in (placing, running_clients):
                task.cancel()
        evidence = RunEvidence(
            swarm.record, await scan_table(servers), _log_faults(servers), len(servers.nodes)
        )
        results = invariants.run_checks(evidence)
        return _figures(swarm, killer, evidence, ended_s), results


def _log_faults(servers: Fleet) -> list[str]:
    return [line for node in servers.nodes for line in node.log_faults]


def _figures(
    swarm: Swarm, killer: NodeKiller, evidence: RunEvidence, ended_s: float
) -> dict[str, Any]:
    counts = swarm.record.counters.counts
    return {
        "kills": killer.kills,
        "redis_kills": killer.redis_kills,
        "ended_after_last_fault_s": round(ended_s, 1),
        "statuses": dict(Counter(order["status"] for order in evidence.orders.values())),
        "acknowledged": len(evidence.acknowledged),
        "refused": len(swarm.record.acks) - len(evidence.acknowledged),
        "commands_repeated": counts["commands_repeated"],
        "connections_opened": counts["connections_opened"],
        "events": len(swarm.record.events),
        "resyncs": sum(event.name == "resync" for event in swarm.record.events),
        "events_excused_by_resync": invariants.count_events_lost_to_resync(evidence),
        "positions": swarm.record.position_count,
    }


def is_good(figures: dict[str, Any], results: Sequence[CheckResult]) -> bool:
    """Whether every check passed and compared something, and the orders ended in time."""
    return (
        all(result.checked_count and not result.violations for result in results)
        and figures["ended_after_last_fault_s"] <= END_TIMEOUT_S
    )


def summarize_results(results: Sequence[CheckResult]) -> dict[str, str]:
    """Each check as "<violations> of <checked>"."""
    return {
        result.name: f"{len(result.violations)} of {result.checked_count}" for result in results
    }


def main() -> None:
    """Run the chaos test and print its result."""
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
    options = parser.parse_args()
    size = Size(options.orders, options.kills, options.every, options.redis_share, options.mode)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures, results = uvloop.run(measure(size, options.seed, Path(folder)))
    for check in results:
        for violation in check.violations[:20]:
            print_progress("chaos", f"{check.name}: {violation}")
    result = "kept" if is_good(figures, results) else "broken"
    print_result(
        "chaos",
        {**size._asdict(), "seed": options.seed},
        {**figures, **summarize_results(results), "result": result},
    )
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
