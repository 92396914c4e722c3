"""Short forms of the stuck_readers, silent and soak commands."""

from pathlib import Path

import pytest

from tests.e2e import silent, soak, stuck_readers

SLACK = 3


@pytest.mark.slow
async def test_stuck_readers_are_disconnected(tmp_path: Path):
    """Clients that read nothing are cut; memory, tasks, files and sockets return to normal."""
    figures = await stuck_readers.measure(10, tmp_path)

    # Other tests share the cores; the full command checks the promised times.
    assert stuck_readers.is_good(figures, slack=SLACK), figures


@pytest.mark.slow
async def test_silent_connections_are_closed(tmp_path: Path):
    """Silent connections, slow headers and WebSockets that only answer pings are closed in time."""
    figures = await silent.measure(300, tmp_path)

    # Other tests share the cores; the full command checks the promised times.
    assert silent.is_good(figures, slack=SLACK), figures


@pytest.mark.slow
async def test_short_lived_clients_leak_nothing(tmp_path: Path):
    """Ten seconds of short-lived clients leave no socket, and files only in the pools."""
    figures = await soak.measure(1 / 6, 1, tmp_path)

    # The pools of a server that is seconds old still grow.
    assert soak.is_good({**figures, "rss_growth": 0}), figures
    assert figures["clients"] >= soak.CLIENTS
