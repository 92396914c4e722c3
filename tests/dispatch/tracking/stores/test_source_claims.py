"""Claims of riders' phones go over the rider's inbox channel, as its other messages do."""

import pytest

from dispatch import keys
from dispatch.events.inbox import parse_entry
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores.source_claims import (
    SOURCE_CLAIM,
    SourceClaim,
    SourceClaims,
    parse_claim,
)
from tests.waiting import Until

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]


async def test_a_claim_reaches_the_nodes_with_sockets_of_the_rider(
    redis: RedisClients, until: Until
):
    """Without a number, so that it is no event of the inbox."""
    received: list[bytes] = []
    pubsub = PubSub(redis)
    claim = SourceClaim("node_1", "sid_1", is_active=True, connected_at_ms=1, fix_at_ms=2)
    claims = SourceClaims(Pipeline(redis.commands, Scripts(redis.commands)))
    async with until.running(pubsub.run):
        await pubsub.subscribe(keys.inbox_channel("rider:rdr_1"), received.append)
        await claims.publish([("rdr_1", claim), ("rdr_2", claim)], 7)
        await claims.publish([], 8)
        await until.true(lambda: bool(received))
    [entry] = map(parse_entry, received)

    assert (entry.seq, entry.epoch, entry.ts_ms, entry.name) == (0, "", 7, SOURCE_CLAIM)
    assert parse_claim(entry.body) == claim
