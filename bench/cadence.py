"""Fixes that riders' apps do not send because `tracking_policy` sets their reporting interval.

`python -m bench.cadence [--riders 40] [--seconds 20]`; the demo's city, 120 riders for 120 seconds,
is the full size. The simulated city runs on a server of its own; its riders follow
`tracking_policy`. For comparison the number of fixes at one interval for all riders: two seconds,
as for a rider who is watched or near, and four, as for a rider with a job.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from typing import Any

import orjson

from bench.common.harness import BenchFailed, free_port, without_settings
from bench.common.result_line import print_result
from dispatch.tracking.reporting_interval import CLOSE, IDLE, ON_JOB

# Source: measured 2026-11-21 on the demo city, rounded down; fewer are spared where the reporting
# intervals do not reach the apps.
SPARED_MIN = 0.3
# Customers and orders of the demo for each of its riders.
CUSTOMERS, ORDERS_PER_MINUTE, VENDORS = 200 / 120, 42 / 120, 25 / 120


async def measure(riders: int, seconds: float, seed: int) -> dict[str, Any]:
    """Run the city once; the number of fixes sent, and of fixes at fixed intervals.

    Errors: BenchFailed where the city fails, or no order is carried.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        counts = (await _run_city(riders, seconds, seed, folder))["counts"]
    sent = counts["fixes_sent"] + counts.get("fixes_duplicated", 0)
    reported_s = counts["reporting_ms"] / 1000
    if not sent or not counts.get("offers_accepted"):
        raise BenchFailed(f"no rider worked: {counts}")
    return {
        "fixes_sent": sent,
        "seconds_between_fixes": round(reported_s / sent, 2),
        "orders_delivered": counts.get("orders_delivered", 0),
        **_saved("close", CLOSE.policy.interval_ms, sent, reported_s),
        **_saved("on_job", ON_JOB.policy.interval_ms, sent, reported_s),
        "idle_interval_ms": IDLE.policy.interval_ms,
    }


def _saved(name: str, interval_ms: int, sent: int, reported_s: float) -> dict[str, Any]:
    """The number of fixes at one interval for all riders, and the share of it that was spared."""
    without = reported_s * 1000 / interval_ms
    return {
        f"without_at_{name}": round(without),
        f"spared_of_{name}": round(1 - sent / without, 3),
    }


async def _run_city(riders: int, seconds: float, seed: int, folder: str) -> dict[str, Any]:
    argv = [
        sys.executable, "-m", "city", "--json", "--port", str(free_port()), "--seed", str(seed),
        "--duration", str(seconds), "--riders", str(riders),
        "--customers", str(round(riders * CUSTOMERS)),
        "--vendors", str(max(2, round(riders * VENDORS))),
        "--orders-per-minute", str(riders * ORDERS_PER_MINUTE),
    ]  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        *argv, env={**without_settings(os.environ), "DATA_DIR": folder},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await child.communicate()
    lines = out.splitlines()
    summary = orjson.loads(lines[-1]) if lines else None
    # How fast the server stops is not measured here: only a failure of the city counts.
    if summary is None or summary["failure"] or summary["trialBalance"] is None:
        raise BenchFailed(f"the city ended with {child.returncode}: {error.decode()[-800:]}")
    return summary


def main() -> None:
    """Run one size, print its line; exit 1 where fewer than SPARED_MIN are spared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--riders", type=int, default=40, help="120 is the full size")
    parser.add_argument("--seconds", type=float, default=20.0, help="120 is the full size")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    figures = asyncio.run(measure(given.riders, given.seconds, given.seed))
    is_good = figures["spared_of_close"] >= SPARED_MIN
    print_result("cadence", vars(given), {**figures, "result": "goal" if is_good else "missed"})
    raise SystemExit(not is_good)


if __name__ == "__main__":
    main()
