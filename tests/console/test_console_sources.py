"""The console's own parts, without a browser."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSOLE = ROOT / "console"
TESTS_TIMEOUT_S = 90


def node_path() -> str:
    """Node of the machine, or the one that came with the Python packages."""
    return shutil.which("node") or str(ROOT / ".venv/bin/node")


def test_the_console_passes_its_own_tests():
    """The picture of the city, its motion, news and rates are what the console's tests say."""
    told = subprocess.run(
        [node_path(), str(CONSOLE / "test.mjs")],
        capture_output=True,
        text=True,
        timeout=TESTS_TIMEOUT_S,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    assert "\n# fail 0" in told.stdout


def test_the_map_is_up_to_date():
    """`console/map/draw_map.py` draws the same map from the streets of the simulated city."""
    spec = importlib.util.spec_from_file_location("draw_map", CONSOLE / "map/draw_map.py")
    assert spec is not None
    assert spec.loader is not None
    lay = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lay)

    assert (CONSOLE / "map/douala.json").read_text(encoding="utf-8") == lay.render_map()
