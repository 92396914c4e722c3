"""What is learned of riders' answers and vendors' times, by whatever node."""

import pytest
from msgspec.structs import replace

from dispatch import keys, metrics
from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.model import Order, OrderStatus
from dispatch.orders import learned_stats as module
from dispatch.orders.learned_stats import TTL_S, Tallies
from dispatch.storage.redis_client import RedisClients, Scripts
from matching.acceptance import chance_of
from matching.prep_times import Tally
from tests.factories import an_order, parcel_order

pytestmark = pytest.mark.engines

HOUR_MS = 3_600_000


def cooked(minutes: float, hour: int = 8, vendor: str = "ven_1") -> Order:
    """An order that was ready so long after its vendor had taken it."""
    taken_ms = 20_000 * 24 * HOUR_MS + hour * HOUR_MS
    times = {OrderStatus.ACCEPTED: taken_ms, OrderStatus.READY: taken_ms + int(minutes * 60_000)}
    ready = an_order(OrderStatus.READY)
    return replace(ready, vendor_id=vendor, times={k.value: v for k, v in times.items()})


@pytest.fixture
def learned(redis: RedisClients) -> Tallies:
    """A node's."""
    return Tallies(redis, Scripts(redis.commands), ManualClock())


async def test_answers_add_up_and_fade(learned: Tallies, redis: RedisClients):
    """Sixty yeses weigh fifty, then every no counts; it goes after a month."""
    for _ in range(60):
        learned.note_answer("rdr_1", accepted=True)
    for _ in range(5):
        learned.note_answer("rdr_1", accepted=False)
    await learned.flush()
    said = (await learned.answers())["rdr_1"]

    assert said.weight == pytest.approx(50)
    assert said.total == pytest.approx(50 * (50 / 51) ** 5, abs=0.01)
    assert 0.85 < chance_of(*said) < 0.95
    assert 0 < await redis.commands.ttl(keys.riders_answers()) <= TTL_S


async def test_a_vendors_times_are_known_by_day_and_hour(learned: Tallies):
    """Orders of eight and of noon both count for the day, and each for its hour."""
    for minutes, hour in ((10, 8), (20, 8), (60, 12)):
        learned.note_ready(cooked(minutes, hour))
    await learned.flush()

    assert await learned.preps(["ven_1", "ven_2"]) == {
        "ven_1": {"day": Tally(90, 3), "8": Tally(30, 2), "12": Tally(60, 1)}, "ven_2": {},
    }  # fmt: skip


async def test_nothing_is_learned_of_parcels_and_open_orders(learned: Tallies):
    """A parcel has no kitchen, and what is not ready has taken no time yet."""
    learned.note_ready(parcel_order())
    learned.note_ready(an_order(OrderStatus.ACCEPTED))
    await learned.flush()
    assert await learned.preps(["ven_1"]) == {"ven_1": {}}


async def test_in_a_faster_city_minutes_are_shorter(redis: RedisClients):
    """A replay at sixty times the pace learns the minutes of the day it replays."""
    fast = Tallies(redis, Scripts(redis.commands), ManualClock(), pace=60.0)
    fast.note_ready(cooked(0.25))
    await fast.flush()
    assert (await fast.preps(["ven_1"]))["ven_1"]["day"] == Tally(15, 1)


async def test_what_is_known_is_read_anew_after_a_while(learned: Tallies):
    """One read serves ten seconds of decisions."""
    clock = learned._clock
    assert isinstance(clock, ManualClock)
    before = await learned.answers()
    learned.note_answer("rdr_1", accepted=False)
    await learned.flush()
    same = await learned.answers()
    clock.advance(10_000)
    after = await learned.answers()

    assert before == same == {}
    assert after == {"rdr_1": Tally(0, 1)}


async def test_nothing_is_lost_while_redis_is_away(
    learned: Tallies, monkeypatch: pytest.MonkeyPatch
):
    """What could not be written is written later, once; only too much of it is dropped, counted."""
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    lost = metrics.LESSONS_LOST._value.get()
    for rider in ("rdr_1", "rdr_2", "rdr_3"):
        learned.note_answer(rider, accepted=True)

    async def away(*_: object) -> None:
        raise StoreUnavailable("redis", "away")

    with monkeypatch.context() as patch:
        patch.setattr(learned._scripts, "run", away)
        with pytest.raises(StoreUnavailable):
            await learned.flush()
    await learned.flush()

    assert set(await learned.answers()) == {"rdr_2", "rdr_3"}
    assert metrics.LESSONS_LOST._value.get() == lost + 1
