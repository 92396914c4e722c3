"""Timers: due orders are claimed by one engine, oldest first, and none is lost."""

import pytest

from dispatch import keys
from dispatch.errors import LeadershipLost
from dispatch.storage.leases import Leases
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.storage.timers import CLAIM_MS, Timers
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster

NOW_MS = 500


@pytest.fixture
def timers(redis: RedisClients, scripts: Scripts):
    return Timers(redis, scripts, "douala")


async def test_due_orders_come_oldest_first_with_the_next_moment(timers: Timers):
    """A claim returns due orders, oldest first, and when the next one is due."""
    await timers.arm({"late": 100, "later": 200, "soon": 900})

    assert await timers.claim(NOW_MS, 1, 1) == (["late"], 200)
    assert await timers.claim(NOW_MS, 10, 1) == (["later"], 900)


async def test_late_arm_keeps_the_earlier_timer(timers: Timers):
    """A later time does not replace an earlier timer.

    A transition that was relayed after its successor once moved the successor's timer.
    """
    await timers.arm({"a": 100})
    await timers.arm({"a": 700})

    assert (await timers.claim(NOW_MS, 10, 1))[0] == ["a"]


async def test_claimed_order_is_due_when_rescheduled(timers: Timers):
    """A rescheduled order is due at its new time, a dropped one never."""
    await timers.arm({"a": 100, "b": 100})
    await timers.claim(NOW_MS, 10, 1)
    await timers.reschedule("a", 9_000, 1)
    await timers.drop("b", 1)

    assert await timers.claim(NOW_MS, 10, 1) == ([], 9_000)


async def test_claim_is_exclusive_and_expires(timers: Timers):
    """A claimed order is not due again until its claim expires."""
    await timers.arm({"a": 100})
    await timers.claim(NOW_MS, 10, 1)

    assert await timers.claim(NOW_MS, 10, 1) == ([], NOW_MS + CLAIM_MS)
    assert (await timers.claim(NOW_MS + CLAIM_MS, 10, 1))[0] == ["a"]


async def test_arm_during_a_claim_is_not_lost(timers: Timers):
    """A timer that is set during a claim outlives the engine's own rescheduling or drop.

    A rider declined while the engine processed the order, and the engine's next time hid that.
    """
    await timers.arm({"a": 100, "b": 100})
    await timers.claim(NOW_MS, 10, 1)
    await timers.arm({"a": NOW_MS, "b": NOW_MS})
    await timers.reschedule("a", 9_000, 1)
    await timers.drop("b", 1)

    assert (await timers.claim(NOW_MS, 10, 1))[0] == ["a", "b"]


async def test_engine_with_an_older_token_is_refused(timers: Timers, scripts: Scripts):
    """An engine whose lease was taken over can neither claim, reschedule nor drop."""
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
    """The timers of one zone are not due in another."""
    await timers.arm({"a": 100})

    assert await Timers(redis, scripts, "yaounde").claim(NOW_MS, 10, 1) == ([], None)


async def test_arm_missing_sets_only_missing_timers(timers: Timers):
    """Only orders without a timer get one; their number is returned."""
    await timers.arm({"a": 400})
    assert await timers.arm_missing({"a": 100, "b": 200}) == 1
    assert await timers.arm_missing({"a": 100, "b": 200}) == 0
    assert await timers.arm_missing({}) == 0
    assert (await timers.claim(NOW_MS, 10, 1))[0] == ["b", "a"]


async def test_trails_are_due_until_dropped(timers: Timers):
    """Ended orders are listed from their time on, oldest first, until they are dropped."""
    await timers.arm({}, trails={"late": 300, "early": 200, "future": 900})
    assert await timers.trails_due(NOW_MS, 10) == ["early", "late"]
    assert await timers.trails_due(NOW_MS, 1) == ["early"]
    await timers.drop_trail("early")
    assert await timers.trails_due(NOW_MS, 10) == ["late"]


async def test_arm_wakes_the_engine(timers: Timers, redis: RedisClients, until: Until):
    """Setting a timer publishes on the zone's channel."""
    received: list[bytes] = []
    pubsub = PubSub(redis)
    async with until.running(pubsub.run):
        await pubsub.subscribe(keys.engine_channel("douala"), received.append)
        await timers.arm({"a": 100})
        await until.true(lambda: len(received) == 1)
        assert await timers.arm_missing({"b": 100}) == 1
        await until.true(lambda: len(received) == 2)
