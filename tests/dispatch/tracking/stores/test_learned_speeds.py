"""Learned speeds are shared by all nodes over Redis."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.keys import place_speeds
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores.learned_speeds import TTL_S, SharedSpeeds
from matching.speeds import MEMORY_S, LearnedSpeeds

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]

KEY = ("cell_a", 8, "CAR")


class UnavailableScripts(Scripts):
    """Scripts of a Redis that is unavailable for a while."""

    is_unavailable = True

    async def run(self, name: str, keys: Sequence[str], args: Iterable[Any] = ()) -> Any:
        if self.is_unavailable:
            raise StoreUnavailable("redis", "away")
        return await super().run(name, keys, args)


async def test_nodes_share_what_they_learn(redis: RedisClients):
    """Each node has the sum of what both have learned; it expires after a month."""
    scripts = Scripts(redis.commands)
    one, two = LearnedSpeeds(), LearnedSpeeds()
    ones, twos = SharedSpeeds(redis, scripts, one), SharedSpeeds(redis, scripts, two)
    one.learn(KEY, 3_000.0, 1_000.0)
    two.learn(KEY, 1_000.0, 1_000.0)
    await ones.share()
    await twos.share()
    await ones.share()
    assert one.speed_mps(KEY) == two.speed_mps(KEY)
    assert await redis.commands.hget(place_speeds("cell_a"), "8:CAR") == b"4000.000 2000.000"
    assert 0 < await redis.commands.ttl(place_speeds("cell_a")) <= TTL_S


async def test_learned_speeds_forget_gradually(redis: RedisClients):
    """A stored sum never weighs more than `MEMORY_S` seconds."""
    speeds = LearnedSpeeds()
    shared = SharedSpeeds(redis, Scripts(redis.commands), speeds)
    for _ in range(3):
        speeds.learn(KEY, 4 * MEMORY_S, MEMORY_S)
        await shared.share()
    assert await redis.commands.hget(place_speeds("cell_a"), "8:CAR") == b"57600.000 14400.000"


async def test_what_cannot_be_shared_is_kept(redis: RedisClients):
    """After a failed share the next one writes what was learned."""
    speeds, scripts = LearnedSpeeds(), UnavailableScripts(redis.commands)
    shared = SharedSpeeds(redis, scripts, speeds)
    speeds.learn(KEY, 30.0, 10.0)
    with pytest.raises(StoreUnavailable):
        await shared.share()
    scripts.is_unavailable = False
    await shared.share()
    assert await redis.commands.hget(place_speeds("cell_a"), "8:CAR") == b"30.000 10.000"
