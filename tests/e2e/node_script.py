"""Runs the end-to-end scripts in Node."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.e2e.local_server import LocalServer

HERE = Path(__file__).parent
SCRIPT_TIMEOUT_S = 90


def node_path() -> str:
    """Path of Node: the installed one, or the one from the Python packages."""
    return shutil.which("node") or str(HERE.parents[1] / ".venv/bin/node")


def run_script(
    script: str, server: LocalServer, timeout_s: float = SCRIPT_TIMEOUT_S, **environ: str
) -> str:
    """Run a script against a server; its output. Errors: AssertionError if it fails."""
    result = subprocess.run(
        [node_path(), str(HERE / script)],
        env={**os.environ, "REEYO_URL": server.url, "JWT_SECRET": server.secret, **environ},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
