"""Bar chart of the result lines of `bench.relay` and `bench.connect`: this server beside others.

`python -m bench.common.socket_plot LINES PICTURE.svg`. Of several lines of a bench at one size the
last one is drawn.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

# Readable on white and on black: the picture is transparent.
INK = "#808890"
COLOURS = {"ours": "#2a9d8f", "peer": "#e76f51", "limit": "#8a93a0"}
NAMES = {"ours": "this server", "peer": "Node Socket.IO", "limit": "bare C relay"}
WIDTH_INCHES, HEIGHT_INCHES = 10, 3.4
# Figures of a `connect` line that are drawn, with their titles.
_CONNECT_PANELS = {
    "connect_cpu_ms": "CPU a connect, ms",
    "kb_per_socket": "memory a socket, KB",
    "cpu_us_per_fix": "CPU a fix, open loop, µs",
}


class Panel(NamedTuple):
    """One group of bars."""

    title: str
    values: dict[str, float]


def parse_panels(lines: Iterable[str]) -> list[Panel]:
    """The panels of these JSON lines: `relay` first, then by size."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for text in lines:
        line = json.loads(text)
        size = line["parameters"].get("sockets") or 2 * line["parameters"]["pairs"]
        found[line["bench"], size] = line["figures"]
    return [
        panel
        for (bench, size), figures in sorted(found.items(), key=lambda each: _sort_key(*each[0]))
        for panel in (
            _relay_panels(figures, size) if bench == "relay" else _connect_panels(figures, size)
        )
    ]


def _sort_key(bench: str, size: int) -> tuple[bool, int]:
    return (bench != "relay", size)


def _relay_panels(figures: dict[str, Any], size: int) -> list[Panel]:
    values = {who: figures[who]["cpu_us_per_fix"] for who in NAMES}
    return [Panel(f"CPU a fix, {size:,} sockets,\nclosed loop, µs", values)]


def _connect_panels(figures: dict[str, Any], size: int) -> list[Panel]:
    return [
        Panel(f"{words},\n{size:,} sockets", {who: figures[who][name] for who in ("ours", "peer")})
        for name, words in _CONNECT_PANELS.items()
    ]


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Draw the panels into a picture; the format follows the suffix of the path."""
    # A fixed salt, and no date below: the same lines give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bars", "text.color": INK})
    figure = Figure((WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        bars = axes.bar(
            [NAMES[who] for who in panel.values],
            list(panel.values.values()),
            color=[COLOURS[who] for who in panel.values],
        )
        axes.bar_label(bars, fmt="%.3g", color=INK)
        axes.set_title(panel.title, fontsize=9, color=INK)
        axes.set_yticks([])
        axes.tick_params(axis="x", colors=INK, labelsize=8, rotation=25)
        axes.set_facecolor("none")
        for side in axes.spines.values():
            side.set_color("none")
        axes.spines["bottom"].set_color(INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None})


def main() -> None:
    """Draw the result lines of one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path, help="a file of result lines")
    parser.add_argument("picture", type=Path, help="the picture to write, .svg or .png")
    given = parser.parse_args()
    draw(given.picture, parse_panels(given.lines.read_text().splitlines()))


if __name__ == "__main__":
    main()
