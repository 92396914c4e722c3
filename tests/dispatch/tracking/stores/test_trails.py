"""Archived trails in DynamoDB."""

import pytest

from dispatch.model import Trail
from dispatch.tracking.stores.trails import Trails
from ledger.dynamodb.client import DynamoTable

pytestmark = pytest.mark.engines


async def test_a_trail_is_read_as_it_was_stored(table: DynamoTable):
    """Before it is stored there is none; storing it twice leaves the same trail."""
    trails = Trails(table)
    trail = Trail(
        rider_id="rdr_1", polyline="_p~iF~ps|U", points=2, distance_m=950, from_ms=5, to_ms=9
    )
    assert await trails.get("ord_1") is None
    await trails.put("ord_1", trail)
    await trails.put("ord_1", trail)
    assert await trails.get("ord_1") == trail
    assert await trails.get("ord_2") is None
