"""Learned statistics on a real Redis: riders' answers and vendors' preparation times."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from dispatch import keys
from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.ids import RiderId
from dispatch.model import Order, OrderStatus
from dispatch.orders.learned_stats import TTL_S, LearnedStats
from dispatch.storage.redis_client import RedisClients, Scripts
from matching.acceptance import acceptance_chance
from matching.prep_times import FadedSum
from tests.factories import a_parcel_order, an_order

pytestmark = pytest.mark.engines

HOUR_MS = 3_600_000
RIDER = RiderId("rdr_1")


def ready_order(minutes: float, hour: int = 8, vendor_id: str = "ven_1") -> Order:
    """An order that was ready so many minutes after its vendor had accepted it."""
    accepted_ms = 20_000 * 24 * HOUR_MS + hour * HOUR_MS
    times = {
        OrderStatus.ACCEPTED.value: accepted_ms,
        OrderStatus.READY.value: accepted_ms + int(minutes * 60_000),
    }
    return replace(an_order(OrderStatus.READY), vendor_id=vendor_id, times=times)


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the statistics."""
    return ManualClock()


@pytest.fixture
def learned_stats(redis: RedisClients, scripts: Scripts, clock: ManualClock) -> LearnedStats:
    """The statistics of one node."""
    return LearnedStats(redis, scripts, clock)


async def test_answers_add_up_and_fade(learned_stats: LearnedStats, redis: RedisClients):
    """Sixty acceptances weigh fifty, each decline counts fully; unused statistics expire."""
    for _ in range(60):
        learned_stats.record_answer(RIDER, accepted=True)
    for _ in range(5):
        learned_stats.record_answer(RIDER, accepted=False)
    await learned_stats.flush()
    answers = (await learned_stats.answers())[RIDER]

    assert answers.weight == pytest.approx(50)
    assert answers.total == pytest.approx(50 * (50 / 51) ** 5, abs=0.01)
    assert 0.85 < acceptance_chance(*answers) < 0.95
    assert 0 < await redis.commands.ttl(keys.riders_acceptance()) <= TTL_S


async def test_prep_times_are_kept_by_day_and_hour(learned_stats: LearnedStats):
    """Orders of eight o'clock and of noon count for the day, and each for its hour."""
    for minutes, hour in ((10, 8), (20, 8), (60, 12)):
        learned_stats.record_prep_time(ready_order(minutes, hour))
    await learned_stats.flush()

    assert await learned_stats.prep_times(["ven_1", "ven_2"]) == {
        "ven_1": {"day": FadedSum(90, 3), "8": FadedSum(30, 2), "12": FadedSum(60, 1)}, "ven_2": {},
    }  # fmt: skip


async def test_parcels_and_open_orders_teach_nothing(learned_stats: LearnedStats):
    """A parcel has no preparation, and an order that is not ready has no time yet."""
    learned_stats.record_prep_time(a_parcel_order())
    learned_stats.record_prep_time(an_order(OrderStatus.ACCEPTED))
    await learned_stats.flush()

    assert await learned_stats.prep_times(["ven_1"]) == {"ven_1": {}}


async def test_prep_minutes_are_scaled_by_the_time_scale(
    redis: RedisClients, scripts: Scripts, clock: ManualClock
):
    """A replay at sixty times real time learns the minutes of the day that it replays."""
    fast = LearnedStats(redis, scripts, clock, time_scale=60.0)
    fast.record_prep_time(ready_order(0.25))
    await fast.flush()

    assert (await fast.prep_times(["ven_1"]))["ven_1"]["day"] == FadedSum(15, 1)


async def test_reads_are_cached_for_ten_seconds(learned_stats: LearnedStats, clock: ManualClock):
    """Answers and preparation times alike."""
    before = await learned_stats.answers(), await learned_stats.prep_times(["ven_1"])
    learned_stats.record_answer(RIDER, accepted=False)
    learned_stats.record_prep_time(ready_order(10))
    await learned_stats.flush()
    cached = await learned_stats.answers(), await learned_stats.prep_times(["ven_1"])
    clock.advance(10_000)
    after = await learned_stats.answers(), await learned_stats.prep_times(["ven_1"])

    assert before == cached == ({}, {"ven_1": {}})
    assert after[0] == {RIDER: FadedSum(0, 1)}
    assert after[1]["ven_1"]["day"] == FadedSum(10, 1)


class FailingScripts(Scripts):
    """Scripts of a Redis that does not answer, until it `has_recovered`."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.has_recovered = False

    async def run(self, name: str, keys: Sequence[str], args: Iterable[Any] = ()) -> Any:
        """Fail, or run the script."""
        if not self.has_recovered:
            raise StoreUnavailable("redis", "down")
        return await self.scripts.run(name, keys, args)


async def test_observations_wait_until_redis_is_back(
    redis: RedisClients, scripts: Scripts, clock: ManualClock
):
    """Each is written once; above the limit the oldest is dropped and counted."""
    failing = FailingScripts(scripts)
    stats = LearnedStats(redis, failing, clock, pending_max=2)
    dropped = dropped_samples()
    for rider_id in ("rdr_1", "rdr_2", "rdr_3"):
        stats.record_answer(RiderId(rider_id), accepted=True)
    with pytest.raises(StoreUnavailable):
        await stats.flush()
    failing.has_recovered = True
    await stats.flush()

    assert set(await stats.answers()) == {"rdr_2", "rdr_3"}
    assert dropped_samples() == dropped + 1


def dropped_samples() -> float:
    value = REGISTRY.get_sample_value("reeyo_learning_samples_dropped_total")
    assert value is not None
    return value
