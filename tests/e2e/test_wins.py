"""Many riders accept one order at once, over several nodes: exactly one of them wins it."""

from pathlib import Path

import pytest

from tests.e2e.wins import Size, is_good, measure


@pytest.mark.slow
async def test_one_rider_wins_each_order(tmp_path: Path):
    """Each sends his accept three times over two nodes; the losers hear of it at once."""
    figures = await measure(Size(orders=6, riders=8, sends=3, squads=1), 1, tmp_path)

    # Other tests run beside this one on the same cores; the command alone holds the promise itself.
    assert is_good(figures, slack=5), figures
