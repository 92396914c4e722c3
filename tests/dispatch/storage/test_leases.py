"""Leases: one holder at a time, fencing tokens that only grow, and a local fence."""

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import LeadershipLost
from dispatch.storage.leases import Fence, Leases
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster


async def test_one_node_holds_a_lease(scripts: Scripts):
    """A second node gets the lease only after the first has released it."""
    one, two = Leases(scripts, "node_1"), Leases(scripts, "node_2")
    lease = await one.acquire("douala")

    assert lease is not None
    assert await two.acquire("douala") is None
    assert await one.renew(lease)
    assert await one.release(lease)
    assert await two.acquire("douala") is not None


async def test_leases_of_zones_are_separate(scripts: Scripts):
    """The lease of one zone does not block another zone's."""
    assert await Leases(scripts, "node_1").acquire("douala") is not None
    assert await Leases(scripts, "node_2").acquire("yaounde") is not None


async def test_lease_expires(scripts: Scripts, until: Until):
    """A lease that is not renewed expires, and the next holder gets a greater token."""
    first = await Leases(scripts, "node_1", ttl_ms=50).acquire("douala")
    two, attempts = Leases(scripts, "node_2"), []

    async def is_taken():
        attempts.append(await two.acquire("douala"))
        return attempts[-1] is not None

    await until.eventually(is_taken)
    assert first is not None
    assert attempts[-1].token > first.token


async def test_lost_lease_is_not_renewed(scripts: Scripts, redis: RedisClients):
    """A node whose lease another one has acquired can neither renew nor release it."""
    one, two = Leases(scripts, "node_1"), Leases(scripts, "node_2")
    lost = await one.acquire("douala")
    await redis.commands.delete("lease:{douala}")
    held = await two.acquire("douala")

    assert lost is not None
    assert held is not None
    assert not await one.renew(lost)
    assert not await one.release(lost)
    assert await two.renew(held)


async def test_tokens_grow_after_a_flush(scripts: Scripts, redis: RedisClients):
    """After FLUSHALL the next token is greater than the last one before."""
    leases = Leases(scripts, "node_1")
    before = await leases.acquire("douala")
    await redis.commands.flushall()
    after = await Leases(scripts, "node_2").acquire("douala")

    assert before is not None
    assert after is not None
    assert after.token > before.token


def test_fence_holds_until_the_lease_ends():
    """The token is given out until the end of the lease on the local clock, then refused."""
    clock = ManualClock()
    fence = Fence(clock)
    fence.grant(7, clock.monotonic_s() + 3.0)
    assert fence.token() == 7
    clock.advance(2_999)
    assert fence.token() == 7
    clock.advance(1)
    with pytest.raises(LeadershipLost):
        fence.token()


def test_revoked_fence_refuses_at_once():
    """After `revoke`, and before any lease, the token is refused."""
    clock = ManualClock()
    fence = Fence(clock)
    with pytest.raises(LeadershipLost):
        fence.token()
    fence.grant(7, clock.monotonic_s() + 3.0)
    fence.revoke()
    with pytest.raises(LeadershipLost):
        fence.token()
