"""Short form of the fuzz command."""

from pathlib import Path

import pytest

from tests.e2e import fuzz


@pytest.mark.slow
async def test_bad_frames_harm_nobody(tmp_path: Path):
    """Malformed frames crash nothing, log little, grow no memory; another client is answered."""
    figures = await fuzz.measure(8_000, 1, tmp_path)

    # Other tests share the cores; the full command checks the promised time.
    assert fuzz.is_good(figures, slack=5), figures
