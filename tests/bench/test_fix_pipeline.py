"""The bench of a fix inside the server runs at its smallest size."""

import pytest

from bench import fix_pipeline


@pytest.mark.engines
async def test_each_part_of_a_fix_has_a_cost():
    """The smallest size gives the cost of a fix without and with a watcher, and of its write."""
    figures = await fix_pipeline.measure(riders=20, rounds=2)
    assert set(figures) == {
        "us_per_fix_without_watcher",
        "us_per_fix_with_watcher",
        "us_per_rider_flushed",
    }
    assert all(isinstance(figure, float) and figure > 0 for figure in figures.values())
