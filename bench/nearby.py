"""Search and ranking of the nearest free riders around a pickup, in a full city.

`python -m bench.nearby [--full]`. One search at a time on a real Redis of this machine: it says
how long one search takes, not how many a cluster could carry. For comparison the bare command of
Redis on one set of the free riders alone, without their freshness or any other fact.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from statistics import quantiles
from typing import Any

import uvloop

from bench.common.result_line import print_result
from dispatch import settings
from dispatch.model import Position
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.tracking.stores.geo_cells import Circle, cell_of
from dispatch.tracking.stores.positions import Positions, PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.tracking.stores.rider_index import RiderIndex
from matching.score import rank

SEED = 1
# Riders, searches.
SIZES = {"smoke": (5_000, 50), "full": (100_000, 1_000)}
NOW_MS = 1_763_000_000_000
FRESH_MS = 15_000
CANDIDATES = 50
# Douala and around, 30 km across; denser towards the middle.
CENTRE, SPREAD_DEGREES = (4.05, 9.72), 0.07
BATCH_RIDERS = 1_000
# Source: bench/README.md. Units: milliseconds; round trips of a search, on average.
P99_MS_GOAL, P99_MS_FLOOR = 10.0, 25.0
TRIPS_MAX = 1.1
RAW_KEY = "raw"
# No table is used here.
NO_DYNAMODB = "http://127.0.0.1:1"


async def fill_index(
    positions: Positions, riders: int, busy_share: float, rng: random.Random
) -> None:
    """Add so many riders to the index, a share of them busy."""
    for start in range(0, riders, BATCH_RIDERS):
        await positions.put(
            [_rider(i, busy_share, rng) for i in range(start, start + BATCH_RIDERS)]
        )


def _rider(number: int, busy_share: float, rng: random.Random) -> PositionUpdate:
    lat, lng = _random_point(rng)
    seen_ms = NOW_MS - rng.randrange(10_000)
    facts = RiderFacts(
        available=True,
        active=int(rng.random() < busy_share),
        completion=rng.uniform(70, 100),
        rating=rng.uniform(3, 5),
        vehicle="MOTORBIKE",
        name=f"Rider {number}",
    )
    position = Position(lat=lat, lng=lng, ts=seen_ms, received_at=seen_ms)
    return PositionUpdate(
        rider_id=f"rdr_{number}", position=position, facts=facts, cell=cell_of(lat, lng)
    )


def _random_point(rng: random.Random) -> tuple[float, float]:
    return CENTRE[0] + rng.gauss(0, SPREAD_DEGREES), CENTRE[1] + rng.gauss(0, SPREAD_DEGREES)


class CountingPipeline(Pipeline):
    """A pipeline that counts its round trips."""

    round_trips = 0

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Count, and send the commands.

        Redis: as `Pipeline.run`.
        """
        self.round_trips += 1
        return await super().run(commands)


async def time_geosearch(
    redis: RedisClients, searches: int, rng: random.Random
) -> dict[str, object]:
    """Duration of searches by one GEOSEARCH each. Units: milliseconds.

    Redis: GEOSEARCH, one round trip each.
    """
    durations_ms: list[float] = []
    for _ in range(searches):
        lat, lng = _random_point(rng)
        began_s = time.perf_counter()
        await redis.commands.geosearch(
            RAW_KEY, longitude=lng, latitude=lat, radius=5, unit="km", sort="ASC", count=CANDIDATES
        )
        durations_ms.append((time.perf_counter() - began_s) * 1000)
    cuts = quantiles(durations_ms, n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2)}


async def time_search(
    rider_index: RiderIndex, searches: int, rng: random.Random
) -> dict[str, object]:
    """Duration of searching and ranking around random pickups. Units: milliseconds."""
    durations_ms: list[float] = []
    found = 0
    began_cpu_s = time.process_time()
    for _ in range(searches):
        lat, lng = _random_point(rng)
        began_s = time.perf_counter()
        found_riders = await rider_index.find_nearest_free(
            Circle(lat, lng, 5.0), CANDIDATES, NOW_MS, FRESH_MS
        )
        ranked = rank(found_riders)
        durations_ms.append((time.perf_counter() - began_s) * 1000)
        found += len(ranked)
    cuts = quantiles(durations_ms, n=100)
    return {
        "p50_ms": round(cuts[49], 2),
        "p99_ms": round(cuts[98], 2),
        "own_cpu_mean_ms": round((time.process_time() - began_cpu_s) * 1000 / searches, 2),
        "candidates_mean": round(found / searches, 1),
    }


async def measure(riders: int, searches: int) -> dict[str, object]:
    """Figures of a city in which every second rider is busy, and of one where nearly all are."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = settings.read({"DATA_DIR": folder, "DYNAMODB_ENDPOINT": NO_DYNAMODB}, dev=True)
        async with embedded_engines(config) as engines, open_redis(engines.redis_url) as redis:
            scripts = Scripts(redis.commands)
            trips = CountingPipeline(redis.commands, scripts)
            positions = Positions(trips, scripts, "bench", config.fix_lost_ms)
            rider_index = RiderIndex(trips, scripts, config.fix_lost_ms)
            for name, busy_share in (("half_busy", 0.5), ("nearly_all_busy", 0.99)):
                rng = random.Random(SEED)
                await redis.commands.flushall()
                await fill_index(positions, riders, busy_share, rng)
                trips.round_trips = 0
                found = await time_search(rider_index, searches, rng)
                figures[name] = {
                    **found,
                    "round_trips_mean": round(trips.round_trips / searches, 3),
                }
                await _copy_free(redis)
                figures[f"{name}_bare"] = await time_geosearch(redis, searches, rng)
    return figures


async def _copy_free(redis: RedisClients) -> None:
    """Copy all free riders into one set, as a server without geo cells would have them."""
    cells = [key async for key in redis.commands.scan_iter("riders:*:geo")]
    await redis.commands.zunionstore(RAW_KEY, cells)


def verdict(figures: dict[str, Any]) -> str:
    """What was held in both cities, the goal or at least the floor: "goal", "floor" or "missed"."""
    ours = [figures["half_busy"], figures["nearly_all_busy"]]
    p99_ms = max(found["p99_ms"] for found in ours)
    is_one_trip = max(found["round_trips_mean"] for found in ours) <= TRIPS_MAX
    if p99_ms <= P99_MS_GOAL and is_one_trip:
        return "goal"
    return "floor" if p99_ms <= P99_MS_FLOOR else "missed"


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the size that figures are quoted from")
    size = "full" if parser.parse_args().full else "smoke"
    riders, searches = SIZES[size]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(measure(riders, searches))
    parameters: dict[str, object] = {
        "size": size,
        "riders": riders,
        "searches": searches,
        "radius_km": 5,
    }
    result = verdict(figures)
    parameters |= {"candidates": CANDIDATES, "seed": SEED}
    print_result("nearby", parameters, {**figures, "result": result})
    raise SystemExit(result == "missed")


if __name__ == "__main__":
    main()
