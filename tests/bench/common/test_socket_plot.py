"""The bar chart of `relay` and `connect` result lines."""

import json
from pathlib import Path

from bench.common.socket_plot import draw, parse_panels


def relay(pairs: int, ours: float) -> str:
    figures = {
        name: {"cpu_us_per_fix": us} for name, us in (("ours", ours), ("peer", 80), ("limit", 9))
    }
    return json.dumps({"bench": "relay", "parameters": {"pairs": pairs}, "figures": figures})


def connect(sockets: int) -> str:
    one = {"connect_cpu_ms": 1.5, "kb_per_socket": 11.0, "cpu_us_per_fix": 60.0}
    figures = {"ours": one, "peer": one}
    return json.dumps({"bench": "connect", "parameters": {"sockets": sockets}, "figures": figures})


def test_the_last_line_of_each_size_is_drawn():
    """Of two lines of one bench and size the last one has a panel."""
    panels = parse_panels([relay(500, 99), relay(5000, 50), connect(10_000), relay(500, 40)])
    relays = [panel for panel in panels if "closed loop" in panel.title]
    assert [panel.values["ours"] for panel in relays] == [40, 50]
    assert len(panels) == 5


def test_the_same_lines_give_the_same_picture(tmp_path: Path):
    """Two pictures of the same lines are equal byte for byte."""
    panels = parse_panels([relay(500, 40), connect(2_000)])
    for name in ("a.svg", "b.svg"):
        draw(tmp_path / name, panels)
    first = (tmp_path / "a.svg").read_text()
    assert first == (tmp_path / "b.svg").read_text()
    assert "this server" in first
