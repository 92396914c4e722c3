"""The bench of the teleport check finds the jumps that it plants."""

import zipfile
from pathlib import Path

from bench import jumps
from bench.common.traces import ARCHIVE


def test_planted_jumps_are_refused_and_true_fixes_accepted(tmp_path: Path):
    """On a straight drive every jump of a kilometre is refused and every true fix is accepted."""
    lines = ["timestamp,x,y,groundtruth"]
    lines += [f"1964-01-12 00:00:{at * 2:02}.000000000,{at * 16},0.0,Driving" for at in range(30)]
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        archive.writestr("data/trajectory_0001.csv", "\n".join(lines))
    figures = jumps.measure(tmp_path, every=1, seed=1)

    assert (figures["traces"], figures["true_fixes"], figures["false_flags"]) == (1, 29, 0.0)
    assert (figures["planted_1000_m"], figures["flagged_1000_m"]) == (3, 1.0)
    assert jumps.is_good(figures)
    assert not jumps.is_good({**figures, "flagged_3000_m": 0.98})
    assert not jumps.is_good({**figures, "false_flags": 0.006})
