"""Messages that riders' apps spare because the server tells them how often to report.

`python -m bench.cadence [--riders 40] [--seconds 20]`; the demo's city, 120 riders for 120 seconds,
is the full size. The simulated city runs on a server of its own; its riders do as
`tracking_policy` says. Beside it what they would have sent at one pace for everybody: every two
seconds, as whoever is watched or near has to, and every four, as whoever has a job.
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

# Source: measured 2026-11-21 on the demo city, rounded down; fewer than this are spared where
# cadences do not reach the apps.
SPARED_MIN = 0.3
# Customers and orders of the demo for each of its riders.
CUSTOMERS, ORDERS_PER_MINUTE, VENDORS = 200 / 120, 42 / 120, 25 / 120


async def measure(riders: int, seconds: float, seed: int) -> dict[str, Any]:
    """One run of the city, and what its riders sent.

    Errors: Failed where the city does not end well.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        happened = (await _run_city(riders, seconds, seed, folder))["happened"]
    sent = happened["fixes_sent"] + happened.get("fixes_sent_twice", 0)
    reported_s = happened["reporting_ms"] / 1000
    if not sent or not happened.get("offers_accepted"):
        raise BenchFailed(f"the city did not live: {happened}")
    return {
        "fixes_sent": sent,
        "seconds_between_fixes": round(reported_s / sent, 2),
        "orders_delivered": happened.get("orders_delivered", 0),
        **_saved("close", CLOSE.policy.interval_ms, sent, reported_s),
        **_saved("on_job", ON_JOB.policy.interval_ms, sent, reported_s),
        "idle_interval_ms": IDLE.policy.interval_ms,
    }


def _saved(name: str, interval_ms: int, sent: int, reported_s: float) -> dict[str, Any]:
    """What everybody would have sent at one pace, and which share of that was spared."""
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
    out, complaint = await child.communicate()
    if child.returncode:
        raise BenchFailed(f"the city ended with {child.returncode}: {complaint.decode()[-800:]}")
    return orjson.loads(out.splitlines()[-1])


def main() -> None:
    """Run one size, print its line; exit 1 where little was spared."""
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
