"""A trail outlives its order: it is kept beside it, once, whoever dies on the way."""

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.keys import order_trail
from dispatch.leadership.trail_archiver import Keeper
from dispatch.model import Position
from dispatch.orders.unit_of_work import TRAIL_WHOLE_MS
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores.positions import TRAIL_KEPT_TTL_S, Placed, Positions
from dispatch.tracking.stores.rider_facts import Facts
from dispatch.tracking.stores.trails import Trails
from dispatch.wire import commands
from ledger.dynamodb.client import DynamoTable
from tests.dispatch.conftest import Shop

pytestmark = pytest.mark.engines

BUSY = Facts(available=True, active=1)


class House:
    """A shop, and what keeps its orders' trails."""

    def __init__(self, shop, redis, table):
        self.shop, self.redis = shop, redis
        self.positions = Positions(redis.commands, Scripts(redis.commands), "a", 45_000)
        self.trails = Trails(table)
        self.keeper = Keeper(shop.orders, self.positions, shop.timers, self.trails)

    async def drive(self, order_id, rider, *lats):
        """A rider leaves a trail."""
        now_ms = self.shop.clock.now_ms()
        fixes = [
            Position(lat=lat, lng=9.7, ts=now_ms + i, received_at=now_ms + i)
            for i, lat in enumerate(lats)
        ]
        placed = Placed(
            rider_id=rider,
            position=fixes[-1],
            facts=BUSY,
            cell=None,
            trail=[(order_id, fix) for fix in fixes],
        )
        await self.positions.put([placed])

    async def look(self):
        """The keeper looks once the trail is whole."""
        self.shop.clock.advance(TRAIL_WHOLE_MS)
        return await self.keeper.look(self.shop.clock.now_ms())


@pytest.fixture
async def house(shop: Shop, redis: RedisClients, table: DynamoTable):
    return House(shop, redis, table)


async def delivered(house):
    """An order that rdr_1 has carried over 2.2 km, straight."""
    order_id = await house.shop.place()
    await house.shop.accept(order_id)
    await house.drive(order_id, "rdr_1", 4.05, 4.06, 4.07)
    await house.shop.carry(order_id)
    return order_id


async def test_the_trail_of_a_delivered_order_is_kept(house: House):
    """Some seconds after the delivery the way stands beside the order, and leaves Redis soon."""
    order_id = await delivered(house)
    await house.shop.relay()
    assert await house.keeper.look(house.shop.clock.now_ms()) == 0
    assert await house.look() == 1
    kept = await house.trails.get(order_id)
    assert (kept.rider_id, kept.points, kept.distance_m) == ("rdr_1", 2, 2224)
    assert 0 < await house.redis.commands.ttl(order_trail(order_id)) <= TRAIL_KEPT_TTL_S
    assert await house.look() == 0


async def test_a_node_killed_after_the_delivery_loses_no_trail(house: House):
    """Whoever relays the order's end later, even twice, has the trail kept all the same."""
    order_id = await delivered(house)
    # The node that wrote the delivery said nothing to anybody; another one finds the entries.
    assert await house.look() == 0
    await house.shop.relay()
    assert await house.look() == 1
    assert (await house.trails.get(order_id)).points == 2


async def test_a_keeper_killed_half_way_is_made_good(house: House, monkeypatch: pytest.MonkeyPatch):
    """Killed after it wrote the trail and before it forgot the order: written again, the same."""
    order_id = await delivered(house)
    await house.shop.relay()
    with monkeypatch.context() as patch:
        patch.setattr(house.shop.timers, "trail_kept", killed)
        with pytest.raises(Killed):
            await house.look()
    first = await house.trails.get(order_id)
    assert first is not None
    assert await house.look() == 1
    assert await house.trails.get(order_id) == first


class Killed(Exception):
    """The process ends here."""


async def killed(_order_id):
    raise Killed


async def test_a_table_that_is_away_keeps_the_trail_due(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """What cannot be written now stays in Redis and is written later."""
    order_id = await delivered(house)
    await house.shop.relay()

    async def away(_order_id, _trail):
        raise StoreUnavailable("dynamodb", "away")

    with monkeypatch.context() as patch:
        patch.setattr(house.trails, "put", away)
        with pytest.raises(StoreUnavailable):
            await house.look()
    assert await house.look() == 1
    assert (await house.trails.get(order_id)).points == 2


async def test_an_order_that_was_handed_on_has_its_last_riders_way(house: House):
    """The way of a rider who gave the order back is not part of it."""
    shop = house.shop
    order_id = await shop.place()
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_2")
    await shop.take(order_id, "rdr_2", offers["rdr_2"])
    await house.drive(order_id, "rdr_2", 4.01, 4.03)
    command = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await shop.flow.release_delivery(shop.as_("rider", "rdr_2"), command)
    await house.drive(order_id, "rdr_1", 4.05, 4.06)
    await shop.carry(order_id)
    await shop.relay()
    assert await house.look() == 1
    kept = await house.trails.get(order_id)
    assert (kept.rider_id, kept.distance_m) == ("rdr_1", 1112)


async def test_an_emptied_redis_costs_the_trail_and_nothing_else(house: House):
    """Without fixes nothing is kept, and the order is not looked at again."""
    order_id = await delivered(house)
    await house.redis.commands.flushall()
    await house.shop.relay()
    assert await house.look() == 1
    assert await house.trails.get(order_id) is None
    assert await house.look() == 0
