"""The live engine: it works while its lease is held, and stops when it is lost."""

import asyncio

import pytest

from dispatch.clock import SystemClock
from dispatch.errors import StoreUnavailable
from dispatch.leadership.leader_lease import Reign
from dispatch.storage.leases import Fence, Leases
from dispatch.storage.redis_client import RedisClients, Scripts
from tests.waiting import Until


class Work:
    """Counts who works."""

    def __init__(self):
        self.begun = self.ended = 0

    @property
    def is_going_on(self):
        return self.begun > self.ended

    async def run(self):
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1


@pytest.fixture
async def scripts(redis: RedisClients):
    ours = Scripts(redis.commands)
    await ours.load()
    return ours


@pytest.fixture
def reign(scripts: Scripts):
    def of(node, work, ttl_ms=3_000):
        clock = SystemClock()
        return Reign(Leases(scripts, node, ttl_ms), Fence(clock), "douala", work.run, clock)

    return of


async def test_one_of_two_works(reign, until: Until):
    """The other one waits, and goes on when the first has stopped."""
    first, second = Work(), Work()
    async with until.running(reign("node_2", second).run):
        await until.true(lambda: second.is_going_on)
        async with until.running(reign("node_1", first).run):
            await asyncio.sleep(0)
            assert not first.is_going_on
    assert not second.is_going_on
    async with until.running(reign("node_1", first).run):
        await until.true(lambda: first.is_going_on, deadline_s=2.0)


async def test_work_ends_when_the_lease_is_lost(reign, until: Until, redis: RedisClients):
    """Within a renewal another node's lease is noticed, and the work is stopped."""
    work, other = Work(), Work()
    ruling = reign("node_1", work)
    async with until.running(ruling.run):
        await until.true(lambda: ruling.is_held)
        await redis.commands.delete("lease:{douala}")
        async with until.running(reign("node_2", other).run):
            await until.true(lambda: other.is_going_on)
            await until.true(lambda: not work.is_going_on, deadline_s=2.5)
            assert not ruling.is_held


async def test_work_ends_where_redis_does_not_answer(
    reign, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """After the lease's time nobody can know who works, so this node does not."""
    work = Work()
    ruling = reign("node_1", work, ttl_ms=300)

    async def away(_lease):
        raise StoreUnavailable("redis", "away")

    monkeypatch.setattr(ruling._leases, "renew", away)
    async with until.running(ruling.run):
        await until.true(lambda: work.begun == 1)
        await until.true(lambda: work.ended == 1, deadline_s=2.0)


async def test_an_error_of_the_work_is_not_swallowed(scripts: Scripts):
    """It rises to the supervisor, and the lease is free at once."""

    async def fail():
        raise ZeroDivisionError("a bug")

    leases = Leases(scripts, "node_1")
    ruling = Reign(leases, Fence(SystemClock()), "douala", fail, SystemClock())
    with pytest.raises(ZeroDivisionError):
        await ruling.run()

    assert await Leases(scripts, "node_2").take("douala") is not None
