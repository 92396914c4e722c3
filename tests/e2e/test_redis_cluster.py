"""Servers on a Redis Cluster: an order is carried and watched as on one Redis."""

from pathlib import Path

import pytest

from tests.e2e.fleet import fleet
from tests.e2e.two_server_scenario import TwoServerScenario, next_fix
from tests.redis_cluster import start_cluster
from tests.waiting import Until

DEADLINE_S = 30.0


@pytest.mark.slow
async def test_an_order_is_delivered_on_a_cluster(tmp_path: Path, until: Until) -> None:
    """Offered, watched from both servers, delivered and settled; no server complains."""
    async with (
        start_cluster(tmp_path / "cluster") as shards,
        fleet(tmp_path, ["all", "all"], REDIS_URL=shards.url) as running,
    ):
        street = TwoServerScenario(running)
        job = await street.assign_order()
        screens = [
            await street.open_screen(site, job.order_id)
            for site in (street.vendor_site, street.rider_site)
        ]
        rider = job.assigned_rider
        for metres in (10, 20, 30):
            await rider.socket.call("location_update", next_fix(rider, metres))
        await until.true(lambda: all(30 in screen.north_m for screen in screens), DEADLINE_S)
        await street.vendor_scenario.bring_to_door(job)
        assert await street.vendor_scenario.complete(job) > job.completed_s
        used = [await shard.client.dbsize() for shard in shards.shards]
        street.close()

    assert all(screen.positions[0]["state"] == "live" for screen in screens)
    assert all(used), "every server of the cluster has its share"
    assert [node.log_faults for node in running.nodes] == [[], []]
