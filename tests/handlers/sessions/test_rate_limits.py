"""How token buckets fill and empty."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings
from dispatch.storage.quotas import Quotas, SpentTokens, TakeResult
from handlers.sessions.rate_limits import (
    BUCKETS_MAX,
    CODE_RATE,
    SIGN_IN_RATE,
    Rate,
    RateLimits,
    SharedBuckets,
    TokenBucket,
)
from tests.waiting import Until


def take_all(bucket: TokenBucket, now_s: float) -> int:
    taken = 0
    while bucket.take(now_s):
        taken += 1
    return taken


def test_a_bucket_begins_full_and_refills_at_its_rate():
    """A burst passes, then the rate, and never more than the burst after a rest."""
    bucket = TokenBucket(rate_per_s=10, burst=20)
    assert take_all(bucket, 1000.0) == 20
    assert take_all(bucket, 1000.5) == 5
    assert take_all(bucket, 9000.0) == 20


def test_what_is_refused_costs_nothing():
    """Asking too often does not lengthen the wait."""
    bucket = TokenBucket(rate_per_s=1, burst=1)
    assert bucket.take(0)
    assert not bucket.take(0.5)
    assert bucket.wait_s() == pytest.approx(0.5)
    assert bucket.take(1.0)


def test_a_bucket_says_what_is_left():
    """`X-RateLimit-Remaining` never promises a request that would be refused."""
    bucket = TokenBucket(rate_per_s=1, burst=3)
    assert bucket.take(0)
    assert (bucket.remaining, bucket.wait_s()) == (2, 0)
    assert take_all(bucket, 0.9) == 2
    assert bucket.remaining == 0


def test_sockets_get_the_rates_of_the_settings():
    """Commands and fixes have buckets of their own."""
    limits = RateLimits(Settings(commands_per_s=3, fixes_per_s=2))
    assert take_all(limits.command_bucket(), 1.0) == 6
    assert take_all(limits.fix_bucket(), 1.0) == 4


def http_bucket(limits: RateLimits, subject: str) -> TokenBucket:
    return limits.bucket(limits.http_rate, subject)


def test_http_identities_do_not_share():
    """One greedy caller leaves the others their requests; a minute's worth may come at once."""
    limits = RateLimits(Settings(http_requests_per_min=60))
    assert take_all(http_bucket(limits, "user:usr_1"), 1.0) == 60
    assert not http_bucket(limits, "user:usr_1").take(1.9)
    assert http_bucket(limits, "user:usr_1").take(2.0)
    assert http_bucket(limits, "user:usr_2").take(2.0)


def test_http_buckets_are_bounded_and_the_active_one_stays():
    """A million invented addresses neither fill the memory nor reset the one who asks."""
    limits = RateLimits(Settings(http_requests_per_min=60))
    assert take_all(http_bucket(limits, "from:1"), 1.0) == 60
    for number in range(BUCKETS_MAX + 10):
        http_bucket(limits, f"from:x{number}").take(1.0)
        http_bucket(limits, "from:1")
    assert not http_bucket(limits, "from:1").take(1.0)
    assert http_bucket(limits, "from:x0").remaining == 60


def test_benches_may_switch_limits_off():
    """`RATE_LIMITS=off` lets everything through, everywhere."""
    limits = RateLimits(Settings(rate_limits="off", commands_per_s=1, http_requests_per_min=1))
    buckets = [
        limits.command_bucket(),
        limits.fix_bucket(),
        limits.violation_budget(),
        http_bucket(limits, "user:usr_1"),
    ]
    assert all(bucket.take(1.0) for bucket in buckets for _ in range(5000))


class FakeQuotas:
    """What stands where Redis would: a bucket of all nodes, or nobody who answers."""

    def __init__(self) -> None:
        self.remaining = 3
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.calls = 0

    async def spend(self, given: Sequence[SpentTokens]) -> list[int]:
        self.calls += 1
        if self.is_away:
            raise StoreUnavailable("redis", "timeout")
        told = []
        for each in given:
            self.remaining -= each.tokens
            told.append(self.remaining)
        return told

    async def take(self, _name: str, _who: str, _rate_per_s: float, _burst: float) -> TakeResult:
        self.calls += 1
        await self.may_answer.wait()
        if self.is_away:
            raise StoreUnavailable("redis", "timeout")
        self.remaining -= 1
        return TakeResult(self.remaining >= 0, max(0, self.remaining), 1.0)


def shared_limits(quotas: FakeQuotas, clock: ManualClock, **changes: Any) -> RateLimits:
    ours = Settings(http_requests_per_min=60, **changes)
    return RateLimits(ours, SharedBuckets(cast("Quotas", quotas), clock))


async def take_one(limits: RateLimits, clock: ManualClock, rate: Rate | None = None) -> bool:
    return await limits.take(rate or limits.http_rate, "user:usr_1", clock.monotonic_s())


async def test_a_limit_of_all_nodes_holds_at_each():
    """What others have taken is missing here; then Redis is not asked until there may be more."""
    ground, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(ground, clock)
    heard = [await take_one(limits, clock) for _ in range(10)]
    assert heard == [True] * 3 + [False] * 7
    assert ground.calls == 3
    assert http_bucket(limits, "user:usr_1").remaining == 0


async def test_without_redis_a_node_keeps_the_limit_alone():
    """Open to the node's own rate, and Redis is asked once a second, not by every request."""
    ground, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(ground, clock)
    ground.is_away = True
    heard = [await take_one(limits, clock) for _ in range(100)]
    assert heard == [True] * 60 + [False] * 40
    assert ground.calls == 1
    clock.advance(1_000)
    assert await take_one(limits, clock)
    assert ground.calls == 2


async def test_a_redis_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    """A request that keeps to its rate does not pay for a limit that cannot be asked for."""
    monkeypatch.setattr("handlers.sessions.rate_limits.REDIS_WAIT_S_MAX", 0.01)
    ground, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(ground, clock)
    ground.may_answer.clear()
    assert await take_one(limits, clock)
    assert await take_one(limits, clock)
    assert ground.calls == 1


async def test_what_is_dear_waits_for_redis():
    """Where tries cannot be counted over all nodes no code is sent; to sign in needs no Redis."""
    ground, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(ground, clock)
    ground.is_away = True
    with pytest.raises(StoreUnavailable):
        await take_one(limits, clock, CODE_RATE)
    assert await take_one(limits, clock, SIGN_IN_RATE)
    with pytest.raises(StoreUnavailable):
        await take_one(limits, clock, CODE_RATE)
    assert ground.calls == 1


async def test_benches_ask_nobody():
    """`RATE_LIMITS=off` costs Redis nothing."""
    ground, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(ground, clock, rate_limits="off")
    assert all([await take_one(limits, clock) for _ in range(100)])
    assert ground.calls == 0


SLOW = Rate("join", 0.1, 3)


def two_nodes(quotas: FakeQuotas, clock: ManualClock) -> list[tuple[RateLimits, SharedBuckets]]:
    found = [SharedBuckets(cast("Quotas", quotas), clock) for _ in range(2)]
    return [(RateLimits(Settings(), each), each) for each in found]


def count_joins(limits: RateLimits, clock: ManualClock, tries: int) -> int:
    return sum(
        not limits.take_or_wait_s(SLOW, "rider:rdr_1", clock.monotonic_s()) for _ in range(tries)
    )


async def test_what_is_given_without_asking_is_made_up_for():
    """Two nodes gave three each, where there are three in all: nobody gives any for half a minute.

    Each gives at once what it has, and hears within a second what others gave.
    """
    ground, clock = FakeQuotas(), ManualClock()
    (one, first), (two, second) = two_nodes(ground, clock)
    assert (count_joins(one, clock, 5), count_joins(two, clock, 5)) == (3, 3)
    await first.sync()
    await second.sync()
    assert ground.remaining == -3
    clock.advance(20_000)
    assert (count_joins(one, clock, 5), count_joins(two, clock, 5)) == (2, 0)
    clock.advance(20_000)
    assert count_joins(two, clock, 5) == 1


async def test_nothing_given_is_nothing_told():
    """An identity that came once is told of once."""
    ground, clock = FakeQuotas(), ManualClock()
    (one, first), _ = two_nodes(ground, clock)
    assert count_joins(one, clock, 1) == 1
    await first.sync()
    await first.sync()
    assert ground.remaining == 2


async def test_what_was_given_without_redis_is_counted_here_alone():
    """Nobody who keeps to his rate is turned away."""
    ground, clock = FakeQuotas(), ManualClock()
    (one, first), _ = two_nodes(ground, clock)
    ground.is_away = True
    assert count_joins(one, clock, 2) == 2
    await first.sync()
    ground.is_away = False
    await first.sync()
    assert (ground.remaining, count_joins(one, clock, 5)) == (3, 1)


async def test_those_who_are_told_of_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """A million invented addresses in one second do not fill the memory."""
    monkeypatch.setattr("handlers.sessions.rate_limits.BUCKETS_MAX", 2)
    ground, clock = FakeQuotas(), ManualClock()
    shared_by_all = SharedBuckets(cast("Quotas", ground), clock)
    for number in range(10):
        shared_by_all.record_local(SLOW, f"from:{number % 5}", TokenBucket(1, 1))
    assert len(shared_by_all._unsynced) == 2
    await shared_by_all.sync()
    assert ground.remaining == -1


async def test_all_nodes_are_told_again_and_again(monkeypatch: pytest.MonkeyPatch):
    """The loop that is supervised needs nobody; without limits it ends."""
    monkeypatch.setattr("handlers.sessions.rate_limits.SYNC_EVERY_S", 0)
    ground, clock = FakeQuotas(), ManualClock()
    (one, _), _ = two_nodes(ground, clock)
    async with Until().running(one.run):
        await Until().true(lambda: ground.calls > 2)
    asked = ground.calls
    await shared_limits(ground, clock, rate_limits="off").run()
    assert ground.calls == asked


def test_what_is_left_is_left_from_now_on():
    """What had filled up since the last take was counted a second time."""
    bucket = TokenBucket(rate_per_s=1, burst=20)
    assert bucket.take(100.0)
    bucket.lower(105.0, -1)
    assert not bucket.take(106.5)
    assert bucket.take(107.0)
    bucket.lower(200.0, 50)
    assert take_all(bucket, 200.0) == 20
