"""The benches of positions run, and measure what they say they measure."""

import pytest

from bench import lane, nearby

pytestmark = pytest.mark.engines


async def test_the_lane_bench_runs():
    """Its smallest size gives three costs, all of them something."""
    figures = await lane.measure(riders=20, rounds=2)
    assert set(figures) == {
        "us_per_fix_without_watcher",
        "us_per_fix_with_watcher",
        "us_per_rider_flushed",
    }
    assert all(isinstance(figure, float) and figure > 0 for figure in figures.values())


async def test_the_nearby_bench_runs():
    """Its smallest size finds riders in both cities."""
    figures = await nearby.measure(riders=1_000, searches=10)
    half_busy = figures["half_busy"]
    assert isinstance(half_busy, dict)
    assert 0 < half_busy["candidates_mean"] <= nearby.CANDIDATES
    assert half_busy["p50_ms"] <= half_busy["p99_ms"]
    assert 1 <= half_busy["round_trips_mean"] < 2
    assert nearby.verdict(figures) in {"goal", "floor", "missed"}
