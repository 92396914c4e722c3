"""Tracking's Redis stores, on one Redis or on a cluster as the test is marked."""

import pytest

from dispatch.storage.redis_client import RedisClients
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_index import RiderIndex
from tests.dispatch.tracking.redis_stores import positions_over, rider_index_over


@pytest.fixture
def positions(redis: RedisClients) -> Positions:
    return positions_over(redis, "node-a")


@pytest.fixture
def rider_index(redis: RedisClients) -> RiderIndex:
    return rider_index_over(redis)
