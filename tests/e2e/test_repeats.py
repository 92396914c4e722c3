"""Short form of the repeats command."""

from pathlib import Path

import pytest

from tests.e2e.repeats import Size, is_good, measure


@pytest.mark.slow
async def test_copies_of_a_command_have_one_effect(tmp_path: Path):
    """Copies of every kind of command, on three nodes, have one effect and equal answers."""
    figures = await measure(Size(copies=6, rounds=1), tmp_path)

    assert is_good(figures), figures
