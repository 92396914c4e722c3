"""Approaches in Redis: read back as written, and dropped after an hour."""

import pytest

from dispatch import keys
from dispatch.ids import OrderId, RiderId
from dispatch.orders.offers.approach_store import TTL_S, Approach, ApproachStore
from dispatch.storage.redis_client import RedisClients

pytestmark = pytest.mark.engines

ORDER = OrderId("ord_1")


async def test_an_approach_reads_back_as_it_was_written(redis: RedisClients):
    """The last write counts."""
    store = ApproachStore(redis)
    first = Approach(
        rider_id=RiderId("rdr_1"), seen_at_ms=1, progressed_at_ms=2, checked_at_ms=3, nearest_m=4.5
    )
    second = Approach(rider_id=RiderId("rdr_2"), seen_at_ms=5, progressed_at_ms=6, checked_at_ms=7)
    for approach in (first, second):
        await store.put(ORDER, approach)
        assert await store.get(ORDER) == approach

    assert await store.get(OrderId("ord_2")) is None
    assert 0 < await redis.commands.ttl(keys.order_approach(ORDER)) <= TTL_S
