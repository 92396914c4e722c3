"""A Redis Cluster: who listens follows what moves, and only one shard carries an order."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.crc import key_slot

from dispatch import keys
from dispatch.ids import OrderId, RiderId
from dispatch.model import Position
from dispatch.storage.cluster import servers_of
from dispatch.storage.pipeline import Bulk
from dispatch.storage.pubsub import Feeds
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from dispatch.tracking.stores.positions import Placed, Positions, framed
from dispatch.tracking.stores.rider_facts import Facts
from tests.redis_cluster import Shards, cluster
from tests.waiting import Until

pytestmark = pytest.mark.slow

CHANNEL = keys.order_positions(OrderId("ord_1"))
SLOT = key_slot(CHANNEL.encode())


@pytest_asyncio.fixture(loop_scope="session")
async def shards(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shards]:
    """A cluster of the test's own, for it is not the same afterwards."""
    async with cluster(tmp_path_factory.mktemp("cluster")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def clients(shards: Shards) -> AsyncIterator[RedisClients]:
    """The clients of one node."""
    async with open_redis(shards.url) as opened:
        yield opened


def put(order_id: str, packet: bytes) -> Placed:
    """A busy rider whose order's watchers shall hear something."""
    at = Position(lat=4.05, lng=9.7, ts=1_000, received_at=1_000)
    facts = Facts(available=True, active=1)
    return Placed(
        rider_id="rdr_1", position=at, facts=facts, cell=None, packets=[(order_id, packet)]
    )


async def test_an_order_is_heard_through_the_shard_that_holds_it(
    shards: Shards, clients: RedisClients, until: Until
):
    """Each order's channel is subscribed and published at one server; the writer learns of it."""
    positions = Positions(clients.commands, Scripts(clients.commands), "node-a", 45_000)
    feeds, heard = Feeds(clients), list[bytes]()
    orders = [f"ord_{number}" for number in range(12)]
    async with until.running(feeds.run):
        for order_id in orders:
            await feeds.open(keys.order_positions(OrderId(order_id)), heard.append)
        told = await positions.put([put(order_id, b"x") for order_id in [*orders, "ord_unseen"]])
        await until.true(lambda: len(heard) == len(orders))
        listening = [await shard.client.pubsub_shardchannels() for shard in shards.shards]

    assert told == frozenset(orders)
    assert set(heard) == {framed(b"node-a", b"x")}
    assert sum(map(len, listening)) == len(orders)
    assert all(listening), "the orders are spread over the servers"


async def test_connections_to_shards_are_like_those_to_one_server(
    shards: Shards, clients: RedisClients
):
    """Whatever a lost line of one server is taken for, one of a cluster is taken for too."""
    servers = servers_of(clients.commands)
    line = servers.dial(await servers.holder(CHANNEL))
    async with open_redis(f"redis://127.0.0.1:{shards.shards[0].port}") as one:
        assert type(line) is type(servers_of(one.listener).dial(""))


async def test_a_cut_connection_to_a_shard_is_mended(
    shards: Shards, clients: RedisClients, until: Until
):
    """After the cut the channel works again and whoever listens learns that there was a gap."""
    feeds, heard, gaps = Feeds(clients), list[bytes](), list[bool]()
    feeds.on_gap(lambda: gaps.append(True))
    async with until.running(feeds.run):
        await feeds.open(CHANNEL, heard.append)
        await shards.holder(SLOT).client.execute_command("CLIENT KILL", "TYPE", "pubsub")
        await until.true(lambda: bool(gaps))
        await clients.commands.spublish(CHANNEL, "again")
        await until.true(lambda: heard == [b"again"])
    assert gaps == [True]


async def test_who_listens_follows_a_slot_that_moves(
    shards: Shards, clients: RedisClients, until: Until
):
    """A reshard takes a channel to another server; its listeners are there soon, and so are writes.

    The server that has lost the slot ends the subscription by itself, and says where keys are.
    """
    feeds, heard = Feeds(clients), list[bytes]()
    many = Bulk(clients.commands, Scripts(clients.commands))
    fix = keys.rider_fix(RiderId("ord_1"))
    assert key_slot(fix.encode()) == SLOT, "the same braces, the same slot"
    [_, other, _] = sorted(shards.shards, key=lambda each: each is shards.holder(SLOT))
    async with until.running(feeds.run):
        await feeds.open(CHANNEL, heard.append)
        await many.run([("GET", fix)])
        await shards.move(SLOT, other)

        async def is_heard() -> bool:
            await many.run([("SET", fix, "here"), ("SPUBLISH", CHANNEL, "moved")])
            return bool(heard)

        await until.eventually(is_heard)

    assert heard[0] == b"moved"
    assert await other.client.get(fix) == b"here"
