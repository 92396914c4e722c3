"""Servers on a Redis Cluster."""

from pathlib import Path

import pytest

from tests.e2e.fleet import fleet
from tests.e2e.two_server_scenario import TwoServerScenario, next_fix
from tests.redis_cluster import start_cluster
from tests.waiting import Until

DEADLINE_S = 30.0


@pytest.mark.slow
async def test_an_order_is_delivered_on_a_cluster(tmp_path: Path, until: Until) -> None:
    """An order is offered, watched from both servers, delivered and settled on a cluster."""
    async with (
        start_cluster(tmp_path / "cluster") as cluster,
        fleet(tmp_path, ["all", "all"], REDIS_URL=cluster.url) as servers,
    ):
        scenario = TwoServerScenario(servers)
        order = await scenario.assign_order()
        screens = [
            await scenario.open_screen(site, order.order_id)
            for site in (scenario.vendor_site, scenario.rider_site)
        ]
        rider = order.assigned_rider
        for metres in (10, 20, 30):
            await rider.socket.call("location_update", next_fix(rider, metres))
        await until.true(lambda: all(30 in screen.north_m for screen in screens), DEADLINE_S)
        await scenario.vendor_scenario.bring_to_door(order)
        assert await scenario.vendor_scenario.complete(order) > order.completed_s
        key_counts = [await shard.client.dbsize() for shard in cluster.shards]
        scenario.close()

    assert all(screen.positions[0]["state"] == "live" for screen in screens)
    assert all(key_counts), "every server of the cluster has its share"
    assert [node.log_faults for node in servers.nodes] == [[], []]
