"""Latency from a vendor's `accept_order` to `delivery_request` at a rider, with a full geo index.

`python -m bench.offer_latency [--orders 40] [--riders 2000]`; 500 orders and 10000 riders are the
full size. One order after the other through the whole server. Riders around the shops are
connected; all others are only in the index, with fresh positions. For comparison the raw engines'
part of it: two transactions, a read, a search, and a message to the rider's node.
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
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.tracking.stores.geo_cells import Circle, cell_of
from dispatch.tracking.stores.positions import Positions, PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from ledger.dynamodb.client import open_table
from ledger.dynamodb.schema import ensure_table

# Source: bench/README.md. Units: milliseconds.
P99_MS_GOAL, P99_MS_FLOOR = 50.0, 250.0
# Unconnected riders stand outside of the shops' area, whose riders are asked first. Units: degrees.
CITY_DEG, DOWNTOWN_DEG = 0.12, 0.05
# Connected riders beyond one for each order, so that the last orders find riders too.
SPARE_RIDERS = 60
BATCH_RIDERS = 1_000
# Radius of the first wave. Units: kilometres.
FIRST_RADIUS_KM = 1.5
# Positions are dated ahead so that none becomes stale within a run. Units: milliseconds.
FRESH_FOR_MS = 600_000


class Size(NamedTuple):
    """Size of a run; `riders` counts all in the index, the connected ones among them."""

    orders: int
    riders: int
    spare_riders: int = SPARE_RIDERS


async def measure(size: Size, seed: int, folder: Path) -> dict[str, Any]:
    """Latency of each order's first offer, and of the raw engines' part of it."""
    config = settings.read({"DATA_DIR": str(folder / "engines")}, dev=True)
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(embedded_engines(config))
        redis = await stack.enter_async_context(open_redis(engines.redis_url))
        table = await stack.enter_async_context(
            open_table(engines.dynamodb_endpoint, config.aws_region, config.dynamodb_table)
        )
        await ensure_table(table)
        site = await stack.enter_async_context(running_server(folder / "server", engines))
        riders = size.orders + size.spare_riders
        scenario = await stack.enter_async_context(
            running_scenario(site, size.orders, riders, seed)
        )
        await fill_index(redis, size.riders - len(scenario.riders), random.Random(seed))
        latencies_s = await _offer_latencies_s(scenario, size.orders)
        circle = Circle(LAT, LNG, FIRST_RADIUS_KM)
        raw_s = await RawOfferPath(redis, table, circle).measure_s(size.orders)
        return {
            **percentiles_ms("accept_to_offer", latencies_s),
            **percentiles_ms("raw_engines", raw_s),
            "connected_riders": len(scenario.riders),
        }


async def fill_index(redis: RedisClients, riders: int, rng: random.Random) -> None:
    """Add free riders to the index all over the city, none of them near a shop."""
    scripts = Scripts(redis.commands)
    positions = Positions(Pipeline(redis.commands, scripts), scripts, "bench", lost_ms=45_000)
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
    """Latency of each order's first offer. Units: seconds."""
    customers = [scenario.customers[number] for number in range(orders)]

    async def place(number: int) -> BenchOrder:
        body = scenario.order_body(number)
        placed = await scenario.site.request("POST", "/orders", customers[number].identity, body)
        return scenario.add_order(placed["orderId"], number)

    placed = await run_limited(CONCURRENCY, [partial(place, number) for number in range(orders)])
    with gc_disabled():
        for order in placed:
            await scenario.assign(order)
    return [order.offered_s - order.accept_sent_s for order in placed]


def verdict(figures: dict[str, Any]) -> str:
    """What was held, the goal or at least the floor: "goal", "floor" or "missed"."""
    p99_ms = figures["accept_to_offer_p99_ms"]
    if p99_ms <= P99_MS_GOAL:
        return "goal"
    return "floor" if p99_ms <= P99_MS_FLOOR else "missed"


def main() -> None:
    """Run one size, print its line; exit 1 where the floor is missed."""
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
