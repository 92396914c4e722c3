"""Fixes between two servers on one Redis: latency to a watcher at the other one, and CPU.

`python -m bench.two_nodes [--pairs 200] [--seconds 5]`; 1000 pairs and 20 seconds are the full
size. For comparison a message through bare Redis pub/sub. How much two servers carry is computed
from their CPU for each fix, as if each had a core of its own, because the load needs a core too.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from redis.asyncio import Redis

from bench.common.harness import (
    BenchFailed,
    RunningServer,
    gc_disabled,
    percentiles_ms,
    running_server,
)
from bench.common.open_loop import PairStream, StreamResult, connect_pairs
from bench.common.peers import seeded_engines
from bench.common.result_line import print_result

# Source: bench/README.md. Units: milliseconds; multiples of one server.
CROSS_P99_MS_GOAL, CROSS_P99_MS_FLOOR = 60.0, 150.0
TWO_TO_ONE_GOAL, TWO_TO_ONE_FLOOR = 1.7, 1.4
# A rider who is watched reports every two seconds; where CPU is measured, four times a second.
CALM_FIXES_PER_S, BUSY_FIXES_PER_S = 0.5, 4.0
# Size of a position's packet.
RAW_BYTES = 330


class Size(NamedTuple):
    """Size of a run. Units: seconds."""

    pairs: int
    seconds: float


async def measure(size: Size, folder: Path) -> dict[str, Any]:
    """CPU of one server and of two, latency between two, and of bare pub/sub.

    Errors: BenchFailed where a fix was lost or shown out of order.
    """
    async with seeded_engines(folder, size.pairs) as engines:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(running_server(folder / "one", engines))
            alone = await _cpu_us_per_fix(
                await connect_pairs(size.pairs, [one], [one]), [one], size
            )
        async with AsyncExitStack() as stack:
            sites = [
                await stack.enter_async_context(running_server(folder / name, engines))
                for name in ("left", "right")
            ]
            both = await _cpu_us_per_fix(await connect_pairs(size.pairs, sites, sites), sites, size)
        async with AsyncExitStack() as stack:
            left, right = [
                await stack.enter_async_context(running_server(folder / name, engines))
                for name in ("rider", "watcher")
            ]
            crossing = await connect_pairs(size.pairs, [left], [right])
            with gc_disabled():
                seen = await crossing.run(size.seconds, size.pairs * CALM_FIXES_PER_S)
        raw = await _time_raw_pubsub(engines.redis_url, size)
    _check_complete(seen)
    return {
        **percentiles_ms("cross", seen.latencies_s),
        "cross_fixes": seen.sent,
        "cross_lost": seen.sent - len(seen.latencies_s) - seen.superseded,
        "cross_superseded": seen.superseded,
        **percentiles_ms("raw_pubsub", raw),
        "one_cpu_us_per_fix": round(alone, 1),
        "two_cpu_us_per_fix": round(both, 1),
        "two_to_one": round(2 * alone / both, 2),
    }


async def _cpu_us_per_fix(
    stream: PairStream, servers: Sequence[RunningServer], size: Size
) -> float:
    """CPU of all servers for each fix that was shown, at a high rate. Units: microseconds.

    The rate grows with the servers, so that the fixed cost of a flush is shared by as many fixes.
    """
    with gc_disabled():
        before_s = [site.cpu_s() for site in servers]
        seen = await stream.run(size.seconds, size.pairs * BUSY_FIXES_PER_S * len(servers))
        used_s = sum(site.cpu_s() for site in servers) - sum(before_s)
    _check_complete(seen)
    print(f"{len(servers)} servers: {len(seen.latencies_s)} of {seen.sent} seen", file=sys.stderr)
    return used_s * 1e6 / len(seen.latencies_s)


def _check_complete(seen: StreamResult) -> None:
    lost = seen.sent - len(seen.latencies_s) - seen.superseded
    if lost or seen.out_of_order:
        raise BenchFailed(
            f"{lost} of {seen.sent} fixes were lost, {seen.out_of_order} were shown out of order"
        )


async def _time_raw_pubsub(url: str, size: Size) -> list[float]:
    """Latency of as many messages at the same rate between bare clients. Units: seconds.

    Redis: PUBLISH, one round trip each.
    """
    latencies_s: list[float] = []
    count = int(size.seconds * size.pairs * CALM_FIXES_PER_S)
    async with Redis.from_url(url) as sender, Redis.from_url(url) as receiver:
        subscription = receiver.pubsub()
        await subscription.subscribe("raw")
        await subscription.get_message(timeout=1)

        async def listen() -> None:
            while len(latencies_s) < count:
                message = await subscription.get_message(timeout=None)
                if message is not None and message["type"] == "message":
                    latencies_s.append(time.perf_counter() - float(message["data"][:20]))

        listening = asyncio.create_task(listen())
        began_s = time.perf_counter()
        for number in range(count):
            due_s = began_s + number / (size.pairs * CALM_FIXES_PER_S)
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            payload = f"{time.perf_counter():020.9f}".encode().ljust(RAW_BYTES)
            await sender.publish("raw", payload)
        await listening
        await subscription.aclose()
    return latencies_s


def verdict(figures: dict[str, Any]) -> str:
    """What was held, the goals or at least the floors: "goal", "floor" or "missed"."""
    p99_ms, ratio = figures["cross_p99_ms"], figures["two_to_one"]
    if p99_ms <= CROSS_P99_MS_GOAL and ratio >= TWO_TO_ONE_GOAL:
        return "goal"
    return "floor" if p99_ms <= CROSS_P99_MS_FLOOR and ratio >= TWO_TO_ONE_FLOOR else "missed"


def main() -> None:
    """Run one size, print its line; exit 1 where a floor is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="1000 is the full size")
    parser.add_argument("--seconds", type=float, default=5.0, help="20 is the full size")
    parser.add_argument(
        "--seed", type=int, default=1, help="without effect: nothing is random here"
    )
    given = parser.parse_args()
    size = Size(given.pairs, given.seconds)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures = uvloop.run(measure(size, Path(folder)))
    result = verdict(figures)
    print_result("two_nodes", {**size._asdict(), "seed": given.seed}, {**figures, "result": result})
    raise SystemExit(result == "missed")


if __name__ == "__main__":
    main()
