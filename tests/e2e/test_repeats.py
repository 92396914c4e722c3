"""Copies of one command on three nodes at once: one effect, and the same answer for each."""

from pathlib import Path

import pytest

from tests.e2e.repeats import Size, is_good, measure


@pytest.mark.slow
async def test_copies_of_a_command_have_one_effect(tmp_path: Path):
    """Every kind of command, from money in to the stars at the end."""
    figures = await measure(Size(copies=6, rounds=1), tmp_path)

    assert is_good(figures), figures
