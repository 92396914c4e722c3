"""How often a rider should report: by what he does, who looks, and how near he is; pure.

Beside step 2 of a fix's way: tracking.guide → [here] → the rider's app.
"""

from typing import NamedTuple

from dispatch.wire.events import TrackingPolicy
from dispatch.wire.frames import encode_event

# Source: tracking design: idle 15 s / 50 m; on a job 4 s / 15 m; within 500 m of his next place or
# watched 2 s / 8 m.
NEAR_M = 500.0
# Who was near stays so until here: a rider along the edge is not told twice a minute.
NEAR_EXIT_M = 600.0


class ReportingInterval(NamedTuple):
    """A policy and its packet, encoded once."""

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
    """The cadence of a rider with an order. Units: metres to his next place."""
    if is_watched or away_m <= NEAR_M:
        return CLOSE
    return CLOSE if current is CLOSE and away_m <= NEAR_EXIT_M else ON_JOB
