"""The bench of two servers runs at its smallest size, and loses no fix."""

from pathlib import Path

import pytest

from bench import two_nodes

# Far above what a small size takes; a busy machine is no reason to fail.
RUN_S = 240
GOOD = {
    "cross_p99_ms": two_nodes.CROSS_P99_MS_GOAL,
    "two_to_one": two_nodes.TWO_TO_ONE_GOAL,
}


@pytest.mark.slow
@pytest.mark.timeout(RUN_S)
async def test_every_fix_crosses(tmp_path: Path):
    """No fix is lost or shown out of order between two servers, and all costs are measured."""
    figures = await two_nodes.measure(two_nodes.Size(pairs=8, seconds=1.0), tmp_path)

    assert figures["cross_lost"] == 0
    assert figures["cross_fixes"] > 0
    assert all(
        isinstance(figures[name], float) and figures[name] > 0
        for name in ("cross_p50_ms", "raw_pubsub_p50_ms", "one_cpu_us_per_fix", "two_to_one")
    )


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, "goal"),
        ({"cross_p99_ms": 61.0}, "floor"),
        ({"two_to_one": 1.5}, "floor"),
        ({"cross_p99_ms": 151.0}, "missed"),
        ({"two_to_one": 1.39}, "missed"),
    ],
)
def test_the_verdict_follows_both_figures(changed: dict[str, float], verdict: str):
    """Goal and floor hold only where latency and throughput both hold them."""
    assert two_nodes.verdict(GOOD | changed) == verdict
