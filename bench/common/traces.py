"""Reads GPS traces of delivery agents: GOAL, GPS ordered activity labels, CC BY 4.0, Amazon.

The archive is not part of the repository: 805 traces of six minutes each, a fix about every five
seconds, with an activity label.
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
    """One fix of a trace. Units: seconds, metres from an arbitrary origin."""

    at_s: float
    x_m: float
    y_m: float
    is_driving: bool


def read_traces(folder: Path) -> Iterator[list[TracePoint]]:
    """Every trace of the archive in a folder, sorted by name. Units: seconds, metres.

    Errors: FileNotFoundError.
    """
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".csv"):
                yield _read_trace(name, archive)


def _read_trace(name: str, archive: zipfile.ZipFile) -> list[TracePoint]:
    with archive.open(name) as lines:
        return [
            # The archive has nanoseconds, Python takes microseconds.
            TracePoint(
                datetime.fromisoformat(f"{row['timestamp'][:26]}+00:00").timestamp(),
                float(row["x"]),
                float(row["y"]),
                row["groundtruth"] == "Driving",
            )
            for row in csv.DictReader(io.TextIOWrapper(lines))
        ]
