"""The bench of searches runs at its smallest size."""

import pytest

from bench import nearby


@pytest.mark.engines
async def test_searches_find_riders_in_one_round_trip():
    """The smallest size finds riders, with hardly more than one round trip for each search."""
    figures = await nearby.measure(riders=1_000, searches=10)
    half_busy = figures["half_busy"]
    assert isinstance(half_busy, dict)
    assert 0 < half_busy["candidates_mean"] <= nearby.CANDIDATES
    assert half_busy["p50_ms"] <= half_busy["p99_ms"]
    assert 1 <= half_busy["round_trips_mean"] < 2


@pytest.mark.parametrize(
    ("p99_ms", "trips", "verdict"),
    [(10.0, 1.1, "goal"), (10.1, 1.1, "floor"), (10.0, 1.2, "floor"), (25.1, 1.0, "missed")],
)
def test_the_verdict_follows_the_worse_city(p99_ms: float, trips: float, verdict: str):
    """The slower of both cities, and its round trips, decide between goal, floor and missed."""
    figures = {
        "half_busy": {"p99_ms": 1.0, "round_trips_mean": 1.0},
        "nearly_all_busy": {"p99_ms": p99_ms, "round_trips_mean": trips},
    }
    assert nearby.verdict(figures) == verdict
