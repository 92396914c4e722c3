"""Somebody floods, somebody guesses: the others do not feel it, and he learns nothing."""

from pathlib import Path

import pytest

from tests.e2e import flood, guess

# A machine that runs other tests beside: what a flood makes of it is seen, a fifth is not.
RISE_MAX = 4.0


@pytest.mark.slow
async def test_a_flood_is_cut_and_others_are_served(tmp_path: Path):
    """A second of events, big frames and pings each; the command takes all kinds, and its time."""
    size = flood.Size(1.0, 1, ("events", "big_frames", "pings"))
    figures = await flood.measure(size, tmp_path)

    assert flood.is_good(figures, RISE_MAX), figures


@pytest.mark.slow
async def test_guessed_ids_reveal_nothing(tmp_path: Path):
    """Ids that are there and ids that are not: the same words, as soon, and no event of others."""
    figures = await guess.measure(700, 1, tmp_path)

    assert guess.is_good(figures), figures
