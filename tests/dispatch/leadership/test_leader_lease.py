"""The leader works while its lease is held, and stops when the lease is lost."""

import asyncio

import pytest

from dispatch.clock import SystemClock
from dispatch.errors import StoreUnavailable
from dispatch.leadership.leader_lease import LeaderLease
from dispatch.storage.leases import Fence, Leases
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until


class Work:
    """Work that counts its starts and ends."""

    def __init__(self):
        self.started_count = self.ended_count = 0

    @property
    def is_running(self):
        return self.started_count > self.ended_count

    async def run(self):
        self.started_count += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ended_count += 1


class LeasesThatCannotRenew(Leases):
    """Leases of a Redis that is unavailable after the first call."""

    async def renew(self, lease):
        raise StoreUnavailable("redis", "away")


@pytest.fixture
def leader_lease(scripts: Scripts):
    def of(node, work, ttl_ms=3_000):
        clock = SystemClock()
        return LeaderLease(Leases(scripts, node, ttl_ms), Fence(clock), "douala", work.run, clock)

    return of


async def test_one_of_two_nodes_works(leader_lease, until: Until):
    """The second node waits for the lease, and works when the first has stopped."""
    first, second = Work(), Work()
    async with until.running(leader_lease("node_2", second).run):
        await until.true(lambda: second.is_running)
        async with until.running(leader_lease("node_1", first).run):
            await asyncio.sleep(0)
            assert not first.is_running
    assert not second.is_running
    async with until.running(leader_lease("node_1", first).run):
        await until.true(lambda: first.is_running, deadline_s=2.0)


async def test_work_ends_when_the_lease_is_lost(leader_lease, until: Until, redis: RedisClients):
    """A lease of another node is noticed with the next renewal, and the work is cancelled."""
    work, other = Work(), Work()
    leader = leader_lease("node_1", work)
    async with until.running(leader.run):
        await until.true(lambda: leader.is_held)
        await redis.commands.delete("lease:{douala}")
        async with until.running(leader_lease("node_2", other).run):
            await until.true(lambda: other.is_running)
            await until.true(lambda: not work.is_running, deadline_s=2.5)
            assert not leader.is_held


async def test_work_ends_when_the_lease_cannot_be_renewed(scripts: Scripts, until: Until):
    """When the lease may have ended and cannot be renewed, the work is cancelled."""
    work, clock = Work(), SystemClock()
    leases = LeasesThatCannotRenew(scripts, "node_1", ttl_ms=300)
    leader = LeaderLease(leases, Fence(clock), "douala", work.run, clock)
    async with until.running(leader.run):
        await until.true(lambda: work.started_count == 1)
        await until.true(lambda: work.ended_count >= 1, deadline_s=2.0)

    # The lease ran out, so the node may have acquired it again since.
    assert work.ended_count >= 1


async def test_an_error_of_the_work_is_not_swallowed(scripts: Scripts):
    """It is raised by `run`, and another node can acquire the lease at once."""

    async def fail():
        raise ZeroDivisionError("a bug")

    leases = Leases(scripts, "node_1")
    leader = LeaderLease(leases, Fence(SystemClock()), "douala", fail, SystemClock())
    with pytest.raises(ZeroDivisionError):
        await leader.run()

    assert await Leases(scripts, "node_2").acquire("douala") is not None
