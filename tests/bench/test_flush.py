"""The bench of writes to Redis: recorded commands, and all three ways of sending them."""

from pathlib import Path

import pytest

from bench.engines.raw_baseline import running_product
from bench.flush import measure_flush, parse_commands


def test_recorded_bytes_are_parsed_to_commands():
    """Two commands of RESP in one stream are two lists of their arguments."""
    packed = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$0\r\n\r\n"
    assert parse_commands(packed) == [[b"GET", b"a"], [b"SET", b"b", b""]]
    assert parse_commands(b"") == []


@pytest.mark.slow
@pytest.mark.engines
async def test_all_three_ways_are_measured(tmp_path: Path):
    """The product, the library and the bare connection each have a time for the same commands."""
    async with running_product(tmp_path) as product:
        figures = await measure_flush(product, riders=5, rounds=2)
    assert set(figures) == {
        "flush_us_per_rider",
        "flush_cpu_us_per_rider",
        "flush_library_us_per_rider",
        "flush_bare_us_per_rider",
        "flush_to_bare",
    }
    assert all(isinstance(figure, float) and figure > 0 for figure in figures.values())
