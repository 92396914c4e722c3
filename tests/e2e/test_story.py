"""The main job, end to end, by the official JavaScript client."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Server

HERE = Path(__file__).parent
STORY_S = 90


def tell(name, server):
    """Run a story in Node against a server; what it said."""
    node = shutil.which("node") or str(HERE.parents[1] / ".venv/bin/node")
    environ = {**os.environ, "REEYO_URL": server.url, "JWT_SECRET": server.secret}
    told = subprocess.run(
        [node, str(HERE / name)], env=environ, capture_output=True, text=True, timeout=STORY_S,
        check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.mark.slow
def test_the_main_job_end_to_end(server: Server):
    """FOOD by wallet, MART by cash and PACKAGE by mobile money are delivered and settled."""
    said = tell("story.mjs", server)

    assert "0 failed" in said
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_riders_are_asked_one_after_the_other(server: Server):
    """Nobody there, a no, a dead app, a rider who gives back, a rider an operator wants."""
    assert "0 failed" in tell("offers.mjs", server)
