"""A rider without fixes, over a real Redis: it gets no offers at first, then leaves the index."""

import pytest

from dispatch.clock import ManualClock
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores.geo_cells import Circle
from tests.dispatch.tracking.node import DOUALA, FRESH_MS, LOST_MS, fix
from tests.dispatch.tracking.redis_node import RedisNode

pytestmark = pytest.mark.engines

AROUND = Circle(*DOUALA, 1)


class RiderOnDuty(RedisNode):
    """A node with one rider on duty that has just reported."""

    def __init__(self, redis: RedisClients) -> None:
        super().__init__(redis, PubSub(redis), ManualClock())
        self.redis = redis.commands
        self.rider_registry.connect("rdr_1")
        self.rider_registry.set_available("rdr_1", available=True)

    async def report(self) -> None:
        """The rider's app sends a fix."""
        self.fix_pipeline.process_fix("rdr_1", fix(), self.clock.now_ms())
        await self.writer.flush()

    async def search_counts(self) -> tuple[int, int]:
        """How many riders a search for offers finds, and how many the operators' search."""
        now_ms = self.clock.now_ms()
        free = await self.rider_index.find_nearest_free(AROUND, 5, now_ms, FRESH_MS)
        return len(free), len(await self.rider_index.find_nearest(AROUND, 5, now_ms))

    async def leftover_keys(self) -> list[bytes | str]:
        """The index keys of riders that are left in Redis."""
        found = await self.redis.keys("riders:*")
        return [key for key in found if key != b"riders:{cells}"]


@pytest.fixture
async def rider_on_duty(redis: RedisClients):
    await Scripts(redis.commands).load()
    node = RiderOnDuty(redis)
    await node.report()
    return node


async def test_a_silent_rider_gets_no_offers_and_is_then_not_found(rider_on_duty: RiderOnDuty):
    """15 s after its last fix no offer search finds the rider, 45 s after it no search at all."""
    rider_on_duty.clock.advance(FRESH_MS)
    assert await rider_on_duty.search_counts() == (1, 1)
    rider_on_duty.clock.advance(1)
    assert await rider_on_duty.search_counts() == (0, 1)
    rider_on_duty.clock.advance(LOST_MS - FRESH_MS - 1)
    assert await rider_on_duty.search_counts() == (0, 1)
    rider_on_duty.clock.advance(1)
    assert await rider_on_duty.search_counts() == (0, 0)


async def test_a_lost_rider_leaves_the_index(rider_on_duty: RiderOnDuty):
    """Its node removes it with the next sweep, socket or not; its next fix brings it back."""
    rider_on_duty.clock.advance(LOST_MS + 1)
    rider_on_duty.fix_pipeline.sweep(rider_on_duty.clock.now_ms())
    await rider_on_duty.writer.flush()
    assert await rider_on_duty.leftover_keys() == []

    await rider_on_duty.report()
    assert await rider_on_duty.search_counts() == (1, 1)


async def test_a_rider_who_goes_off_duty_leaves_the_index_at_once(rider_on_duty: RiderOnDuty):
    """After the flush that the command waits for, no search finds it and no key is left."""
    rider_on_duty.rider_registry.set_available("rdr_1", available=False)
    await rider_on_duty.fix_pipeline.flush()

    assert await rider_on_duty.search_counts() == (0, 0)
    assert await rider_on_duty.leftover_keys() == []


async def test_a_dead_nodes_riders_are_swept_from_the_index(rider_on_duty: RiderOnDuty):
    """The index sweep of another node removes a lost rider that its own node left behind."""
    rider_on_duty.clock.advance(LOST_MS + 1)
    removed = await rider_on_duty.positions.sweep(rider_on_duty.clock.now_ms())

    assert removed == 1
    assert await rider_on_duty.leftover_keys() == []
