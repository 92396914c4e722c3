"""Reporting interval: how often a rider's app should send a fix; pure.

It depends on whether the rider has an order, is watched, and is near its next stop.
"""

from typing import NamedTuple

from dispatch.wire.events import TrackingPolicy
from dispatch.wire.frames import encode_event

# A rider within this distance of its next stop reports at the CLOSE interval.
# Source: chosen, with the three intervals below; bench/cadence.py has what they cost and show.
NEAR_M = 500.0
# A rider that is near stays so up to this distance, so that the interval does not flap.
NEAR_EXIT_M = 600.0


class ReportingInterval(NamedTuple):
    """A tracking policy and its encoded `tracking_policy` packet."""

    policy: TrackingPolicy
    packet: bytes


def _reporting_interval(interval_ms: int, min_displacement_m: int) -> ReportingInterval:
    policy = TrackingPolicy(interval_ms=interval_ms, min_displacement_m=min_displacement_m)
    return ReportingInterval(policy, encode_event("/rider", policy))


IDLE = _reporting_interval(15_000, 50)
ON_JOB = _reporting_interval(4_000, 15)
CLOSE = _reporting_interval(2_000, 8)


def busy_interval(
    away_m: float, current: ReportingInterval | None, *, is_watched: bool
) -> ReportingInterval:
    """The interval of a rider with an order. Units: metres to its next stop."""
    if is_watched or away_m <= NEAR_M:
        return CLOSE
    return CLOSE if current is CLOSE and away_m <= NEAR_EXIT_M else ON_JOB
