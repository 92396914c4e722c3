"""The position store on a real Redis: index entries, last fixes, trails, and publishing."""

import random

import pytest

from dispatch import keys
from dispatch.ids import OrderId, RiderId
from dispatch.model import Position, Presence, RiderPresence
from dispatch.storage.redis_client import RedisClients
from dispatch.tracking.stores.geo_cells import Circle, cell_of
from dispatch.tracking.stores.positions import (
    TRAIL_ARCHIVED_TTL_S,
    IndexRemoval,
    Positions,
    PresenceUpdate,
    decode_node_message,
    encode_node_message,
)
from dispatch.tracking.stores.rider_index import RiderIndex
from tests.dispatch.tracking.stores.updates import (
    BUSY,
    DOUALA,
    FRESH_MS,
    LOST_MS,
    NOW_MS,
    position_update,
    rider_ids,
)

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]


async def test_the_last_position_is_kept_for_five_minutes(
    positions: Positions, redis: RedisClients
):
    """The last fix is read back whole, has a time to live of 300 s, and is None if unknown."""
    update = position_update("rdr_1", DOUALA)
    await positions.put([update])
    assert await positions.last_position("rdr_1") == update.position
    assert await positions.last_position("rdr_unknown") is None
    assert 290 < await redis.commands.ttl(keys.rider_fix(RiderId("rdr_1"))) <= 300


async def test_the_presence_of_a_rider_is_kept_beside_its_position(
    positions: Positions, redis: RedisClients
):
    """Either of them may be missing; it has a time to live of an hour."""
    update = position_update("rdr_1", DOUALA)
    presence = Presence(seen_at=NOW_MS + 9, dropped={"inaccurate": 2}, accuracy=900.0)
    assert await positions.presence("rdr_1") == RiderPresence()
    await positions.put([], presences=[PresenceUpdate("rdr_1", presence)])
    assert await positions.presence("rdr_1") == RiderPresence(last=presence)
    await positions.put([update])
    assert await positions.presence("rdr_1") == RiderPresence(
        position=update.position, last=presence
    )
    assert 3_590 < await redis.commands.ttl(keys.rider_presence(RiderId("rdr_1"))) <= 3_600


async def test_a_rider_in_another_cell_leaves_the_previous_one(
    positions: Positions, rider_index: RiderIndex, redis: RedisClients
):
    """After a move the previous cell holds nothing of the rider."""
    there = (DOUALA[0] + 0.2, DOUALA[1])
    await positions.put([position_update("rdr_1", DOUALA)])
    await positions.put([position_update("rdr_1", there, previous_cell=cell_of(*DOUALA))])
    old, new = cell_of(*DOUALA), cell_of(*there)
    assert await redis.commands.zrange(keys.riders_geo(old), 0, -1) == []
    assert await redis.commands.hlen(keys.riders_facts(old)) == 0
    assert await redis.commands.zrange(keys.riders_geo(new), 0, -1) == [b"rdr_1"]
    assert await rider_index.find_nearest_free(Circle(*DOUALA, 1), 9, NOW_MS, FRESH_MS) == []


async def test_a_removal_keeps_a_rider_that_was_seen_since(
    positions: Positions, rider_index: RiderIndex
):
    """A removed rider leaves the index; one with a newer fix than the removal knew stays."""
    cell = cell_of(*DOUALA)
    await positions.put([position_update("gone", DOUALA), position_update("back", DOUALA)])
    await positions.put(
        [], [IndexRemoval("gone", cell, NOW_MS), IndexRemoval("back", cell, NOW_MS - 1)]
    )
    found = await rider_index.find_nearest(Circle(*DOUALA, 1), 9, NOW_MS)
    assert rider_ids(found) == ["back"]


async def test_a_sweep_takes_the_lost_and_leaves_the_others(
    positions: Positions, rider_index: RiderIndex, redis: RedisClients
):
    """Sweeps remove all lost riders, keep the rest, and forget cells without riders."""
    rng = random.Random(5)
    lost = [
        position_update(
            f"lost_{i}", (4 + rng.random(), 9 + rng.random()), seen_at_ms=NOW_MS - LOST_MS - 1
        )
        for i in range(900)
    ]
    await positions.put(lost)
    await positions.put([position_update(f"here_{i}", (4.5, 9.5 + i * 1e-4)) for i in range(50)])
    removed = [await positions.sweep(NOW_MS) for _ in range(60)]
    assert sum(removed) == 900
    assert len({each.cell for each in lost}) > 64
    left = set(await redis.commands.zrange(keys.riders_cells(), 0, -1))
    assert left == {cell_of(4.5, 9.5 + i * 1e-4).encode() for i in range(50)}
    assert len(await rider_index.find_nearest(Circle(4.5, 9.5, 5), 99, NOW_MS)) == 50


async def test_a_sweep_of_a_full_cell_goes_on_where_it_stopped(positions: Positions):
    """A cell with more lost riders than one sweep looks at is emptied by the next ones."""
    lost = [position_update(f"r{i}", DOUALA, seen_at_ms=NOW_MS - LOST_MS - 1) for i in range(3000)]
    await positions.put(lost)
    first = await positions.sweep(NOW_MS)
    assert 0 < first < 3000
    assert first + sum([await positions.sweep(NOW_MS) for _ in range(40)]) == 3000
    assert await positions.sweep(NOW_MS) == 0


async def test_a_trail_is_in_order_without_duplicates_for_a_day(
    positions: Positions, redis: RedisClients
):
    """A repeated flush and a late fix leave a trail in the order of time, each fix once."""
    fixes = [Position(lat=4, lng=9, ts=NOW_MS + i, received_at=NOW_MS + i) for i in range(3)]
    late = Position(lat=4, lng=9, ts=NOW_MS - 9, received_at=NOW_MS + 50)
    batch = [position_update("rdr_1", DOUALA, BUSY, trail=[("ord_1", fix) for fix in fixes])]
    await positions.put(batch)
    await positions.put(batch)
    await positions.put([position_update("rdr_1", DOUALA, BUSY, trail=[("ord_1", late)])])
    assert await positions.read_trail("ord_1", "rdr_1") == [late, *fixes]
    assert await positions.read_trail("ord_1", "rdr_2") == []
    assert await positions.read_trail("ord_2", "rdr_1") == []
    ttl_s = await redis.commands.ttl(keys.order_trail(OrderId("ord_1")))
    assert 23 * 3600 < ttl_s <= 24 * 3600


async def test_an_archived_trail_expires_within_ten_minutes(
    positions: Positions, redis: RedisClients
):
    """Expiring a trail shortens its time to live and keeps it readable until then."""
    fix = Position(lat=4, lng=9, ts=NOW_MS, received_at=NOW_MS)
    await positions.put([position_update("rdr_1", DOUALA, BUSY, trail=[("ord_1", fix)])])
    await positions.expire_trail("ord_1")
    assert await redis.commands.ttl(keys.order_trail(OrderId("ord_1"))) <= TRAIL_ARCHIVED_TTL_S
    assert await positions.read_trail("ord_1", "rdr_1") == [fix]


@pytest.mark.one_redis
async def test_other_nodes_receive_a_position(positions: Positions, redis: RedisClients):
    """A packet is published on its order's channel, with the node that wrote it."""
    async with redis.listener.pubsub() as listener:
        await listener.ssubscribe(keys.order_positions(OrderId("ord_1")))
        assert await listener.get_message(timeout=5)
        watched = await positions.put(
            [position_update("rdr_1", DOUALA, BUSY, packets=[("ord_1", b'42/user,["x"]')])]
        )
        message = await listener.get_message(timeout=5)
    assert message is not None
    assert decode_node_message(message["data"]) == (b"node-a", b'42/user,["x"]')
    assert watched == {"ord_1"}


def test_a_node_message_is_decoded_to_node_and_packet():
    """Encoding and decoding a message between nodes is a round trip, line feeds included."""
    assert decode_node_message(encode_node_message(b"node-a", b"x\ny")) == (b"node-a", b"x\ny")
