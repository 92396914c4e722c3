"""Freshness: one rule for live, stale and lost."""

import pytest

from dispatch.tracking.freshness import FreshnessLimits


@pytest.mark.parametrize(
    ("age_ms", "freshness"),
    [
        (-1, "live"),
        (0, "live"),
        (15_000, "live"),
        (15_001, "stale"),
        (45_000, "stale"),
        (45_001, "lost"),
    ],
)
def test_freshness_follows_the_age(age_ms: int, freshness: str):
    """Up to 15 s a position is live, up to 45 s stale, then lost; a clock step back is live."""
    assert FreshnessLimits(fresh_ms=15_000, lost_ms=45_000).of_age(age_ms) == freshness
