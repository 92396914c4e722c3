"""Soak test: leaks under short-lived clients. `python -m tests.e2e.soak --minutes 10`, `make soak`.

Clients connect, send positions and close the TCP connection; some send garbage before it.
After the warm-up memory may grow by one per cent an hour. Prints one JSON line; exit 1 otherwise.
"""

import argparse
import asyncio
import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.client import CommandRefused, ConnectionClosed
from bench.common.harness import RunningServer
from bench.common.result_line import print_result
from tests.e2e.fleet import fleet
from tests.e2e.process_stats import count_open_files, read_metric, rss_bytes

# Source: docs/promises.md.
SLOPE_PER_HOUR_MAX = 0.01
# In a run of minutes the slope is mostly noise, so only the total growth is checked.
GROWTH_MAX = 0.05
SLOPE_HOURS_MIN = 1.0
WARM_UP_SHARE = 0.3
SAMPLE_S = 1.0
CLIENTS = 40
COMMANDS_MAX = 30
SETTLE_S = 3.0


class Sample(NamedTuple):
    """Memory and open files of the process at one moment. Units: seconds, bytes."""

    at_s: float
    rss_bytes: int
    open_files: int


async def _run_clients(site: RunningServer, number: int, rng: random.Random, until_s: float) -> int:
    """Run one short-lived client after the other until the time is over; their number."""
    clients = 0
    while time.perf_counter() < until_s:
        clients += 1
        with suppress(ConnectionClosed, CommandRefused, TimeoutError, OSError):
            client = await site.connect(("RIDER", f"rdr_{number}_{clients % 50}"), _ignore_event)
            for number_of_fix in range(rng.randint(1, COMMANDS_MAX)):
                fix = {"lat": 4.05 + number_of_fix / 1e5, "lng": 9.7 + number / 1e3}
                await client.call("location_update", fix)
                await asyncio.sleep(rng.uniform(0, 0.1))
            if rng.random() < 0.2:
                client.send(b"4[[[[")
            client.close()
    return clients


def _ignore_event(_name: str, _body: dict[str, Any], _at_s: float) -> None:
    """Event callback of clients whose events are not checked."""


async def _sample_process(site: RunningServer, until_s: float) -> list[Sample]:
    began_s, samples = time.perf_counter(), []
    while time.perf_counter() < until_s:
        at_s = time.perf_counter() - began_s
        samples.append(Sample(at_s, rss_bytes(site.pid), count_open_files(site.pid)))
        await asyncio.sleep(SAMPLE_S)
    return samples


def slope_per_hour(samples: list[Sample]) -> float:
    """Growth of memory as a share of its mean. Units: 1/hour. Source: least squares."""
    mean_s = sum(s.at_s for s in samples) / len(samples)
    mean = sum(s.rss_bytes for s in samples) / len(samples)
    covariance = sum((s.at_s - mean_s) * (s.rss_bytes - mean) for s in samples)
    variance = sum((s.at_s - mean_s) ** 2 for s in samples)
    return covariance / variance * 3600 / mean


async def measure(minutes: float, seed: int, folder: Path) -> dict[str, Any]:
    """Run short-lived clients for a number of minutes."""
    async with fleet(folder, ["all"]) as running:
        node = running.nodes[0]
        site = node.site
        files_before = count_open_files(site.pid)
        until_s = time.perf_counter() + minutes * 60
        client_runs = (
            _run_clients(site, n, random.Random(seed * 100 + n), until_s) for n in range(CLIENTS)
        )
        sampling = asyncio.ensure_future(_sample_process(site, until_s))
        client_counts = await asyncio.gather(*client_runs)
        samples = await sampling
        await asyncio.sleep(SETTLE_S)
        samples_after_warm_up = samples[int(len(samples) * WARM_UP_SHARE) :]
        return {
            "minutes": minutes,
            "clients": sum(client_counts),
            "rss_mib": round(samples_after_warm_up[-1].rss_bytes / 2**20, 1),
            "rss_growth": round(
                samples_after_warm_up[-1].rss_bytes / samples_after_warm_up[0].rss_bytes - 1, 4
            ),
            "slope_per_hour": round(slope_per_hour(samples_after_warm_up), 4),
            "files_added": count_open_files(site.pid) - files_before,
            "sockets": await read_metric(site, "reeyo_sockets{"),
            "faults": len(node.log_faults),
        }


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promise holds."""
    is_long = figures["minutes"] / 60 >= SLOPE_HOURS_MIN
    is_level = figures["slope_per_hour"] <= SLOPE_PER_HOUR_MAX if is_long else True
    return (
        is_level
        and figures["rss_growth"] <= GROWTH_MAX
        and figures["files_added"] <= 60
        and not figures["sockets"]
        and not figures["faults"]
    )


def main() -> None:
    """Run the soak test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="120 is the full size")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-soak-") as folder:
        figures = uvloop.run(measure(options.minutes, options.seed, Path(folder)))
    print_result("soak", vars(options), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
