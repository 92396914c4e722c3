"""Logs: one JSON object a line, from the configured level upwards."""

import json
import subprocess
import sys

SCRIPT = """
import structlog
from dispatch import settings
from handlers.app.logs import configure_logs
configure_logs(settings.read({"JWT_SECRET": "s" * 32, "LOG_LEVEL": "warning"}))
log = structlog.get_logger("x")
log.info("quiet")
log.warning("loud", orders=2)
"""


def test_a_line_is_one_json_object():
    """With its level, its time and its fields; a line below the level is left out."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    [line] = done.stderr.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["orders"]) == ("loud", "warning", 2)
    assert "timestamp" in entry
    assert done.stdout == ""
