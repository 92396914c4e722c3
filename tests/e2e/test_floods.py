"""Short forms of the flood and guess commands: others are served, guesses reveal nothing."""

from math import inf
from pathlib import Path

import pytest

from tests.e2e import flood, guess

# Others are served while the flood lasts. How much later is measured by the full command: on a
# machine that runs other tests as well, the ratio says nothing.
ANSWER_P99_MS_MAX = 1_000


@pytest.mark.slow
async def test_a_flood_is_cut_and_others_are_served(tmp_path: Path):
    """A second of events, big frames and pings: each flood is cut, and the others are answered."""
    kinds = ("events", "big_frames", "pings")
    figures = await flood.measure(flood.Size(1.0, 1, kinds), tmp_path)

    assert flood.is_good(figures, rise_max=inf), figures
    assert [k for k in kinds if figures[k]["flood_p99_ms"] > ANSWER_P99_MS_MAX] == []


@pytest.mark.slow
async def test_guessed_ids_reveal_nothing(tmp_path: Path):
    """Existing and made-up ids get equal answers in equal times, and no events of others."""
    figures = await guess.measure(700, 1, tmp_path)

    assert guess.is_good(figures), figures
