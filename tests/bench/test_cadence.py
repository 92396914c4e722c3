"""The bench of reporting intervals runs in a small city."""

import pytest

from bench import cadence

# Far above what a small size takes; a busy machine is no reason to fail.
RUN_S = 240


@pytest.mark.slow
@pytest.mark.timeout(RUN_S)
async def test_riders_who_follow_the_policy_send_fewer_fixes():
    """Riders who follow `tracking_policy` send fewer fixes than one interval for all would need."""
    figures = await cadence.measure(riders=8, seconds=18.0, seed=1)

    assert 0 < figures["fixes_sent"] < figures["without_at_close"]
    assert figures["spared_of_on_job"] < figures["spared_of_close"]
