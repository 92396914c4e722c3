"""Redis Cluster: subscriptions follow moved slots; one server carries an order's channel."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.crc import key_slot

from dispatch import keys
from dispatch.ids import OrderId, RiderId
from dispatch.model import Position
from dispatch.storage.cluster import servers_of
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.tracking.stores.positions import PositionUpdate, encode_node_message
from dispatch.tracking.stores.rider_facts import RiderFacts
from tests.dispatch.tracking.redis_stores import positions_over
from tests.redis_cluster import LocalCluster, start_cluster
from tests.waiting import Until

pytestmark = pytest.mark.slow

CHANNEL = keys.order_positions(OrderId("ord_1"))
SLOT = key_slot(CHANNEL.encode())


@pytest_asyncio.fixture(loop_scope="session")
async def local_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """A cluster of the test's own, since the test changes it."""
    async with start_cluster(tmp_path_factory.mktemp("cluster")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def clients(local_cluster: LocalCluster) -> AsyncIterator[RedisClients]:
    """The clients of one node."""
    async with open_redis(local_cluster.url) as opened:
        yield opened


def position_update(order_id: str, packet: bytes) -> PositionUpdate:
    """A busy rider's update with a packet for an order's watchers."""
    at = Position(lat=4.05, lng=9.7, ts=1_000, received_at=1_000)
    facts = RiderFacts(available=True, active=1)
    return PositionUpdate(
        rider_id="rdr_1", position=at, facts=facts, cell=None, packets=[(order_id, packet)]
    )


async def test_each_order_channel_is_served_by_one_shard(
    local_cluster: LocalCluster, clients: RedisClients, until: Until
):
    """Each order's channel is served by one server, and the writer learns which are watched."""
    positions = positions_over(clients, "node-a")
    pubsub, received = PubSub(clients), list[bytes]()
    orders = [f"ord_{number}" for number in range(12)]
    async with until.running(pubsub.run):
        for order_id in orders:
            await pubsub.subscribe(keys.order_positions(OrderId(order_id)), received.append)
        watched = await positions.put(
            [position_update(order_id, b"x") for order_id in [*orders, "ord_unseen"]]
        )
        await until.true(lambda: len(received) == len(orders))
        channels = [
            await shard.client.pubsub_shardchannels("order:*") for shard in local_cluster.shards
        ]

    assert watched == frozenset(orders)
    assert set(received) == {encode_node_message(b"node-a", b"x")}
    assert sum(map(len, channels)) == len(orders)
    assert all(channels), "the orders are spread over the servers"


async def test_connections_to_shards_are_like_those_to_one_server(
    local_cluster: LocalCluster, clients: RedisClients
):
    """A cluster's connections are of the class whose errors are translated for one server."""
    servers = servers_of(clients.commands)
    connection = servers.make_connection(await servers.server_for(CHANNEL))
    async with open_redis(f"redis://127.0.0.1:{local_cluster.shards[0].port}") as one:
        assert type(connection) is type(servers_of(one.listener).make_connection(""))


async def test_lost_shard_connection_is_restored(
    local_cluster: LocalCluster, clients: RedisClients, until: Until
):
    """After a lost connection the channel is subscribed again and the gap is reported once."""
    pubsub, received, gaps = PubSub(clients), list[bytes](), list[bool]()
    pubsub.on_gap(lambda: gaps.append(True))
    async with until.running(pubsub.run):
        await pubsub.subscribe(CHANNEL, received.append)
        await local_cluster.shard_for(SLOT).client.execute_command("CLIENT KILL", "TYPE", "pubsub")
        await until.true(lambda: bool(gaps))
        await clients.commands.spublish(CHANNEL, "again")
        await until.true(lambda: received == [b"again"])
    assert gaps == [True]


async def test_subscription_follows_a_moved_slot(
    local_cluster: LocalCluster, clients: RedisClients, until: Until
):
    """After a slot has moved, its channel is subscribed and its keys are written at the new server.

    The server that lost the slot ends the subscription and redirects commands.
    """
    pubsub, received = PubSub(clients), list[bytes]()
    pipeline = Pipeline(clients.commands, Scripts(clients.commands))
    fix = keys.rider_fix(RiderId("ord_1"))
    assert key_slot(fix.encode()) == SLOT, "the same braces, the same slot"
    [_, other, _] = sorted(
        local_cluster.shards, key=lambda each: each is local_cluster.shard_for(SLOT)
    )
    async with until.running(pubsub.run):
        await pubsub.subscribe(CHANNEL, received.append)
        await pipeline.run([("GET", fix)])
        await local_cluster.move_slot(SLOT, other)

        async def is_received() -> bool:
            await pipeline.run([("SET", fix, "here"), ("SPUBLISH", CHANNEL, "moved")])
            return bool(received)

        await until.eventually(is_received)

    assert received[0] == b"moved"
    assert await other.client.get(fix) == b"here"
