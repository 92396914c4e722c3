"""Tests of the operations console in a real browser, against a server with a simulated city."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.local_server import LocalServer
from tests.e2e.node_script import node_path, run_script

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CITY = ("--riders", "12", "--vendors", "6", "--customers", "20", "--orders-per-minute", "40")
# Without a GPU, on a machine that runs other tests as well, a frame takes seconds.
SCRIPT_TIMEOUT_S = 280
CITY_STOPS_S = 10


@pytest.fixture(scope="module")
def browser() -> str:
    """Path of an installed Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


@pytest.fixture(scope="module")
def built_console() -> None:
    """The console, built from its sources."""
    subprocess.run([node_path(), "console/build.mjs"], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture
def running_city(server: LocalServer) -> Iterator[None]:
    """A small simulated city that uses the server until the test ends."""
    environ = {**os.environ, "JWT_SECRET": server.secret}
    command = [sys.executable, "-m", "city", "--url", server.url, *CITY]
    with (server.log.parent / "city.log").open("ab") as log:
        city = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
    yield
    city.terminate()
    city.wait(CITY_STOPS_S)


@pytest.mark.slow
@pytest.mark.timeout(SCRIPT_TIMEOUT_S + 60)
@pytest.mark.usefixtures("built_console", "running_city")
def test_an_operator_sees_the_city_live(server: LocalServer, browser: str):
    """The page signs in, draws, lists, follows, reconnects and explains a wrong token."""
    output = run_script("console.mjs", server, SCRIPT_TIMEOUT_S, CHROMIUM=browser)

    assert "0 failed" in output
