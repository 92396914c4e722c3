"""Leases: one holder at a time, and a token that only grows."""

import pytest

from dispatch.storage.leases import Leases
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster


@pytest.fixture
async def scripts(redis: RedisClients):
    ours = Scripts(redis.commands)
    await ours.load()
    return ours


async def test_one_node_holds_a_lease(scripts: Scripts):
    """The second one gets nothing, until the first gives it back."""
    one, two = Leases(scripts, "node_1"), Leases(scripts, "node_2")
    lease = await one.acquire("douala")

    assert lease is not None
    assert await two.acquire("douala") is None
    assert await one.renew(lease)
    assert await one.release(lease)
    assert await two.acquire("douala") is not None


async def test_zones_have_leases_of_their_own(scripts: Scripts):
    """The engine of one city does not keep another city's from working."""
    assert await Leases(scripts, "node_1").acquire("douala") is not None
    assert await Leases(scripts, "node_2").acquire("yaounde") is not None


async def test_a_lease_ends_by_itself(scripts: Scripts, until: Until):
    """A killed holder gives nothing back; the next one comes all the same, with a later token."""
    first = await Leases(scripts, "node_1", ttl_ms=50).acquire("douala")
    two, taken = Leases(scripts, "node_2"), []

    async def is_taken():
        taken.append(await two.acquire("douala"))
        return taken[-1] is not None

    await until.eventually(is_taken)
    assert first is not None
    assert taken[-1].token > first.token


async def test_a_lost_lease_is_not_renewed(scripts: Scripts, redis: RedisClients):
    """Whoever was stopped and goes on learns that another one has it now."""
    one, two = Leases(scripts, "node_1"), Leases(scripts, "node_2")
    lost = await one.acquire("douala")
    await redis.commands.delete("lease:{douala}")
    held = await two.acquire("douala")

    assert lost is not None
    assert held is not None
    assert not await one.renew(lost)
    assert not await one.release(lost)
    assert await two.renew(held)


async def test_tokens_grow_over_a_flush(scripts: Scripts, redis: RedisClients):
    """An emptied Redis has forgotten the last token; the next one is greater all the same."""
    leases = Leases(scripts, "node_1")
    before = await leases.acquire("douala")
    await redis.commands.flushall()
    after = await Leases(scripts, "node_2").acquire("douala")

    assert before is not None
    assert after is not None
    assert after.token > before.token
