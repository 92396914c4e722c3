"""Reading of GOAL's archive of traces."""

import zipfile
from pathlib import Path

import pytest

from bench.common.traces import ARCHIVE, TracePoint, read_traces


def test_traces_are_read_in_the_order_of_their_names(tmp_path: Path):
    """Each CSV file is a trace, with seconds, metres and the driving label; others are ignored."""
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        for name, x in (("b.csv", 2.5), ("a.csv", 1.5), ("readme.txt", 0)):
            archive.writestr(
                f"data/{name}",
                "timestamp,x,y,groundtruth\n"
                f"1970-01-01 00:00:01.250000000,{x},4,Driving\n"
                f"1970-01-01 00:00:06.000000000,{x},5,OnFoot\n",
            )
    first, second = read_traces(tmp_path)
    assert first == [TracePoint(1.25, 1.5, 4.0, True), TracePoint(6.0, 1.5, 5.0, False)]
    assert second[0].x_m == 2.5


def test_a_missing_archive_is_an_error(tmp_path: Path):
    """A folder without the archive raises FileNotFoundError."""
    with pytest.raises(FileNotFoundError):
        list(read_traces(tmp_path))
