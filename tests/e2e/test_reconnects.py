"""Lines that break, and servers that go: nobody misses anything, or he is told so."""

from pathlib import Path

import pytest

from tests.e2e import resume, rolling_restart
from tests.e2e.fleet import fleet
from tests.e2e.listeners import connect_listeners, open_publisher, wait_for

EVENT_TIMEOUT_S = 10.0


@pytest.mark.slow
async def test_a_reconnecting_client_gets_missed_events(tmp_path: Path):
    """Dropped again and again: no gap, nothing twice; outside of the window always a resync."""
    figures = await resume.measure(resume.Size(clients=30, drops=3), 1, tmp_path)

    assert resume.is_good(figures), figures


@pytest.mark.slow
async def test_a_rolling_restart_loses_no_events(tmp_path: Path):
    """Three servers go one after the other; nothing is lost, and everybody is back in time."""
    size = rolling_restart.Size(sockets=150, spread_s=1.0)
    figures = await rolling_restart.measure(size, 1, tmp_path)

    assert rolling_restart.is_good(figures), figures


@pytest.mark.slow
async def test_a_redis_that_lost_its_last_second_causes_a_resync(tmp_path: Path):
    """It numbered anew what it had forgotten, and apps took the next events for known ones.

    Now each app is told to start afresh, and shows what is said after that.
    """
    async with (
        fleet(tmp_path, ["all"]) as running,
        open_publisher(running) as publisher,
        connect_listeners(running, [running.nodes[0].site.url], 5, 1) as listeners,
    ):
        owners = [each.owner for each in listeners]
        await publisher.publish(owners)
        kept = running.valkey.written_bytes()
        await publisher.publish(owners)
        await wait_for(lambda: all(e.received == [1, 2] for e in listeners), EVENT_TIMEOUT_S)
        await running.valkey.kill()
        running.valkey.truncate_data(kept)
        await running.valkey.start()
        # At once, before the node has found that its line to Redis is back.
        await publisher.publish(owners)
        await wait_for(lambda: all(e.received[-1] == 3 for e in listeners), EVENT_TIMEOUT_S)

        assert [each.received for each in listeners] == [[1, 2, 3]] * 5
        assert [each.resyncs for each in listeners] == [1] * 5
