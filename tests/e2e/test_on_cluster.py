"""Servers on a Redis Cluster: an order is carried and watched as on one Redis."""

from pathlib import Path

import pytest

from tests.e2e.fleet import fleet
from tests.e2e.route import Street, drive
from tests.redis_cluster import cluster
from tests.waiting import Until

SLOW_S = 30.0


@pytest.mark.slow
async def test_an_order_is_carried_on_a_cluster(tmp_path: Path, until: Until) -> None:
    """Offered, watched from both servers, delivered and settled; no server complains."""
    async with (
        cluster(tmp_path / "cluster") as shards,
        fleet(tmp_path, ["all", "all"], REDIS_URL=shards.url) as running,
    ):
        street = Street(running)
        job = await street.open()
        screens = [await street.window(site, job.order_id) for site in (street.here, street.there)]
        rider = job.carrier
        for metres in (10, 20, 30):
            await rider.phone.call("location_update", drive(rider, metres))
        await until.true(lambda: all(30 in screen.north_m for screen in screens), SLOW_S)
        await street.town.carry(job)
        assert await street.town.complete(job) > job.completed_s
        used = [await shard.client.dbsize() for shard in shards.shards]
        street.close()

    assert all(screen.told[0]["state"] == "live" for screen in screens)
    assert all(used), "every server of the cluster has its share"
    assert [node.faults for node in running.nodes] == [[], []]
