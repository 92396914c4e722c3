"""Lines that break, and servers that go: nobody misses anything, or he is told so."""

import pytest

from tests.e2e import resume, rolling_restart


@pytest.mark.slow
async def test_whoever_comes_back_gets_what_he_missed(tmp_path):
    """Dropped again and again: no gap, nothing twice; outside of the window always a resync."""
    figures = await resume.measure(resume.Size(clients=30, drops=3), 1, tmp_path)

    assert resume.is_good(figures), figures


@pytest.mark.slow
async def test_servers_are_restarted_under_their_apps(tmp_path):
    """Three servers go one after the other; nothing is lost, and everybody is back in time."""
    size = rolling_restart.Size(sockets=150, spread_s=1.0)
    figures = await rolling_restart.measure(size, 1, tmp_path)

    assert rolling_restart.is_good(figures), figures
