"""A rider who falls silent, over a real Redis: first he gets no offers, then he is gone."""

import pytest

from dispatch.clock import ManualClock
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_state import RiderRegistry
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from matching.speeds import LearnedSpeeds
from tests.dispatch.tracking.node import DOUALA, FRESH_MS, LOST_MS, fix

pytestmark = pytest.mark.engines

AROUND = Circle(*DOUALA, 1)


class RiderOnDuty:
    """One rider on duty who has just said where he is, and whoever looks for him."""

    def __init__(self, redis: RedisClients, scripts: Scripts) -> None:
        self.clock = ManualClock()
        self.redis = redis.commands
        self.positions = Positions(redis.commands, scripts, "a", LOST_MS)
        self.writer = RedisWriter(self.positions, self.clock, flush_ms=50, riders_max=10)
        watchers = Watchers(PubSub(redis), "a")
        self.rider_registry = RiderRegistry(self.writer, watchers, FRESH_MS, LOST_MS)
        guide = TrackingRules(watchers, EtaEstimator(LearnedSpeeds()))
        self.fix_pipeline = FixPipeline(self.rider_registry, watchers, self.writer, guide)
        self.rider_registry.connect("rdr_1")
        self.rider_registry.set_available("rdr_1", available=True)

    async def report(self) -> None:
        """He says where he is."""
        self.fix_pipeline.process_fix("rdr_1", fix(), self.clock.now_ms())
        await self.writer.flush()

    async def search_counts(self) -> tuple[int, int]:
        """By how many he is found: those who would offer him something, and operators."""
        now_ms = self.clock.now_ms()
        free = await self.positions.find_nearest_free(AROUND, 5, now_ms, FRESH_MS)
        return len(free), len(await self.positions.find_nearest(AROUND, 5, now_ms))

    async def leftover_keys(self) -> list[bytes | str]:
        """What the index still holds of anybody."""
        kept = await self.redis.keys("riders:*")
        return [key for key in kept if key != b"riders:{cells}"]


@pytest.fixture
async def rider_on_duty(redis: RedisClients):
    scripts = Scripts(redis.commands)
    await scripts.load()
    opened = RiderOnDuty(redis, scripts)
    await opened.report()
    return opened


async def test_silence_first_costs_offers_and_then_the_place(rider_on_duty: RiderOnDuty):
    """15 s after his last fix he is offered nothing, 45 s after it he is not there."""
    rider_on_duty.clock.advance(FRESH_MS)
    assert await rider_on_duty.search_counts() == (1, 1)
    rider_on_duty.clock.advance(1)
    assert await rider_on_duty.search_counts() == (0, 1)
    rider_on_duty.clock.advance(LOST_MS - FRESH_MS - 1)
    assert await rider_on_duty.search_counts() == (0, 1)
    rider_on_duty.clock.advance(1)
    assert await rider_on_duty.search_counts() == (0, 0)


async def test_a_lost_rider_leaves_the_index(rider_on_duty: RiderOnDuty):
    """His node takes him out in its next second, socket or not; his next fix brings him back."""
    rider_on_duty.clock.advance(LOST_MS + 1)
    rider_on_duty.fix_pipeline.sweep(rider_on_duty.clock.now_ms())
    await rider_on_duty.writer.flush()
    assert await rider_on_duty.leftover_keys() == []

    await rider_on_duty.report()
    assert await rider_on_duty.search_counts() == (1, 1)


async def test_off_duty_he_leaves_the_index_at_once(rider_on_duty: RiderOnDuty):
    """No later search may find him; nothing waits for him to fall silent."""
    rider_on_duty.rider_registry.set_available("rdr_1", available=False)
    await rider_on_duty.fix_pipeline.flush()

    assert await rider_on_duty.search_counts() == (0, 0)
    assert await rider_on_duty.leftover_keys() == []


async def test_a_node_that_died_leaves_no_ghosts(rider_on_duty: RiderOnDuty):
    """Nobody of his node is there to take him out: the engines' sweep does."""
    rider_on_duty.clock.advance(LOST_MS + 1)
    removed = await rider_on_duty.positions.sweep(rider_on_duty.clock.now_ms())

    assert removed == 1
    assert await rider_on_duty.leftover_keys() == []
