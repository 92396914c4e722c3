"""The reporting interval depends on the workload, watchers and distance of a rider."""

import orjson
import pytest

from dispatch.tracking.reporting_interval import (
    CLOSE,
    IDLE,
    ON_JOB,
    ReportingInterval,
    busy_interval,
)


@pytest.mark.parametrize(
    ("away_m", "before", "is_watched", "interval"),
    [
        (5_000, None, False, ON_JOB),
        (5_000, None, True, CLOSE),
        (500, ON_JOB, False, CLOSE),
        (501, ON_JOB, False, ON_JOB),
        (600, CLOSE, False, CLOSE),
        (601, CLOSE, False, ON_JOB),
    ],
)
def test_the_reporting_interval_of_a_busy_rider(
    away_m: float, before: ReportingInterval | None, is_watched: bool, interval: ReportingInterval
):
    """Within 500 m of its stop or watched a rider reports often, and keeps to it up to 600 m."""
    assert busy_interval(away_m, before, is_watched=is_watched) is interval


def test_the_reporting_intervals():
    """Idle 15 s and 50 m, on a job 4 s and 15 m, close or watched 2 s and 8 m."""
    policies = [each.policy for each in (IDLE, ON_JOB, CLOSE)]
    assert [(each.interval_ms, each.min_displacement_m) for each in policies] == [
        (15_000, 50),
        (4_000, 15),
        (2_000, 8),
    ]


def test_the_packet_carries_the_policy():
    """The encoded packet is the `tracking_policy` event of the namespace /rider."""
    namespace, _, array = ON_JOB.packet.partition(b",")
    assert namespace == b"42/rider"
    assert orjson.loads(array) == ["tracking_policy", {"intervalMs": 4_000, "minDisplacementM": 15}]
