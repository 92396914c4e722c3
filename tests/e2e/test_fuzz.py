"""Frames that nobody should send, at a real server: it stays up, quiet, small and quick."""

from pathlib import Path

import pytest

from tests.e2e import fuzz


@pytest.mark.slow
async def test_bad_frames_harm_nobody(tmp_path: Path):
    """No crash, no traceback, no memory, no log; the healthy connection beside them is answered."""
    figures = await fuzz.measure(8_000, 1, tmp_path)

    assert fuzz.is_good(figures), figures
