"""A server that is killed repeatedly under a simulated city."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests.e2e.local_server import LocalServer
from tests.waiting import POLL_S

KILLS = 3
RUN_S = 8.0
DURATION_S = 45
END_TIMEOUT_S = 90


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_kills_cost_neither_orders_nor_money(
    tmp_path: Path, restartable_server: Callable[..., LocalServer]
):
    """After three `kill -9` the server continues, and the ledger balances to zero."""
    server = restartable_server(tmp_path)
    city_log = tmp_path / "city.log"
    environ = {**os.environ, "JWT_SECRET": server.secret, "DATA_DIR": str(tmp_path / "city")}
    command = [
        sys.executable, "-m", "city", "--no-server", "--url", server.url,
        "--duration", str(DURATION_S), "--riders", "30", "--vendors", "6", "--customers", "30",
        "--orders-per-minute", "60", "--json",
    ]  # fmt: skip
    with city_log.open("wb") as log_file:
        city = subprocess.Popen(command, env=environ, stdout=log_file, stderr=log_file)
        for _ in range(KILLS):
            let_run(RUN_S, city)
            server = restartable_server(tmp_path, server)
        code = city.wait(END_TIMEOUT_S)
    summary = json.loads(city_log.read_text().strip().splitlines()[-1])

    assert code == 0, city_log.read_text()[-3000:]
    assert summary["trialBalance"]["total"] == 0
    assert summary["counts"]["orders_settled"] > 0
    assert "Traceback" not in server.log.read_text()


def let_run(seconds, city):
    """Let the city run for a while; it must not end by itself."""
    end = monotonic() + seconds
    while monotonic() < end:
        assert city.poll() is None, "the city ended early"
        signal.sigtimedwait([], POLL_S)
