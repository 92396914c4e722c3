"""What a server holds after a while: `python -m tests.e2e.soak --minutes 10` (`make soak`).

Apps come, ask, report positions and go, most of them without a word; some say what nobody should.
After the warm-up the memory may grow by one per cent an hour; one JSON line, exit 1 otherwise.
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

# Source: promises.
SLOPE_PER_HOUR_MAX = 0.01
# In a run of minutes a slope is mostly noise: what is asked then is that it ends where it stood.
GROWTH_MAX = 0.05
SLOPE_HOURS_MIN = 1.0
WARM_UP_SHARE = 0.3
SAMPLE_S = 1.0
CLIENTS = 40
COMMANDS_MAX = 30
SETTLE_S = 3.0


class Sample(NamedTuple):
    """One look at the process."""

    at_s: float
    rss_bytes: int
    open_files: int


async def _run_clients(site: RunningServer, number: int, rng: random.Random, until_s: float) -> int:
    """One phone after the other, until the time is over; how many there were."""
    lives = 0
    while time.perf_counter() < until_s:
        lives += 1
        with suppress(ConnectionClosed, CommandRefused, TimeoutError, OSError):
            phone = await site.connect(("RIDER", f"rdr_{number}_{lives % 50}"), _ignore_event)
            for at in range(rng.randint(1, COMMANDS_MAX)):
                fix = {"lat": 4.05 + at / 1e5, "lng": 9.7 + number / 1e3}
                await phone.call("location_update", fix)
                await asyncio.sleep(rng.uniform(0, 0.1))
            if rng.random() < 0.2:
                phone.send(b"4[[[[")
            phone.close()
    return lives


def _ignore_event(_name: str, _body: dict[str, Any], _at_s: float) -> None:
    """Nobody looks at the events."""


async def _sample_process(site: RunningServer, until_s: float) -> list[Sample]:
    began_s, taken = time.perf_counter(), []
    while time.perf_counter() < until_s:
        at_s = time.perf_counter() - began_s
        taken.append(Sample(at_s, rss_bytes(site.pid), count_open_files(site.pid)))
        await asyncio.sleep(SAMPLE_S)
    return taken


def slope_per_hour(samples: list[Sample]) -> float:
    """How fast the memory grows, as a share of itself. Source: least squares."""
    mean_s = sum(s.at_s for s in samples) / len(samples)
    mean = sum(s.rss_bytes for s in samples) / len(samples)
    above = sum((s.at_s - mean_s) * (s.rss_bytes - mean) for s in samples)
    below = sum((s.at_s - mean_s) ** 2 for s in samples)
    return above / below * 3600 / mean


async def measure(minutes: float, seed: int, folder: Path) -> dict[str, Any]:
    """So many minutes of apps that come and go."""
    async with fleet(folder, ["all"]) as running:
        node = running.nodes[0]
        site = node.site
        files = count_open_files(site.pid)
        until_s = time.perf_counter() + minutes * 60
        living = (
            _run_clients(site, n, random.Random(seed * 100 + n), until_s) for n in range(CLIENTS)
        )
        sampling = asyncio.ensure_future(_sample_process(site, until_s))
        lives = await asyncio.gather(*living)
        samples = await sampling
        await asyncio.sleep(SETTLE_S)
        warm = samples[int(len(samples) * WARM_UP_SHARE) :]
        return {
            "minutes": minutes,
            "lives": sum(lives),
            "rss_mib": round(warm[-1].rss_bytes / 2**20, 1),
            "rss_growth": round(warm[-1].rss_bytes / warm[0].rss_bytes - 1, 4),
            "slope_per_hour": round(slope_per_hour(warm), 4),
            "files_more": count_open_files(site.pid) - files,
            "sockets": await read_metric(site, "reeyo_sockets{"),
            "faults": len(node.log_faults),
        }


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promise was kept."""
    is_long = figures["minutes"] / 60 >= SLOPE_HOURS_MIN
    is_level = figures["slope_per_hour"] <= SLOPE_PER_HOUR_MAX if is_long else True
    return (
        is_level
        and figures["rss_growth"] <= GROWTH_MAX
        and figures["files_more"] <= 60
        and not figures["sockets"]
        and not figures["faults"]
    )


def main() -> None:
    """Soak one server and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="120 is the full size")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-soak-") as folder:
        figures = uvloop.run(measure(given.minutes, given.seed, Path(folder)))
    print_result("soak", vars(given), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
