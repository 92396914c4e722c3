"""Tracking's Redis stores on the tests' Redis."""

from dispatch.storage.pipeline import Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_index import RiderIndex

LIMITS = FreshnessLimits(fresh_ms=15_000, lost_ms=45_000)


def positions_over(redis: RedisClients, node: str) -> Positions:
    """The position store of a node."""
    scripts = Scripts(redis.commands)
    return Positions(Pipeline(redis.commands, scripts), scripts, node, LIMITS.lost_ms)


def rider_index_over(redis: RedisClients) -> RiderIndex:
    """The searches of the geo index."""
    scripts = Scripts(redis.commands)
    return RiderIndex(Pipeline(redis.commands, scripts), scripts, LIMITS.lost_ms)
