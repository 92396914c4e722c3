"""Timers: an index of deadlines in the order of their time, which one engine works through."""

import pytest

from dispatch.errors import LeadershipLost
from dispatch.storage.leases import Leases
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.storage.timers import CLAIM_MS, Timers

pytestmark = pytest.mark.redis_cluster

NOW_MS = 500


@pytest.fixture
async def scripts(redis: RedisClients):
    ours = Scripts(redis.commands)
    await ours.load()
    return ours


@pytest.fixture
def timers(redis: RedisClients, scripts: Scripts):
    return Timers(redis, scripts, "douala")


async def test_due_orders_come_oldest_first_with_the_next_moment(timers: Timers):
    """What is due now, and when something will be."""
    await timers.arm({"late": 100, "later": 200, "soon": 900})

    assert await timers.claim(NOW_MS, 1, 1) == (["late"], 200)
    assert await timers.claim(NOW_MS, 10, 1) == (["later"], 900)


async def test_late_arm_keeps_the_earlier_timer(timers: Timers):
    """A step that is relayed after its successor once moved the successor's timer."""
    await timers.arm({"a": 100})
    await timers.arm({"a": 700})

    assert (await timers.claim(NOW_MS, 10, 1))[0] == ["a"]


async def test_claimed_order_is_due_when_rescheduled(timers: Timers):
    """One order has one timer, and none when it needs no engine."""
    await timers.arm({"a": 100, "b": 100})
    await timers.claim(NOW_MS, 10, 1)
    await timers.reschedule("a", 9_000, 1)
    await timers.drop("b", 1)

    assert await timers.claim(NOW_MS, 10, 1) == ([], 9_000)


async def test_claim_is_exclusive_and_expires(timers: Timers):
    """What was taken is left alone while its engine lives; after its death it comes up again."""
    await timers.arm({"a": 100})
    await timers.claim(NOW_MS, 10, 1)

    assert await timers.claim(NOW_MS, 10, 1) == ([], NOW_MS + CLAIM_MS)
    assert (await timers.claim(NOW_MS + CLAIM_MS, 10, 1))[0] == ["a"]


async def test_arm_during_a_claim_is_not_lost(timers: Timers):
    """A rider said no while the engine looked: the engine's own next moment once hid that."""
    await timers.arm({"a": 100, "b": 100})
    await timers.claim(NOW_MS, 10, 1)
    await timers.arm({"a": NOW_MS, "b": NOW_MS})
    await timers.reschedule("a", 9_000, 1)
    await timers.drop("b", 1)

    assert (await timers.claim(NOW_MS, 10, 1))[0] == ["a", "b"]


async def test_an_engine_of_an_older_token_is_refused(timers: Timers, scripts: Scripts):
    """Whoever was stopped and goes on takes nothing and puts nothing off."""
    await timers.arm({"a": 100})
    old = await Leases(scripts, "node_1").acquire("douala")
    assert old is not None
    await timers.claim(NOW_MS, 10, old.token)
    await Leases(scripts, "node_1").release(old)
    new = await Leases(scripts, "node_2").acquire("douala")
    assert new is not None
    for late in (
        timers.claim(NOW_MS + CLAIM_MS, 10, old.token),
        timers.reschedule("a", 9_000, old.token),
        timers.drop("a", old.token),
    ):
        with pytest.raises(LeadershipLost):
            await late

    assert (await timers.claim(NOW_MS + CLAIM_MS, 10, new.token))[0] == ["a"]


async def test_zones_do_not_see_each_other(timers: Timers, redis: RedisClients, scripts: Scripts):
    """Each zone's engine has its own timers."""
    await timers.arm({"a": 100})

    assert await Timers(redis, scripts, "yaounde").claim(NOW_MS, 10, 1) == ([], None)
