"""Short form of the wins command."""

from pathlib import Path

import pytest

from tests.e2e.wins import Size, is_good, measure


@pytest.mark.slow
async def test_one_rider_wins_each_order(tmp_path: Path):
    """Of riders who accept one order at once, on two nodes, one wins; the others are notified."""
    figures = await measure(Size(orders=6, riders=8, sends=3, squads=1), 1, tmp_path)

    # Other tests share the cores; the full command checks the promised times.
    assert is_good(figures, slack=20), figures
