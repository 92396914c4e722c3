"""Overload test: twice the sustained rate of fixes is coalesced, and losses are counted.

`python -m tests.e2e.overload [--pairs 100] [--seconds 4]`; full size: 500 pairs and 10 seconds.
First the rate rises until customers see fixes late; the last rate before that is the sustained one.
Then twice that rate is sent. Server and load have a core each. Exit 1 if what customers see is
older than promised, memory grows, or fixes are missing that were not counted.
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

# Source: docs/promises.md, the server coalesces instead of queueing. Units: milliseconds.
P99_MS_MAX = 250.0
# A sustained rate is shown this soon, for this share of the fixes. Units: seconds.
SUSTAINED_LATENCY_S_MAX, SUSTAINED_SHARE_MIN = 0.1, 0.99
# Memory growth allowed under overload. Units: bytes.
GROWTH_BYTES_MAX = 16 * 2**20
START_PER_S, RATE_STEP = 500.0, 1.3
STEPS_MAX = 20
# Share of the doubled rate that the load must reach, or the run shows nothing.
SENT_SHARE = 0.9
RECEIVED_METRIC = "reeyo_fixes_received_total"
# A newer fix replaces an older one before the checks, and in a watcher's send buffer.
LOSS_METRICS = {
    "coalesced": 'reeyo_fixes_dropped_total{reason="coalesced"}',
    "superseded": 'reeyo_events_dropped_total{reason="superseded"}',
}
# The server exports its counters every second.
EXPORT_S = 2.5


class Size(NamedTuple):
    """Size of a run: rider-customer pairs and duration. Units: seconds."""

    pairs: int
    seconds: float


async def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Find the sustained rate, then send twice as much."""
    async with (
        seeded_engines(folder, size.pairs) as engines,
        running_server(folder / "server", engines) as site,
    ):
        pin_to_server_core(site.pid)
        with _pinned_to_load_core(), gc_disabled():
            stream = await connect_pairs(size.pairs, [site], [site])
            rate_per_s = await find_sustained_rate(stream, size)
            return await _measure_overload(site, stream, size, rate_per_s)


@contextmanager
def _pinned_to_load_core() -> Iterator[None]:
    """Pin this process to the load's core inside the block."""
    previous = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, previous)


async def find_sustained_rate(stream: PairStream, size: Size) -> float:
    """The greatest tried rate that customers see in time. Units: fixes a second.

    If not even the first rate is shown in time, that one is returned: the machine is busy.
    """
    rate_per_s = sustained_per_s = START_PER_S
    for _ in range(STEPS_MAX):
        result = await stream.run(size.seconds / 2, rate_per_s)
        is_sustained = (
            sum(latency_s <= SUSTAINED_LATENCY_S_MAX for latency_s in result.latencies_s)
            >= SUSTAINED_SHARE_MIN * result.sent
        )
        if not is_sustained:
            break
        sustained_per_s, rate_per_s = rate_per_s, rate_per_s * RATE_STEP
    return sustained_per_s


async def _measure_overload(
    site: RunningServer, stream: PairStream, size: Size, rate_per_s: float
) -> dict[str, Any]:
    await asyncio.sleep(EXPORT_S)
    before, rss_before = await _read_counters(site), rss_bytes(site.pid)
    result = await stream.run(size.seconds, 2 * rate_per_s)
    after = await _wait_for_counters(site, before, result.sent)
    counted = {name: int(after[name] - before[name]) for name in after}
    not_shown = result.sent - len(result.latencies_s)
    return {
        "sustained_per_s": round(rate_per_s),
        "offered_per_s": round(result.sent / size.seconds),
        "shown_per_s": round(len(result.latencies_s) / size.seconds),
        **percentiles_ms("overloaded", result.latencies_s),
        "rss_growth_mib": round((rss_bytes(site.pid) - rss_before) / 2**20, 1),
        **counted,
        "sent": result.sent,
        "not_shown": not_shown,
        "uncounted": not_shown - sum(counted[name] for name in LOSS_METRICS),
        "not_received": result.sent - counted["received"],
        "backwards": result.out_of_order,
    }


async def _wait_for_counters(
    site: RunningServer, before: dict[str, float], sent: int
) -> dict[str, float]:
    """The counters once they include everything that was sent, or when the timeout has passed."""
    end_s = time.monotonic() + LAST_FIX_TIMEOUT_S
    while True:
        await asyncio.sleep(EXPORT_S)
        after = await _read_counters(site)
        if after["received"] - before["received"] >= sent or time.monotonic() > end_s:
            return after


async def _read_counters(site: RunningServer) -> dict[str, float]:
    counters = {name: await read_metric(site, series) for name, series in LOSS_METRICS.items()}
    return {**counters, "received": await read_metric(site, RECEIVED_METRIC)}


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
        figures[name] for name in ("uncounted", "not_received", "backwards")
    )


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100, help="500 is the full size")
    parser.add_argument("--seconds", type=float, default=4.0, help="10 is the full size")
    parser.add_argument("--seed", type=int, default=1, help="unused; part of the printed result")
    options = parser.parse_args()
    size = Size(options.pairs, options.seconds)
    with tempfile.TemporaryDirectory(prefix="reeyo-overload-") as folder:
        figures = uvloop.run(measure(size, Path(folder)))
    figures["result"] = "kept" if is_good(figures) else "broken"
    print_result("overload", {**size._asdict(), "seed": options.seed}, figures)
    raise SystemExit(figures["result"] != "kept")


if __name__ == "__main__":
    main()
