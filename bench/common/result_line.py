"""The JSON result line that every bench prints."""

import json
import os
import platform
import subprocess
from pathlib import Path


def print_result(bench: str, parameters: dict[str, object], figures: dict[str, object]) -> None:
    """Print one JSON line with the figures, the parameters, the machine and the commit."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    line = {
        "bench": bench,
        "commit": _commit(),
        "machine": machine,
        "parameters": parameters,
        "figures": figures,
    }
    print(json.dumps(line))


def _commit() -> str:
    """The commit of this folder, "unknown" outside of a repository."""
    try:
        run = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()
