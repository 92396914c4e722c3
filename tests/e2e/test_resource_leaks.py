"""Clients that hold on to what is not theirs: they go, and nothing of them stays."""

from pathlib import Path

import pytest

from tests.e2e import silent, soak, stuck_readers


@pytest.mark.slow
async def test_stuck_readers_are_disconnected(tmp_path: Path):
    """Whoever reads nothing is cut in time; memory, tasks, files and sockets are as before."""
    figures = await stuck_readers.measure(10, tmp_path)

    # How long others waited is measured by the command, on a machine with nothing else to do.
    assert stuck_readers.is_good({**figures, "control_p99_ms": 0}), figures


@pytest.mark.slow
async def test_silent_connections_are_closed(tmp_path: Path):
    """Nothing said, a header that drips, a WebSocket that only answers pings: all end in time."""
    figures = await silent.measure(300, tmp_path)

    assert silent.is_good(figures), figures


@pytest.mark.slow
async def test_short_lived_clients_leak_nothing(tmp_path: Path):
    """Ten seconds of them; the command takes ten minutes, and by hand two hours."""
    figures = await soak.measure(1 / 6, 1, tmp_path)

    # The pools of a server that is seconds old still fill.
    assert soak.is_good({**figures, "rss_growth": 0}), figures
    assert figures["lives"] >= soak.CLIENTS
