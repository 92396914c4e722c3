"""What one node learns of the streets another one knows."""

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.keys import place_speeds
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores.learned_speeds import TTL_S, SharedSpeeds
from matching.speeds import MEMORY_S, LearnedSpeeds

pytestmark = [pytest.mark.redis_cluster, pytest.mark.engines]

KEY = ("cell_a", 8, "CAR")


async def test_nodes_learn_together(redis: RedisClients):
    """Two nodes' driving adds up, and each then knows the whole; it goes after a month."""
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
    """No pace weighs more than the memory, whoever adds to it."""
    speeds = LearnedSpeeds()
    paces = SharedSpeeds(redis, Scripts(redis.commands), speeds)
    for _ in range(3):
        speeds.learn(KEY, 4 * MEMORY_S, MEMORY_S)
        await paces.share()
    assert await redis.commands.hget(place_speeds("cell_a"), "8:CAR") == b"57600.000 14400.000"


async def test_what_cannot_be_shared_is_kept(redis: RedisClients, monkeypatch: pytest.MonkeyPatch):
    """While Redis is away a node goes on learning, and shares it all afterwards."""
    speeds, scripts = LearnedSpeeds(), Scripts(redis.commands)
    paces = SharedSpeeds(redis, scripts, speeds)
    speeds.learn(KEY, 30.0, 10.0)

    async def away(*_: object) -> None:
        raise StoreUnavailable("redis", "away")

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "run", away)
        with pytest.raises(StoreUnavailable):
            await paces.share()
    await paces.share()
    assert await redis.commands.hget(place_speeds("cell_a"), "8:CAR") == b"30.000 10.000"
