"""Orders from placing to settlement, by the official JavaScript client."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import RunningServer

HERE = Path(__file__).parent
SCRIPT_TIMEOUT_S = 90


def run_script(script, server):
    """Run a Node script against a server; its output."""
    node = shutil.which("node") or str(HERE.parents[1] / ".venv/bin/node")
    environ = {**os.environ, "REEYO_URL": server.url, "JWT_SECRET": server.secret}
    result = subprocess.run(
        [node, str(HERE / script)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=SCRIPT_TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_orders_are_delivered_and_settled_end_to_end(server: RunningServer):
    """FOOD by wallet, MART by cash and PACKAGE by mobile money are delivered and settled."""
    output = run_script("order_lifecycle.mjs", server)

    assert "0 failed" in output
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_riders_are_asked_one_after_the_other(server: RunningServer):
    """Offers move on after silence, a decline, a dead client, a give-back; an operator assigns."""
    assert "0 failed" in run_script("offers.mjs", server)
