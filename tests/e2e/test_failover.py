"""Redis fails over under load, in each of the three ways; the full command runs twenty each."""

from pathlib import Path

import pytest

from tests.e2e.failover import is_good, measure
from tests.e2e.redis_failovers import MODES


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
async def test_events_and_offers_go_on_after_a_failover(tmp_path: Path, mode: str):
    """One failover loses and doubles no event, and readiness says no meanwhile."""
    figures = await measure(mode, 1, 1, tmp_path)

    # Other tests share the cores; the full command checks the promised time.
    assert is_good(figures, slack=5), figures
