"""The smoke bench measures all of its figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Far above the half minute that it takes; a busy machine is no reason to fail.
RUN_S = 280
FIGURES = {
    "accept_to_ack_p50_ms",
    "accept_to_ack_p99_ms",
    "accept_to_offer_p50_ms",
    "accept_to_offer_p99_ms",
    "delivered_to_settled_p50_ms",
    "delivered_to_settled_p99_ms",
    "flush_bare_us_per_rider",
    "flush_cpu_us_per_rider",
    "flush_library_us_per_rider",
    "flush_to_bare",
    "flush_us_per_rider",
    "ledger_known_funds_settle_per_s",
    "ledger_known_funds_settle_raw_per_s",
    "ledger_known_funds_settle_to_raw",
    "ledger_settle_per_s",
    "ledger_settle_raw_per_s",
    "ledger_settle_to_raw",
    "order_service_per_s",
    "order_service_raw_per_s",
    "order_service_to_raw",
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
def test_the_smoke_size_has_all_figures():
    """One JSON line has commit, machine, parameters and every figure, and each is above zero."""
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
    result = json.loads(line)
    assert result["bench"] == "smoke"
    assert {"commit", "machine", "parameters"} <= set(result)
    assert (result["parameters"]["size"], result["parameters"]["seed"]) == ("smoke", 7)
    assert set(result["figures"]) == FIGURES
    assert {name: value for name, value in result["figures"].items() if not value > 0} == {}
