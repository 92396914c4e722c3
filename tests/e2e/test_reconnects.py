"""Lost connections and restarted servers: clients miss no events, or get a resync."""

from pathlib import Path

import pytest

from tests.e2e import resume, rolling_restart
from tests.e2e.fleet import fleet
from tests.e2e.listeners import connect_listeners, open_publisher, wait_for

EVENT_TIMEOUT_S = 10.0


@pytest.mark.slow
async def test_a_reconnecting_client_gets_missed_events(tmp_path: Path):
    """Dropped clients get every event once and in order; beyond retention they get a resync."""
    figures = await resume.measure(resume.Size(clients=30, drops=3), 1, tmp_path)

    assert resume.is_good(figures), figures


@pytest.mark.slow
async def test_a_rolling_restart_loses_no_events(tmp_path: Path):
    """Three servers restart in turn: every client gets every event once and in order."""
    size = rolling_restart.Size(sockets=150, spread_s=1.0)
    figures = await rolling_restart.measure(size, 1, tmp_path)

    # How fast clients are back depends on what else runs: the command at full size asserts that.
    assert rolling_restart.loses_nothing(figures), figures


@pytest.mark.slow
async def test_a_redis_that_lost_its_last_second_causes_a_resync(tmp_path: Path):
    """Clients get a resync from a Redis that lost its last second, and show later events.

    It reused the numbers of the lost events, and clients took the new ones for known.
    """
    async with (
        fleet(tmp_path, ["all"]) as servers,
        open_publisher(servers) as publisher,
        connect_listeners(servers, [servers.nodes[0].site.url], 5, 1) as listeners,
    ):
        owners = [each.owner for each in listeners]
        await publisher.publish(owners)
        written_bytes = servers.valkey.written_bytes()
        await publisher.publish(owners)
        await wait_for(lambda: all(e.received == [1, 2] for e in listeners), EVENT_TIMEOUT_S)
        await servers.valkey.kill()
        servers.valkey.truncate_data(written_bytes)
        await servers.valkey.start()
        # At once, before the node has noticed that its connection to Redis is back.
        await publisher.publish(owners)
        await wait_for(lambda: all(e.received[-1] == 3 for e in listeners), EVENT_TIMEOUT_S)

        assert [each.received for each in listeners] == [[1, 2, 3]] * 5
        assert [each.resyncs for each in listeners] == [1] * 5
