"""Real traces of delivery agents: GOAL, GPS ordered activity labels, CC BY 4.0, Amazon.

They stay where they are: 805 of six minutes each, a fix about every five seconds, labelled.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

ARCHIVE = "trajectories.zip"


class TracePoint(NamedTuple):
    """A line of a trace. Units: seconds, metres from an arbitrary origin."""

    at_s: float
    x_m: float
    y_m: float
    is_driving: bool


def read_traces(folder: Path) -> Iterator[list[TracePoint]]:
    """Every trace of the archive in a folder, in the order of their names.

    Errors: FileNotFoundError.
    """
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".csv"):
                yield _read_trace(name, archive)


def _read_trace(name: str, archive: zipfile.ZipFile) -> list[TracePoint]:
    with archive.open(name) as lines:
        return [
            # Fractions of a second are given to the nanosecond.
            TracePoint(
                datetime.fromisoformat(f"{row['timestamp'][:26]}+00:00").timestamp(),
                float(row["x"]),
                float(row["y"]),
                row["groundtruth"] == "Driving",
            )
            for row in csv.DictReader(io.TextIOWrapper(lines))
        ]
