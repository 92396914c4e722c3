"""Short form of the overload command."""

import json
from pathlib import Path

import pytest

from tests.e2e.overload import Size, is_accounted_for, measure


@pytest.mark.slow
async def test_an_overload_is_accounted_for(tmp_path: Path):
    """Beyond the sustained rate memory stays flat, and every fix is shown in order or counted."""
    figures = await measure(Size(pairs=60, seconds=2.0), tmp_path)

    # How fresh positions are depends on what else runs: the command at full size asserts that.
    assert figures["sent"] > 0
    assert is_accounted_for(figures), json.dumps(figures)
