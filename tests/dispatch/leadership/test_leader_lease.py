"""The live engine: it works while its lease is held, and stops when it is lost."""

import asyncio

import pytest

from dispatch.clock import SystemClock
from dispatch.errors import StoreUnavailable
from dispatch.leadership.leader_lease import LeaderLease
from dispatch.storage.leases import Fence, Leases
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until


class Work:
    """Counts who works."""

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


@pytest.fixture
async def scripts(redis: RedisClients):
    ours = Scripts(redis.commands)
    await ours.load()
    return ours


@pytest.fixture
def leader_lease(scripts: Scripts):
    def of(node, work, ttl_ms=3_000):
        clock = SystemClock()
        return LeaderLease(Leases(scripts, node, ttl_ms), Fence(clock), "douala", work.run, clock)

    return of


async def test_one_of_two_works(leader_lease, until: Until):
    """The other one waits, and goes on when the first has stopped."""
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
    """Within a renewal another node's lease is noticed, and the work is stopped."""
    work, other = Work(), Work()
    ruling = leader_lease("node_1", work)
    async with until.running(ruling.run):
        await until.true(lambda: ruling.is_held)
        await redis.commands.delete("lease:{douala}")
        async with until.running(leader_lease("node_2", other).run):
            await until.true(lambda: other.is_running)
            await until.true(lambda: not work.is_running, deadline_s=2.5)
            assert not ruling.is_held


async def test_work_ends_where_redis_does_not_answer(
    leader_lease, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """After the lease's time nobody can know who works, so this node does not."""
    work = Work()
    ruling = leader_lease("node_1", work, ttl_ms=300)

    async def away(_lease):
        raise StoreUnavailable("redis", "away")

    monkeypatch.setattr(ruling._leases, "renew", away)
    async with until.running(ruling.run):
        await until.true(lambda: work.started_count == 1)
        await until.true(lambda: work.ended_count == 1, deadline_s=2.0)


async def test_an_error_of_the_work_is_not_swallowed(scripts: Scripts):
    """It rises to the supervisor, and the lease is free at once."""

    async def fail():
        raise ZeroDivisionError("a bug")

    leases = Leases(scripts, "node_1")
    ruling = LeaderLease(leases, Fence(SystemClock()), "douala", fail, SystemClock())
    with pytest.raises(ZeroDivisionError):
        await ruling.run()

    assert await Leases(scripts, "node_2").acquire("douala") is not None
