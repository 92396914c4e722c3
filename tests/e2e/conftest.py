"""A real server in a process of its own, with real engines, as an operator starts it."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class RunningServer(NamedTuple):
    """A running server, and the secret that signs tokens for it."""

    url: str
    secret: str
    log: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(folder: Path, **settings: str) -> RunningServer:
    """Start a server on a folder and wait until it is ready."""
    port = int(settings.pop("PORT", 0)) or free_port()
    secret = settings.setdefault("JWT_SECRET", secrets.token_urlsafe(32))
    environ = {**os.environ, "DATA_DIR": str(folder / "data"), "PORT": str(port), **settings}
    log = folder / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "handlers.app.cli", "serve", "--dev"],
            cwd=ROOT, env=environ, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    server = RunningServer(f"http://127.0.0.1:{port}", secret, log, process)
    end = monotonic() + START_TIMEOUT_S
    while not is_ready(server):
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        assert monotonic() < end, f"the server was never ready:\n{log.read_text()}"
        sleep(0.05)
    return server


def is_ready(server: RunningServer) -> bool:
    """Whether the server would take traffic."""
    try:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def stop_server(server: RunningServer) -> int:
    """End a server as an operator does; its exit code."""
    server.process.send_signal(signal.SIGTERM)
    return server.process.wait(STOP_TIMEOUT_S)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the stories of this worker."""
    running = start_server(tmp_path_factory.mktemp("server"))
    yield running
    stop_server(running)


@pytest.fixture
def restartable_server() -> Iterator[Callable[..., RunningServer]]:
    """Starts a server on a folder; given a running one, kills it first and takes its place."""
    running: list[RunningServer] = []

    def go_on(folder: Path, before: RunningServer | None = None) -> RunningServer:
        if before is None:
            running.append(start_server(folder))
            return running[-1]
        before.process.kill()
        before.process.wait(STOP_TIMEOUT_S)
        port = before.url.rpartition(":")[2]
        running.append(start_server(folder, PORT=port, JWT_SECRET=before.secret))
        return running[-1]

    yield go_on
    stop_server(running[-1])
