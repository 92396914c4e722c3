"""Freshness of a rider's position: live, stale or lost, by the age of its last fix; pure."""

from typing import NamedTuple

from dispatch.wire.events import Freshness


class FreshnessLimits(NamedTuple):
    """The ages up to which a position is live, and up to which it is stale. Units: milliseconds.

    The age counts from the server's receipt of the fix, never from the phone's clock.
    """

    fresh_ms: int
    lost_ms: int

    def of_age(self, age_ms: int) -> Freshness:
        """The freshness of a position of this age; a negative age (a clock step) is live.

        Units: milliseconds.
        """
        if age_ms <= self.fresh_ms:
            return "live"
        return "stale" if age_ms <= self.lost_ms else "lost"
