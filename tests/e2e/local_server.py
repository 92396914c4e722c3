"""A real server as a process of its own, with real Redis and DynamoDB engines."""

import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from bench.common.harness import free_port

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class LocalServer(NamedTuple):
    """A running server and the secret that signs its tokens."""

    url: str
    secret: str
    log: Path
    process: subprocess.Popen[bytes]


def start_server(folder: Path, **settings: str) -> LocalServer:
    """Start a server with its data in a folder and wait until it is ready."""
    port = int(settings.pop("PORT", 0)) or free_port()
    secret = settings.setdefault("JWT_SECRET", secrets.token_urlsafe(32))
    environ = {**os.environ, "DATA_DIR": str(folder / "data"), "PORT": str(port), **settings}
    log = folder / "server.log"
    with log.open("ab") as log_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "handlers.app.cli", "serve", "--dev"],
            cwd=ROOT, env=environ, stdout=log_file, stderr=log_file, start_new_session=True,
        )  # fmt: skip
    server = LocalServer(f"http://127.0.0.1:{port}", secret, log, process)
    end = monotonic() + START_TIMEOUT_S
    while not is_ready(server):
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        assert monotonic() < end, f"the server was never ready:\n{log.read_text()}"
        sleep(0.05)
    return server


def is_ready(server: LocalServer) -> bool:
    """Whether /readyz answers 200."""
    try:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def stop_server(server: LocalServer) -> int:
    """Stop a server with SIGTERM; its exit code."""
    server.process.send_signal(signal.SIGTERM)
    return server.process.wait(STOP_TIMEOUT_S)
