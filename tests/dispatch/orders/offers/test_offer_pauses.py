"""Offer pauses on a real Redis: unread offers in a row pause a rider for a while."""

import pytest

from dispatch import keys
from dispatch.ids import RiderId
from dispatch.orders.offers.offer_pauses import STREAK_TTL_S, OfferPauses, PauseRule
from dispatch.storage.redis_client import RedisClients, Scripts

pytestmark = pytest.mark.engines

NOW_MS = 1_000_000
RULE = PauseRule(unread_max=2, pause_ms=60_000)
ANNA, PAUL = RiderId("anna"), RiderId("paul")


@pytest.fixture
def pauses(redis: RedisClients, scripts: Scripts) -> OfferPauses:
    """No rider is paused."""
    return OfferPauses(redis, scripts)


async def test_unread_offers_in_a_row_pause_a_rider(pauses: OfferPauses):
    """The pause ends by itself, and the count begins again."""
    assert await pauses.count_unread([ANNA], [], NOW_MS, RULE) == []
    assert await pauses.count_unread([ANNA, PAUL], [], NOW_MS, RULE) == [ANNA]
    assert await pauses.current(NOW_MS + 59_999) == {ANNA: NOW_MS + 60_000}
    assert await pauses.current(NOW_MS + 60_000) == {}
    assert await pauses.count_unread([ANNA], [], NOW_MS + 60_000, RULE) == []


async def test_a_shown_offer_resets_the_count(pauses: OfferPauses, redis: RedisClients):
    """A count that nothing is added to expires."""
    await pauses.count_unread([ANNA, PAUL], [], NOW_MS, RULE)
    await pauses.count_unread([], [ANNA], NOW_MS, RULE)

    assert await pauses.count_unread([ANNA, PAUL], [], NOW_MS, RULE) == [PAUL]
    assert 0 < await redis.commands.ttl(keys.rider_unread(ANNA)) <= STREAK_TTL_S


async def test_a_rider_who_uses_the_app_is_no_longer_paused(pauses: OfferPauses):
    """Lifting twice is harmless."""
    for _ in range(2):
        await pauses.count_unread([ANNA], [], NOW_MS, RULE)
    await pauses.lift(ANNA)
    await pauses.lift(ANNA)

    assert await pauses.current(NOW_MS) == {}


async def test_a_new_pause_removes_those_that_are_over(pauses: OfferPauses, redis: RedisClients):
    """The index holds no riders of long ago."""
    rule = PauseRule(unread_max=1, pause_ms=1_000)
    await pauses.count_unread([ANNA], [], NOW_MS, rule)
    await pauses.count_unread([PAUL], [], NOW_MS + 1_001, rule)

    assert await redis.commands.zrange(keys.riders_paused(), 0, -1) == [b"paul"]
