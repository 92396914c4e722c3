"""More fixes than a server can carry: it coalesces instead of queueing."""

import json
from pathlib import Path

import pytest

from tests.e2e.overload import Size, is_good, measure


@pytest.mark.slow
async def test_twice_what_is_sustained_is_coalesced(tmp_path: Path):
    """What customers see stays fresh, memory stays flat, and whatever is left out is counted."""
    figures = await measure(Size(pairs=60, seconds=2.0), tmp_path)

    # Other tests run beside this one on the same cores; the command alone holds the promise itself.
    assert is_good(figures, slack=10), json.dumps(figures)
