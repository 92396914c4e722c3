"""Short form of the lateness command: offers end at their deadline."""

from pathlib import Path

import pytest

from tests.e2e.lateness import Size, holds_deadlines, measure


@pytest.mark.slow
async def test_offers_end_at_their_deadline(tmp_path: Path):
    """Every offer ends, none before its deadline, and none is accepted after it."""
    size = Size(offers=60, open=20, kill=False)
    figures = await measure(size, 1, tmp_path)

    # How long after the deadline an offer ends depends on what else runs: the command at full size
    # asserts that.
    assert holds_deadlines(figures, size), figures
