"""Tests of the operations console that need no browser."""

import importlib.util
import subprocess
from pathlib import Path

from tests.e2e.node_script import node_path

ROOT = Path(__file__).parents[2]
CONSOLE = ROOT / "console"
TESTS_TIMEOUT_S = 90


def test_the_console_passes_its_own_tests():
    """The console's own unit tests (state, motion, order changes, rates) all pass."""
    result = subprocess.run(
        [node_path(), str(CONSOLE / "test.mjs")],
        capture_output=True,
        text=True,
        timeout=TESTS_TIMEOUT_S,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "\n# fail 0" in result.stdout


def test_the_map_is_up_to_date():
    """`console/map/draw_map.py` renders exactly the map that is in the repository."""
    spec = importlib.util.spec_from_file_location("draw_map", CONSOLE / "map/draw_map.py")
    assert spec is not None
    assert spec.loader is not None
    draw_map = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw_map)

    assert (CONSOLE / "map/douala.json").read_text(encoding="utf-8") == draw_map.render_map()
