"""The trail of an ended order is archived once, also when a process dies in between."""

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
    """Orders of a vendor, and the archiver of their trails."""

    def __init__(self, orders, redis, table):
        self.orders, self.redis = orders, redis
        self.positions = positions_over(redis, "a")
        self.trails = Trails(table)
        self.archiver = TrailArchiver(orders.orders, self.positions, orders.timers, self.trails)

    async def drive(self, order_id, rider, *lats):
        """Write a trail of a rider."""
        now_ms = self.orders.clock.now_ms()
        fixes = [
            Position(lat=lat, lng=9.7, ts=now_ms + i, received_at=now_ms + i)
            for i, lat in enumerate(lats)
        ]
        update = PositionUpdate(
            rider_id=rider,
            position=fixes[-1],
            facts=BUSY,
            cell=None,
            trail=[(order_id, fix) for fix in fixes],
        )
        await self.positions.put([update])

    async def sweep_when_due(self):
        """Sweep when the trail is due, after its last flush."""
        self.orders.clock.advance(TRAIL_FLUSHED_AFTER_MS)
        return await self.archiver.sweep(self.orders.clock.now_ms())


@pytest.fixture
async def archiver_setup(order_scenario: OrderScenario, redis: RedisClients, table: DynamoTable):
    return ArchiverSetup(order_scenario, redis, table)


async def deliver_order(setup):
    """An order that rdr_1 has carried 2.2 km in a straight line; its id."""
    order_id = await setup.orders.place_order()
    await setup.orders.accept_order(order_id)
    await setup.drive(order_id, "rdr_1", 4.05, 4.06, 4.07)
    await setup.orders.deliver(order_id)
    return order_id


async def test_the_trail_of_a_delivered_order_is_archived(archiver_setup: ArchiverSetup):
    """When it is due the trail is in DynamoDB, and expires in Redis within ten minutes."""
    order_id = await deliver_order(archiver_setup)
    await archiver_setup.orders.relay_outbox()
    assert await archiver_setup.archiver.sweep(archiver_setup.orders.clock.now_ms()) == 0
    assert await archiver_setup.sweep_when_due() == 1
    kept = await archiver_setup.trails.get(order_id)
    assert (kept.rider_id, kept.points, kept.distance_m) == ("rdr_1", 2, 2224)
    assert (
        0 < await archiver_setup.redis.commands.ttl(order_trail(order_id)) <= TRAIL_ARCHIVED_TTL_S
    )
    assert await archiver_setup.sweep_when_due() == 0


async def test_a_node_killed_after_the_delivery_loses_no_trail(archiver_setup: ArchiverSetup):
    """When another node relays the order's end later, the trail is archived."""
    order_id = await deliver_order(archiver_setup)
    # The node that wrote the delivery has relayed nothing; another one finds its outbox entries.
    assert await archiver_setup.sweep_when_due() == 0
    await archiver_setup.orders.relay_outbox()
    assert await archiver_setup.sweep_when_due() == 1
    assert (await archiver_setup.trails.get(order_id)).points == 2


async def test_an_archiver_killed_half_way_repeats_its_write(
    archiver_setup: ArchiverSetup, monkeypatch: pytest.MonkeyPatch
):
    """Killed after it wrote the trail, the next sweep writes the same again."""
    order_id = await deliver_order(archiver_setup)
    await archiver_setup.orders.relay_outbox()
    with monkeypatch.context() as patch:
        patch.setattr(archiver_setup.orders.timers, "drop_trail", killed)
        with pytest.raises(Killed):
            await archiver_setup.sweep_when_due()
    first = await archiver_setup.trails.get(order_id)
    assert first is not None
    assert await archiver_setup.sweep_when_due() == 1
    assert await archiver_setup.trails.get(order_id) == first


class Killed(Exception):
    """Stands for the end of the process."""


async def killed(_order_id):
    raise Killed


async def test_an_unavailable_table_keeps_the_trail_due(
    archiver_setup: ArchiverSetup, monkeypatch: pytest.MonkeyPatch
):
    """A trail that cannot be written stays in Redis and is written by the next sweep."""
    order_id = await deliver_order(archiver_setup)
    await archiver_setup.orders.relay_outbox()

    async def away(_order_id, _trail):
        raise StoreUnavailable("dynamodb", "away")

    with monkeypatch.context() as patch:
        patch.setattr(archiver_setup.trails, "put", away)
        with pytest.raises(StoreUnavailable):
            await archiver_setup.sweep_when_due()
    assert await archiver_setup.sweep_when_due() == 1
    assert (await archiver_setup.trails.get(order_id)).points == 2


async def test_a_reassigned_order_keeps_its_last_riders_trail(archiver_setup: ArchiverSetup):
    """The fixes of a rider that released the order are not in its trail."""
    orders = archiver_setup.orders
    order_id = await orders.place_order()
    await orders.accept_order(order_id)
    offers = await orders.make_offers(order_id, "rdr_2")
    await orders.accept_delivery(order_id, "rdr_2", offers["rdr_2"])
    await archiver_setup.drive(order_id, "rdr_2", 4.01, 4.03)
    command = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await orders.order_service.release_delivery(orders.caller("rider", "rdr_2"), command)
    await archiver_setup.drive(order_id, "rdr_1", 4.05, 4.06)
    await orders.deliver(order_id)
    await orders.relay_outbox()
    assert await archiver_setup.sweep_when_due() == 1
    kept = await archiver_setup.trails.get(order_id)
    assert (kept.rider_id, kept.distance_m) == ("rdr_1", 1112)


async def test_an_emptied_redis_costs_the_trail_and_nothing_else(archiver_setup: ArchiverSetup):
    """Without fixes no trail is archived, and the order is not due again."""
    order_id = await deliver_order(archiver_setup)
    await archiver_setup.redis.commands.flushall()
    await archiver_setup.orders.relay_outbox()
    assert await archiver_setup.sweep_when_due() == 1
    assert await archiver_setup.trails.get(order_id) is None
    assert await archiver_setup.sweep_when_due() == 0
