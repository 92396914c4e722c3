"""Short forms of the anonymous flood and of the keep-alive test."""

import random
from math import inf
from pathlib import Path

import pytest

from tests.e2e import anonymous, keep_alive
from tests.e2e.anonymous_attacker import INPUTS

# How much later others are answered is measured by the full command: on a machine that runs other
# tests as well, the ratio says nothing.
ANSWER_P99_MS_MAX = 1_000


@pytest.mark.slow
async def test_anonymous_input_is_answered_and_others_are_served(tmp_path: Path):
    """Each group for a moment: all input is answered, nothing fails, and nothing is logged."""
    figures = await anonymous.measure(anonymous.Size(0.2, rounds=1), tmp_path)

    assert set(INPUTS) <= set(figures)
    assert figures["sent"] > len(INPUTS)
    assert anonymous.is_good(figures, slack=inf), figures
    assert figures["worst_p99_ms"] <= ANSWER_P99_MS_MAX


@pytest.mark.slow
async def test_no_request_of_a_live_connection_is_lost(tmp_path: Path):
    """A thousand requests over fifty connections with gaps up to a second."""
    gaps_s = keep_alive.draw_gaps_s(random.Random(1), 1_000, 50, 1.0)
    figures = await keep_alive.measure(gaps_s, tmp_path)

    assert figures["answered"] == 1_000
    assert keep_alive.is_good(figures), figures
