"""From a vendor's yes to the offer on a rider's phone, with a full city in the index.

`python -m bench.offer_latency [--orders 40] [--riders 2000]`; 500 orders and 10000 riders are the
full size. One order after the other over the whole server. Riders around the shops are connected;
all others of the city only stand in the index, and are as fresh. Beside it what the raw engines
take for the same: two transactions, a read, a search, and a message to the rider's node.
"""

import argparse
import random
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.harness import gc_disabled, percentiles_ms, run_limited, running_server
from bench.common.result_line import print_result
from bench.common.scenario import (
    CONCURRENCY,
    LAT,
    LNG,
    BenchOrder,
    Scenario,
    running_scenario,
)
from bench.engines.raw_engines import RawOfferPath
from dispatch import settings
from dispatch.model import Position
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import Positions, PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from ledger.dynamodb.client import open_table
from ledger.dynamodb.schema import ensure_table

# Source: performance design. Units: milliseconds.
P99_MS_GOAL, P99_MS_FLOOR = 50.0, 250.0
# Riders of the city stand beyond those around the shops, who are asked first. Units: degrees.
CITY_DEG, DOWNTOWN_DEG = 0.12, 0.05
# A few more riders than orders: everybody carries one, and some are farther away.
SPARE_RIDERS = 60
BATCH_RIDERS = 1_000
# So that nobody in the index falls silent within a run. Units: milliseconds.
FRESH_FOR_MS = 600_000


class Size(NamedTuple):
    """How much is done; `riders` counts the index, the connected ones among them."""

    orders: int
    riders: int


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """Every order's wait, and that of the raw engines for the same."""
    ours = settings.read({"DATA_DIR": str(folder / "engines")}, dev=True)
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(embedded_engines(ours))
        redis = await stack.enter_async_context(open_redis(engines.redis_url))
        table = await stack.enter_async_context(
            open_table(engines.dynamodb_endpoint, ours.aws_region, ours.dynamodb_table)
        )
        await ensure_table(table)
        site = await stack.enter_async_context(running_server(folder / "server", engines))
        riders = size.orders + SPARE_RIDERS
        town = await stack.enter_async_context(running_scenario(site, size.orders, riders, seed))
        await fill_index(redis, size.riders - len(town.riders), random.Random(seed))
        waits_s = await _offer_latencies_s(town, size.orders)
        raw_s = await RawOfferPath(redis, table, (LAT, LNG)).measure_s(size.orders)
        return {
            **percentiles_ms("accept_to_offer", waits_s),
            **percentiles_ms("raw_engines", raw_s),
            "connected_riders": len(town.riders),
        }


async def fill_index(redis: RedisClients, riders: int, rng: random.Random) -> None:
    """Put free riders all over the city into the index, none of them near a shop."""
    scripts = Scripts(redis.commands)
    positions = Positions(redis.commands, scripts, "bench", lost_ms=45_000)
    seen_ms = int(time.time() * 1000) + FRESH_FOR_MS
    for start in range(0, riders, BATCH_RIDERS):
        numbers = range(start, min(riders, start + BATCH_RIDERS))
        await positions.put([_idle_rider(number, seen_ms, rng) for number in numbers])


def _idle_rider(number: int, seen_ms: int, rng: random.Random) -> PositionUpdate:
    east, north = rng.uniform(-CITY_DEG, CITY_DEG), rng.uniform(DOWNTOWN_DEG, CITY_DEG)
    lat, lng = LAT + rng.choice((-north, north)), LNG + east
    return PositionUpdate(
        rider_id=f"rdr_city_{number}",
        position=Position(lat=lat, lng=lng, ts=seen_ms, received_at=seen_ms),
        facts=RiderFacts(available=True, active=0, vehicle="MOTORBIKE", name=f"Rider {number}"),
        cell=cell_of(lat, lng),
    )


async def _offer_latencies_s(scenario: Scenario, orders: int) -> list[float]:
    """How long each order's first offer took. Units: seconds."""
    customers = [scenario.customers[number] for number in range(orders)]

    async def place(number: int) -> BenchOrder:
        who = customers[number].identity
        order = await scenario.site.request("POST", "/orders", who, scenario.order_body(number))
        return scenario.add_order(order["orderId"], number)

    jobs = await run_limited(CONCURRENCY, [partial(place, number) for number in range(orders)])
    with gc_disabled():
        for job in jobs:
            await scenario.assign(job)
    return [job.offered_s - job.accept_sent_s for job in jobs]


def verdict(figures: dict[str, Any]) -> str:
    """Whether the goal was held, or at least the floor: "goal", "floor" or "missed"."""
    p99_ms = figures["accept_to_offer_p99_ms"]
    if p99_ms <= P99_MS_GOAL:
        return "goal"
    return "floor" if p99_ms <= P99_MS_FLOOR else "missed"


def main() -> None:
    """Run one size, print its line; exit 1 below the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=40, help="500 is the full size")
    parser.add_argument("--riders", type=int, default=2_000, help="10000 is the full size")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.orders, given.riders)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures = uvloop.run(measure(size, given.seed, Path(folder)))
    result = verdict(figures)
    parameters = {**size._asdict(), "seed": given.seed}
    print_result("offer_latency", parameters, {**figures, "result": result})
    raise SystemExit(result == "missed")


if __name__ == "__main__":
    main()
