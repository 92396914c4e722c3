"""The whole way of a fix over a real Redis: from a rider at one node to a customer at another."""

import asyncio

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
from tests.dispatch.tracking.node import DOUALA, FRESH_MS, LOST_MS, RecordingWatcher, fix, north_m

pytestmark = pytest.mark.engines


class SignallingWatcher(RecordingWatcher):
    """A watcher that says when it was told something."""

    def __init__(self) -> None:
        super().__init__()
        self.has_packets = asyncio.Event()

    def send_position(self, packet: bytes) -> None:
        super().send_position(packet)
        self.has_packets.set()


async def test_from_a_rider_here_to_a_customer_there(redis: RedisClients):
    """One fix is told at the other node, found by a search, kept as last fix and in the trail."""
    clock, scripts = ManualClock(), Scripts(redis.commands)
    positions = Positions(redis.commands, scripts, "a", LOST_MS)
    feeds = PubSub(redis)
    here, there = Watchers(feeds, "a"), Watchers(feeds, "b")
    drain = RedisWriter(positions, clock, flush_ms=50, riders_max=10)
    roster = RiderRegistry(drain, here, FRESH_MS, LOST_MS)
    lane = FixPipeline(roster, here, drain, TrackingRules(here, EtaEstimator(LearnedSpeeds())))
    listening = asyncio.create_task(feeds.run())
    screen = SignallingWatcher()
    roster.connect("rdr_1")
    roster.set_available("rdr_1", available=True)
    roster.assign("rdr_1", "ord_1")
    await there.join("ord_1", screen)
    try:
        assert lane.process_fix("rdr_1", fix(12), clock.now_ms()) is None
        await drain.flush()
        async with asyncio.timeout(5):
            await screen.has_packets.wait()
        roster.release("rdr_1", "ord_1")
        await drain.flush()
        now_ms = clock.now_ms()
        [seen] = await positions.find_nearest_free(Circle(*DOUALA, 1), 5, now_ms, FRESH_MS)
        [kept] = await positions.read_trail("ord_1", "rdr_1")
    finally:
        listening.cancel()
    assert screen.path == [("ord_1", 12, "live")]
    assert (seen.rider_id, north_m(seen.lat), seen.active) == ("rdr_1", 12, 0)
    assert await positions.last_position("rdr_1") == kept
