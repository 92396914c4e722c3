"""The raw engines' part of an offer."""

import pytest

from bench.engines.raw_engines import RawOfferPath
from dispatch.storage.redis_client import RedisClients
from dispatch.tracking.stores.geo_cells import Circle
from ledger.dynamodb.client import DynamoTable


@pytest.mark.engines
async def test_each_offer_has_a_duration(redis: RedisClients, table: DynamoTable):
    """The round trips of three offers run on real engines, and each takes some time."""
    path = RawOfferPath(redis, table, Circle(4.05, 9.72, 1.5))
    durations_s = await path.measure_s(3)
    assert len(durations_s) == 3
    assert all(duration_s > 0 for duration_s in durations_s)
