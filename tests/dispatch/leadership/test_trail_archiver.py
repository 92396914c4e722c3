"""A trail outlives its order: it is kept beside it, once, whoever dies on the way."""

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.keys import order_trail
from dispatch.leadership.trail_archiver import TrailArchiver
from dispatch.model import Position
from dispatch.orders.outbox_entry import TRAIL_FLUSHED_AFTER_MS
from dispatch.storage.redis_client import RedisClients
from dispatch.tracking.stores.positions import TRAIL_ARCHIVED_TTL_S, PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.tracking.stores.trails import Trails
from dispatch.wire import commands
from ledger.dynamodb.client import DynamoTable
from tests.dispatch.order_scenario import OrderScenario
from tests.dispatch.tracking.redis_stores import positions_over

pytestmark = pytest.mark.engines

BUSY = RiderFacts(available=True, active=1)


class ArchiverSetup:
    """A shop, and what keeps its orders' trails."""

    def __init__(self, shop, redis, table):
        self.shop, self.redis = shop, redis
        self.positions = positions_over(redis, "a")
        self.trails = Trails(table)
        self.archiver = TrailArchiver(shop.orders, self.positions, shop.timers, self.trails)

    async def drive(self, order_id, rider, *lats):
        """A rider leaves a trail."""
        now_ms = self.shop.clock.now_ms()
        fixes = [
            Position(lat=lat, lng=9.7, ts=now_ms + i, received_at=now_ms + i)
            for i, lat in enumerate(lats)
        ]
        placed = PositionUpdate(
            rider_id=rider,
            position=fixes[-1],
            facts=BUSY,
            cell=None,
            trail=[(order_id, fix) for fix in fixes],
        )
        await self.positions.put([placed])

    async def sweep_when_due(self):
        """The keeper looks once the trail is whole."""
        self.shop.clock.advance(TRAIL_FLUSHED_AFTER_MS)
        return await self.archiver.sweep(self.shop.clock.now_ms())


@pytest.fixture
async def archiver_setup(order_scenario: OrderScenario, redis: RedisClients, table: DynamoTable):
    return ArchiverSetup(order_scenario, redis, table)


async def deliver_order(house):
    """An order that rdr_1 has carried over 2.2 km, straight."""
    order_id = await house.shop.place_order()
    await house.shop.accept_order(order_id)
    await house.drive(order_id, "rdr_1", 4.05, 4.06, 4.07)
    await house.shop.deliver(order_id)
    return order_id


async def test_the_trail_of_a_delivered_order_is_kept(archiver_setup: ArchiverSetup):
    """Some seconds after the delivery the way stands beside the order, and leaves Redis soon."""
    order_id = await deliver_order(archiver_setup)
    await archiver_setup.shop.relay_outbox()
    assert await archiver_setup.archiver.sweep(archiver_setup.shop.clock.now_ms()) == 0
    assert await archiver_setup.sweep_when_due() == 1
    kept = await archiver_setup.trails.get(order_id)
    assert (kept.rider_id, kept.points, kept.distance_m) == ("rdr_1", 2, 2224)
    assert (
        0 < await archiver_setup.redis.commands.ttl(order_trail(order_id)) <= TRAIL_ARCHIVED_TTL_S
    )
    assert await archiver_setup.sweep_when_due() == 0


async def test_a_node_killed_after_the_delivery_loses_no_trail(archiver_setup: ArchiverSetup):
    """Whoever relays the order's end later, even twice, has the trail kept all the same."""
    order_id = await deliver_order(archiver_setup)
    # The node that wrote the delivery said nothing to anybody; another one finds the entries.
    assert await archiver_setup.sweep_when_due() == 0
    await archiver_setup.shop.relay_outbox()
    assert await archiver_setup.sweep_when_due() == 1
    assert (await archiver_setup.trails.get(order_id)).points == 2


async def test_an_archiver_killed_half_way_repeats_its_write(
    archiver_setup: ArchiverSetup, monkeypatch: pytest.MonkeyPatch
):
    """Killed after it wrote the trail and before it forgot the order: written again, the same."""
    order_id = await deliver_order(archiver_setup)
    await archiver_setup.shop.relay_outbox()
    with monkeypatch.context() as patch:
        patch.setattr(archiver_setup.shop.timers, "drop_trail", killed)
        with pytest.raises(Killed):
            await archiver_setup.sweep_when_due()
    first = await archiver_setup.trails.get(order_id)
    assert first is not None
    assert await archiver_setup.sweep_when_due() == 1
    assert await archiver_setup.trails.get(order_id) == first


class Killed(Exception):
    """The process ends here."""


async def killed(_order_id):
    raise Killed


async def test_a_table_that_is_away_keeps_the_trail_due(
    archiver_setup: ArchiverSetup, monkeypatch: pytest.MonkeyPatch
):
    """What cannot be written now stays in Redis and is written later."""
    order_id = await deliver_order(archiver_setup)
    await archiver_setup.shop.relay_outbox()

    async def away(_order_id, _trail):
        raise StoreUnavailable("dynamodb", "away")

    with monkeypatch.context() as patch:
        patch.setattr(archiver_setup.trails, "put", away)
        with pytest.raises(StoreUnavailable):
            await archiver_setup.sweep_when_due()
    assert await archiver_setup.sweep_when_due() == 1
    assert (await archiver_setup.trails.get(order_id)).points == 2


async def test_a_reassigned_order_keeps_its_last_riders_trail(archiver_setup: ArchiverSetup):
    """The way of a rider who gave the order back is not part of it."""
    shop = archiver_setup.shop
    order_id = await shop.place_order()
    await shop.accept_order(order_id)
    offers = await shop.make_offers(order_id, "rdr_2")
    await shop.accept_delivery(order_id, "rdr_2", offers["rdr_2"])
    await archiver_setup.drive(order_id, "rdr_2", 4.01, 4.03)
    command = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await shop.order_service.release_delivery(shop.caller("rider", "rdr_2"), command)
    await archiver_setup.drive(order_id, "rdr_1", 4.05, 4.06)
    await shop.deliver(order_id)
    await shop.relay_outbox()
    assert await archiver_setup.sweep_when_due() == 1
    kept = await archiver_setup.trails.get(order_id)
    assert (kept.rider_id, kept.distance_m) == ("rdr_1", 1112)


async def test_an_emptied_redis_costs_the_trail_and_nothing_else(archiver_setup: ArchiverSetup):
    """Without fixes nothing is kept, and the order is not looked at again."""
    order_id = await deliver_order(archiver_setup)
    await archiver_setup.redis.commands.flushall()
    await archiver_setup.shop.relay_outbox()
    assert await archiver_setup.sweep_when_due() == 1
    assert await archiver_setup.trails.get(order_id) is None
    assert await archiver_setup.sweep_when_due() == 0
