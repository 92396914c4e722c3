"""Solution files for the library's evaluator."""

from pathlib import Path

from bench.mdrp import solution
from bench.mdrp.instances import Instance
from tests.bench.mdrp.tiny import GOOD


def test_a_run_is_written_as_the_library_reads_it(tiny_instance: Instance, tmp_path: Path):
    """Three tables: assignments with their times, orders with theirs, every courier's drives."""
    solution.write_solution(tmp_path, tiny_instance, [GOOD])
    lines = {path.stem: path.read_text().splitlines() for path in tmp_path.glob("solution_*.txt")}
    assert lines["solution_info_assignments"][1:] == ["3 15 c1 o1"]
    assert lines["solution_info_orders"][1:] == ["o1 0 r1 15 15 34 c1"]
    assert lines["solution_info_couriers"][1:] == ["c1 3 0 r1", "c1 17 r1 o1"]
