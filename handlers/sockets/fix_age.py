"""Freshness of a position by the age of its fix."""

from typing import NamedTuple

from dispatch.tracking.rider_state import Freshness


class FixAgeLimits(NamedTuple):
    """Ages from which on a position is stale or lost. Units: milliseconds."""

    fresh_ms: int
    lost_ms: int

    def freshness(self, age_ms: int) -> Freshness:
        """How far a position of that age may be trusted."""
        if age_ms <= self.fresh_ms:
            return "live"
        return "stale" if age_ms <= self.lost_ms else "lost"
