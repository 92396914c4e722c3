"""What is learned of riders' answers and vendors' times, by whatever node."""

import pytest
from msgspec.structs import replace

from dispatch import keys, metrics
from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.model import Order, OrderStatus
from dispatch.orders import learned_stats as module
from dispatch.orders.learned_stats import TTL_S, LearnedStats
from dispatch.storage.redis_client import RedisClients, Scripts
from matching.acceptance import acceptance_chance
from matching.prep_times import FadedSum
from tests.factories import a_parcel_order, an_order

pytestmark = pytest.mark.engines

HOUR_MS = 3_600_000


def ready_order(minutes: float, hour: int = 8, vendor: str = "ven_1") -> Order:
    """An order that was ready so long after its vendor had taken it."""
    taken_ms = 20_000 * 24 * HOUR_MS + hour * HOUR_MS
    times = {OrderStatus.ACCEPTED: taken_ms, OrderStatus.READY: taken_ms + int(minutes * 60_000)}
    ready = an_order(OrderStatus.READY)
    return replace(ready, vendor_id=vendor, times={k.value: v for k, v in times.items()})


@pytest.fixture
def learned_stats(redis: RedisClients) -> LearnedStats:
    """A node's."""
    return LearnedStats(redis, Scripts(redis.commands), ManualClock())


async def test_answers_add_up_and_fade(learned_stats: LearnedStats, redis: RedisClients):
    """Sixty yeses weigh fifty, then every no counts; it goes after a month."""
    for _ in range(60):
        learned_stats.record_answer("rdr_1", accepted=True)
    for _ in range(5):
        learned_stats.record_answer("rdr_1", accepted=False)
    await learned_stats.flush()
    said = (await learned_stats.answers())["rdr_1"]

    assert said.weight == pytest.approx(50)
    assert said.total == pytest.approx(50 * (50 / 51) ** 5, abs=0.01)
    assert 0.85 < acceptance_chance(*said) < 0.95
    assert 0 < await redis.commands.ttl(keys.riders_acceptance()) <= TTL_S


async def test_a_vendors_times_are_known_by_day_and_hour(learned_stats: LearnedStats):
    """Orders of eight and of noon both count for the day, and each for its hour."""
    for minutes, hour in ((10, 8), (20, 8), (60, 12)):
        learned_stats.record_prep_time(ready_order(minutes, hour))
    await learned_stats.flush()

    assert await learned_stats.prep_times(["ven_1", "ven_2"]) == {
        "ven_1": {"day": FadedSum(90, 3), "8": FadedSum(30, 2), "12": FadedSum(60, 1)}, "ven_2": {},
    }  # fmt: skip


async def test_nothing_is_learned_of_parcels_and_open_orders(learned_stats: LearnedStats):
    """A parcel has no kitchen, and what is not ready has taken no time yet."""
    learned_stats.record_prep_time(a_parcel_order())
    learned_stats.record_prep_time(an_order(OrderStatus.ACCEPTED))
    await learned_stats.flush()
    assert await learned_stats.prep_times(["ven_1"]) == {"ven_1": {}}


async def test_prep_minutes_are_scaled_by_the_time_scale(redis: RedisClients):
    """A replay at sixty times the pace learns the minutes of the day it replays."""
    fast = LearnedStats(redis, Scripts(redis.commands), ManualClock(), time_scale=60.0)
    fast.record_prep_time(ready_order(0.25))
    await fast.flush()
    assert (await fast.prep_times(["ven_1"]))["ven_1"]["day"] == FadedSum(15, 1)


async def test_reads_are_cached_for_ten_seconds(learned_stats: LearnedStats):
    """One read serves ten seconds of decisions."""
    clock = learned_stats._clock
    assert isinstance(clock, ManualClock)
    before = await learned_stats.answers()
    learned_stats.record_answer("rdr_1", accepted=False)
    await learned_stats.flush()
    same = await learned_stats.answers()
    clock.advance(10_000)
    after = await learned_stats.answers()

    assert before == same == {}
    assert after == {"rdr_1": FadedSum(0, 1)}


async def test_nothing_is_lost_while_redis_is_away(
    learned_stats: LearnedStats, monkeypatch: pytest.MonkeyPatch
):
    """What could not be written is written later, once; only too much of it is dropped, counted."""
    monkeypatch.setattr(module, "PENDING_MAX", 2)
    lost = metrics.LEARNING_SAMPLES_DROPPED._value.get()
    for rider in ("rdr_1", "rdr_2", "rdr_3"):
        learned_stats.record_answer(rider, accepted=True)

    async def away(*_: object) -> None:
        raise StoreUnavailable("redis", "away")

    with monkeypatch.context() as patch:
        patch.setattr(learned_stats._scripts, "run", away)
        with pytest.raises(StoreUnavailable):
            await learned_stats.flush()
    await learned_stats.flush()

    assert set(await learned_stats.answers()) == {"rdr_2", "rdr_3"}
    assert metrics.LEARNING_SAMPLES_DROPPED._value.get() == lost + 1
