"""The bench of arrival estimates, on a synthetic archive of traces."""

import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import eta
from bench.common.traces import ARCHIVE, read_traces

HEAD = "timestamp,x,y,groundtruth"
# A fix every five seconds of an agent who drives 900 m to the east in a minute, and then walks.
STEP_S, DRIVEN_M, STEPS = 5, 75.0, 13


def lines() -> Iterator[str]:
    yield HEAD
    for number in range(STEPS):
        yield (
            f"1964-01-12 00:{number * STEP_S // 60:02}:{number * STEP_S % 60:02}.000000000,"
            f"{number * DRIVEN_M},0.0,Driving"
        )
    for number in range(STEPS):
        yield f"1964-01-12 00:02:{number:02}.000000000,{STEPS * DRIVEN_M + number},0.0,OnFoot"


@pytest.fixture
def trace_folder(tmp_path: Path) -> Path:
    """A folder with an archive of ten such traces."""
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        for number in range(10):
            archive.writestr(f"data/trajectory_{number:04}.csv", "\n".join(lines()))
    return tmp_path


def test_a_constant_speed_is_learned(trace_folder: Path) -> None:
    """Where all drive at 15 m/s, learned estimates are better than the default speed's."""
    figures: dict[str, Any] = eta.measure(list(read_traces(trace_folder)), seed=1, drives_max=None)

    assert (figures["drives"], figures["detour_p50"]) == (10, 1.0)
    # 900 m times 1.4 at 7.3 m/s take 172.6 s, and 123.3 s without the detour.
    assert figures["default"]["p99_s"] == pytest.approx(112.6, abs=0.1)
    assert figures["straight"]["p99_s"] == pytest.approx(63.3, abs=0.1)
    assert figures["ours"]["mean_s"] < figures["ours_scattered"]["mean_s"]
    assert eta.is_better(figures)
    assert figures["slow_steps"] == {"on_foot": 1.0, "driving": 0.0}
    # The more a wrong prior weighs, the larger the error.
    assert all(a < b for a, b in pairwise(figures["mean_s_by_prior_s"].values()))


def test_short_drives_and_walks_are_left_out(trace_folder: Path) -> None:
    """A trace has one drive; its first 225 m alone, and its walk, are none."""
    trace = next(read_traces(trace_folder))

    assert [len(drive) for drive in eta.drives_of(trace)] == [STEPS]
    assert list(eta.drives_of(trace[:4])) == []
    assert list(eta.drives_of(trace[STEPS:])) == []
