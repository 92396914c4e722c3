"""Freshness of a position by the age of its fix."""

from handlers.sockets.fix_age import FixAgeLimits


def test_each_limit_belongs_to_the_better_grade():
    """At 15 s a position is still live, at 45 s still stale."""
    limits = FixAgeLimits(fresh_ms=15_000, lost_ms=45_000)
    ages = [0, 15_000, 15_001, 45_000, 45_001]
    assert [limits.freshness(age) for age in ages] == ["live", "live", "stale", "stale", "lost"]
