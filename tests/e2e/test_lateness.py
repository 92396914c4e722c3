"""Offers that nobody answers, or answers at the last moment: they end when they should."""

from pathlib import Path

import pytest

from tests.e2e.lateness import Size, is_good, measure


@pytest.mark.slow
async def test_offers_end_on_time(tmp_path: Path):
    """None ends early, none is accepted late, and the engine is not long in ending them."""
    size = Size(offers=60, open=20, kill=False)
    figures = await measure(size, 1, tmp_path)

    # Other tests run beside this one on the same cores; the command alone holds the promise itself.
    assert is_good(figures, size, slack=5), figures
