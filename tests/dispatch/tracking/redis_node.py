"""Tracking of one node on the tests' Redis."""

from dispatch.clock import ManualClock
from dispatch.storage.redis_client import RedisClients
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import PositionChannels, Watchers
from matching.speeds import LearnedSpeeds
from tests.dispatch.tracking.redis_stores import LIMITS, positions_over, rider_index_over


class RedisNode:
    """A node whose positions go to Redis; `channels` are those to other nodes."""

    def __init__(
        self, redis: RedisClients, channels: PositionChannels, clock: ManualClock, name: str = "a"
    ) -> None:
        self.clock = clock
        self.positions = positions_over(redis, name)
        self.rider_index = rider_index_over(redis)
        self.watchers = Watchers(channels, name)
        self.writer = RedisWriter(self.positions, clock, flush_ms=50, riders_max=1_000)
        self.rider_registry = RiderRegistry(self.writer, self.watchers, LIMITS)
        rules = TrackingRules(self.watchers, EtaEstimator(LearnedSpeeds()))
        self.fix_pipeline = FixPipeline(self.rider_registry, self.watchers, self.writer, rules)
