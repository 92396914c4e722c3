"""The bench of offers runs at its smallest size, and every order is offered."""

from pathlib import Path

import pytest

from bench import offer_latency

# Far above what a small size takes; a busy machine is no reason to fail.
RUN_S = 240


@pytest.mark.slow
@pytest.mark.timeout(RUN_S)
async def test_every_order_is_offered(tmp_path: Path):
    """Every order is offered, with more riders in the index than are connected."""
    size = offer_latency.Size(orders=4, riders=200, spare_riders=6)
    figures = await offer_latency.measure(size, 1, tmp_path)

    assert figures["connected_riders"] == 10
    assert figures["accept_to_offer_p50_ms"] > 0
    assert figures["raw_engines_p50_ms"] > 0


@pytest.mark.parametrize(
    ("p99_ms", "verdict"), [(50.0, "goal"), (50.1, "floor"), (250.0, "floor"), (250.1, "missed")]
)
def test_the_verdict_follows_the_tail(p99_ms: float, verdict: str):
    """The 99th percentile decides between goal, floor and missed."""
    assert offer_latency.verdict({"accept_to_offer_p99_ms": p99_ms}) == verdict
