"""Twice as many fixes as a server can carry: it stays quick and small, and counts its losses.

`python -m tests.e2e.overload [--pairs 100] [--seconds 4]`; full size: 500 pairs and 10 seconds.
First more and more fixes until customers see them late: the last pace before that is what the
server sustains. Then twice that pace. Server and load have a core each. Exit 1 where what customers
see is older than the promise, memory grows, or fixes are missing that were not counted.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.harness import RunningServer, gc_disabled, percentiles_ms, running_server
from bench.common.open_loop import LAST_FIX_TIMEOUT_S, PairStream, connect_pairs
from bench.common.peers import LOAD_CORE, pin_to_server_core, seeded_engines
from bench.common.result_line import print_result
from tests.e2e.process_stats import read_metric, rss_bytes

# Source: promise, it coalesces instead of queueing. Units: milliseconds.
P99_MS_MAX = 250.0
# What is sustained is seen this soon by nearly all, and none of it is left out. Units: seconds.
SUSTAINED_LATENCY_S_MAX, SUSTAINED_SHARE_MIN = 0.1, 0.99
# Growth while overloaded that no queue explains. Units: bytes.
GROWTH_BYTES_MAX = 16 * 2**20
START_PER_S, RATE_STEP = 500.0, 1.3
STEPS_MAX = 20
# The load must have been twice as fast, or nothing is shown.
SENT_SHARE = 0.9
RECEIVED_METRIC = "reeyo_fixes_received_total"
# Where a newer fix takes an older one's place: before the checks, and on a watcher's way out.
LOSS_METRICS = {
    "coalesced": 'reeyo_fixes_dropped_total{reason="coalesced"}',
    "superseded": 'reeyo_events_dropped_total{reason="superseded"}',
}
# The server exports what it has counted every second.
EXPORT_S = 2.5


class Size(NamedTuple):
    """How much is done. Units: seconds."""

    pairs: int
    seconds: float


async def measure(size: Size, folder: Path) -> dict[str, Any]:
    """The pace that is sustained, and what becomes of twice as much."""
    async with (
        seeded_engines(folder, size.pairs) as engines,
        running_server(folder / "server", engines) as site,
    ):
        pin_to_server_core(site.pid)
        with _pinned_to_load_core(), gc_disabled():
            stream = await connect_pairs(size.pairs, [site], [site])
            pace = await find_sustained_rate(stream, size)
            return await _measure_overload(site, stream, size, pace)


@contextmanager
def _pinned_to_load_core() -> Iterator[None]:
    """Keep the load to its core inside the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def find_sustained_rate(stream: PairStream, size: Size) -> float:
    """The greatest pace of those tried that customers see in time. Units: fixes a second.

    Where not even the first one is, that is the pace: the machine is overloaded by others.
    """
    pace = found = START_PER_S
    for _ in range(STEPS_MAX):
        seen = await stream.run(size.seconds / 2, pace)
        calm = (
            sum(took <= SUSTAINED_LATENCY_S_MAX for took in seen.latencies_s)
            >= SUSTAINED_SHARE_MIN * seen.sent
        )
        if not calm:
            break
        found, pace = pace, pace * RATE_STEP
    return found


async def _measure_overload(
    site: RunningServer, stream: PairStream, size: Size, rate_per_s: float
) -> dict[str, Any]:
    await asyncio.sleep(EXPORT_S)
    before, rss = await _read_counters(site), rss_bytes(site.pid)
    seen = await stream.run(size.seconds, 2 * rate_per_s)
    after = await _wait_for_counters(site, before, seen.sent)
    counted = {name: int(after[name] - before[name]) for name in after}
    lost = seen.sent - len(seen.latencies_s)
    return {
        "sustained_per_s": round(rate_per_s),
        "offered_per_s": round(seen.sent / size.seconds),
        "shown_per_s": round(len(seen.latencies_s) / size.seconds),
        **percentiles_ms("overloaded", seen.latencies_s),
        "rss_growth_mib": round((rss_bytes(site.pid) - rss) / 2**20, 1),
        **counted,
        "sent": seen.sent,
        "not_shown": lost,
        "uncounted": lost - sum(counted[name] for name in LOSS_METRICS),
        "unheard": seen.sent - counted["received"],
        "backwards": seen.out_of_order,
    }


async def _wait_for_counters(
    site: RunningServer, before: dict[str, float], sent: int
) -> dict[str, float]:
    """The counters once they know of all that was sent, or when they should have known."""
    end_s = time.monotonic() + LAST_FIX_TIMEOUT_S
    while True:
        await asyncio.sleep(EXPORT_S)
        after = await _read_counters(site)
        if after["received"] - before["received"] >= sent or time.monotonic() > end_s:
            return after


async def _read_counters(site: RunningServer) -> dict[str, float]:
    found = {name: await read_metric(site, series) for name, series in LOSS_METRICS.items()}
    return {**found, "received": await read_metric(site, RECEIVED_METRIC)}


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promise was kept: fresh positions at twice the sustained rate, losses counted."""
    return (
        figures["offered_per_s"] >= SENT_SHARE * 2 * figures["sustained_per_s"]
        and figures["overloaded_p99_ms"] <= P99_MS_MAX
        and is_accounted_for(figures)
    )


def is_accounted_for(figures: dict[str, Any]) -> bool:
    """Whether memory stayed flat and every fix was shown, in order, or counted as left out.

    This does not depend on how fast the machine is.
    """
    return figures["rss_growth_mib"] * 2**20 <= GROWTH_BYTES_MAX and not any(
        figures[name] for name in ("uncounted", "unheard", "backwards")
    )


def main() -> None:
    """Measure and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100, help="500 is the full size")
    parser.add_argument("--seconds", type=float, default=4.0, help="10 is the full size")
    parser.add_argument("--seed", type=int, default=1, help="nothing is drawn here")
    given = parser.parse_args()
    size = Size(given.pairs, given.seconds)
    with tempfile.TemporaryDirectory(prefix="reeyo-overload-") as folder:
        figures = uvloop.run(measure(size, Path(folder)))
    figures["result"] = "kept" if is_good(figures) else "broken"
    print_result("overload", {**size._asdict(), "seed": given.seed}, figures)
    raise SystemExit(figures["result"] != "kept")


if __name__ == "__main__":
    main()
