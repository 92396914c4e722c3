"""Bar chart of the delay per order by instance, with the published policies as markers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure

WIDTH_INCHES_PER_ROW, HEIGHT_INCHES, DPI = 0.55, 5, 120


class InstanceResult(Protocol):
    """Result of one instance."""

    @property
    def name(self) -> str:
        """The instance's name in the library."""
        ...

    @property
    def figures(self) -> dict[str, float]:
        """Figures of this server; `E` among them."""
        ...

    @property
    def published(self) -> dict[str, dict[str, float]]:
        """Published figures by policy; `E` among them."""
        ...


def draw(path: Path, rows: Sequence[InstanceResult], policies: Sequence[str]) -> None:
    """Draw the chart into a PNG file."""
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
