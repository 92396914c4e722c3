"""A rider who falls silent, over a real Redis: first he gets no offers, then he is gone."""

import pytest

from dispatch.clock import ManualClock
from dispatch.storage.pubsub import Feeds
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.eta import Forecast
from dispatch.tracking.fix_pipeline import Lane
from dispatch.tracking.redis_writer import Drain
from dispatch.tracking.rider_state import Roster
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.tracking_policy import Guide
from dispatch.tracking.watchers import Watchers
from matching.speeds import Speeds
from tests.dispatch.tracking.node import DOUALA, FRESH_MS, LOST_MS, fix

pytestmark = pytest.mark.engines

AROUND = Circle(*DOUALA, 1)


class Street:
    """One rider on duty who has just said where he is, and whoever looks for him."""

    def __init__(self, redis: RedisClients, scripts: Scripts) -> None:
        self.clock = ManualClock()
        self.redis = redis.commands
        self.positions = Positions(redis.commands, scripts, "a", LOST_MS)
        self.drain = Drain(self.positions, self.clock, flush_ms=50, riders_max=10)
        watchers = Watchers(Feeds(redis), "a")
        self.roster = Roster(self.drain, watchers, FRESH_MS, LOST_MS)
        guide = Guide(watchers, Forecast(Speeds()))
        self.lane = Lane(self.roster, watchers, self.drain, guide)
        self.roster.seat("rdr_1")
        self.roster.set_available("rdr_1", available=True)

    async def report(self) -> None:
        """He says where he is."""
        self.lane.report("rdr_1", fix(), self.clock.now_ms())
        await self.drain.flush()

    async def found(self) -> tuple[int, int]:
        """By how many he is found: those who would offer him something, and operators."""
        now_ms = self.clock.now_ms()
        free = await self.positions.near(AROUND, 5, now_ms, FRESH_MS)
        return len(free), len(await self.positions.near_any(AROUND, 5, now_ms))

    async def left_over(self) -> list[bytes | str]:
        """What the index still holds of anybody."""
        kept = await self.redis.keys("riders:*")
        return [key for key in kept if key != b"riders:{cells}"]


@pytest.fixture
async def street(redis: RedisClients):
    scripts = Scripts(redis.commands)
    await scripts.load()
    opened = Street(redis, scripts)
    await opened.report()
    return opened


async def test_silence_first_costs_offers_and_then_the_place(street: Street):
    """15 s after his last fix he is offered nothing, 45 s after it he is not there."""
    street.clock.advance(FRESH_MS)
    assert await street.found() == (1, 1)
    street.clock.advance(1)
    assert await street.found() == (0, 1)
    street.clock.advance(LOST_MS - FRESH_MS - 1)
    assert await street.found() == (0, 1)
    street.clock.advance(1)
    assert await street.found() == (0, 0)


async def test_a_lost_rider_leaves_the_index(street: Street):
    """His node takes him out in its next second, socket or not; his next fix brings him back."""
    street.clock.advance(LOST_MS + 1)
    street.lane.sweep(street.clock.now_ms())
    await street.drain.flush()
    assert await street.left_over() == []

    await street.report()
    assert await street.found() == (1, 1)


async def test_off_duty_he_leaves_the_index_at_once(street: Street):
    """No later search may find him; nothing waits for him to fall silent."""
    street.roster.set_available("rdr_1", available=False)
    await street.lane.settle()

    assert await street.found() == (0, 0)
    assert await street.left_over() == []


async def test_a_node_that_died_leaves_no_ghosts(street: Street):
    """Nobody of his node is there to take him out: the engines' sweep does."""
    street.clock.advance(LOST_MS + 1)
    removed = await street.positions.sweep(street.clock.now_ms())

    assert removed == 1
    assert await street.left_over() == []
