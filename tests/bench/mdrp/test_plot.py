"""The chart of results by instance."""

from pathlib import Path

from bench.matching import InstanceResult
from bench.mdrp.plot import draw


def test_a_chart_is_drawn_with_and_without_published_figures(tmp_path: Path):
    """A PNG is written, also where a policy was published for some instances only."""
    rows = [
        InstanceResult("a", {"E": 1.0}, {"H2": {"E": 2.0}}),
        InstanceResult("b", {"E": 3.0}, {}),
    ]
    draw(tmp_path / "charts" / "chart.png", rows, ("H2", "G0"))
    assert (tmp_path / "charts" / "chart.png").read_bytes().startswith(b"\x89PNG")
