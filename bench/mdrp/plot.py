"""The table of instances as a picture: delay per order, ours beside the published ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure

WIDTH_INCHES_PER_ROW, HEIGHT_INCHES, DPI = 0.55, 5, 120


class InstanceResult(Protocol):
    """One instance."""

    @property
    def name(self) -> str:
        """What the library calls it."""
        ...

    @property
    def figures(self) -> dict[str, float]:
        """Ours; `E` among them."""
        ...

    @property
    def published(self) -> dict[str, dict[str, float]]:
        """Others', by policy; `E` among them."""
        ...


def draw(path: Path, rows: Sequence[InstanceResult], policies: Sequence[str]) -> None:
    """Write the PNG."""
    figure = Figure((4 + WIDTH_INCHES_PER_ROW * len(rows), HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.bar(places, [row.figures["E"] for row in rows], width=0.6, label="this server")
    for policy, marker in zip(policies, "v^sDox", strict=False):
        known = [
            (at, row.published[policy]["E"])
            for at, row in enumerate(rows)
            if policy in row.published
        ]
        if known:
            axes.plot(*zip(*known, strict=True), marker, linestyle="none", label=policy)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xticks(places, [row.name for row in rows], rotation=60, ha="right")
    axes.set_ylabel("E: minutes of delay per order")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
