"""The bench runs, and measures everything that it says it measures; never how fast."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Far above its half minute; a busy machine is no reason to fail.
RUN_S = 280
FIGURES = {
    "accept_to_ack_p50_ms",
    "accept_to_ack_p99_ms",
    "accept_to_offer_p50_ms",
    "accept_to_offer_p99_ms",
    "delivered_to_settled_p50_ms",
    "delivered_to_settled_p99_ms",
    "flow_orders_per_s",
    "flow_orders_raw_per_s",
    "flow_orders_to_raw",
    "flush_bare_us_per_rider",
    "flush_cpu_us_per_rider",
    "flush_library_us_per_rider",
    "flush_to_bare",
    "flush_us_per_rider",
    "ledger_believed_settle_per_s",
    "ledger_believed_settle_raw_per_s",
    "ledger_believed_settle_to_raw",
    "ledger_settle_per_s",
    "ledger_settle_raw_per_s",
    "ledger_settle_to_raw",
    "orders_p50_ms",
    "orders_p99_ms",
    "orders_per_s",
    "orders_to_raw",
    "relay_fixes_per_s",
    "relay_p50_ms",
    "relay_p99_ms",
    "relay_server_cpu_us_per_fix",
    "settlements_per_s",
}


@pytest.mark.slow
@pytest.mark.timeout(RUN_S + 20)
def test_the_smoke_size_measures_everything():
    """One JSON line says where, on which commit, with what and how fast; no figure is missing."""
    run = subprocess.run(
        [sys.executable, "-m", "bench.smoke", "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr

    [line] = run.stdout.splitlines()
    told = json.loads(line)
    assert told["bench"] == "smoke"
    assert {"commit", "machine", "parameters"} <= set(told)
    assert (told["parameters"]["size"], told["parameters"]["seed"]) == ("smoke", 7)
    assert set(told["figures"]) == FIGURES
    assert {name: value for name, value in told["figures"].items() if not value > 0} == {}
