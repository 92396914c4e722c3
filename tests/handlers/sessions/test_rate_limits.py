"""Token buckets and rate limits: how they fill and empty, alone and shared by all nodes."""

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
    """A burst passes, then the rate, and never more than the burst after a pause."""
    bucket = TokenBucket(rate_per_s=10, burst=20)
    assert take_all(bucket, 1000.0) == 20
    assert take_all(bucket, 1000.5) == 5
    assert take_all(bucket, 9000.0) == 20


def test_a_refused_take_costs_nothing():
    """A refused request does not lengthen the wait."""
    bucket = TokenBucket(rate_per_s=1, burst=1)
    assert bucket.take(0)
    assert not bucket.take(0.5)
    assert bucket.wait_s() == pytest.approx(0.5)
    assert bucket.take(1.0)


def test_remaining_is_what_can_still_be_taken():
    """`X-RateLimit-Remaining` never promises a request that would be refused."""
    bucket = TokenBucket(rate_per_s=1, burst=3)
    assert bucket.take(0)
    assert (bucket.remaining, bucket.wait_s()) == (2, 0)
    assert take_all(bucket, 0.9) == 2
    assert bucket.remaining == 0


def test_sockets_have_a_bucket_for_commands_and_one_for_fixes():
    """Both hold twice the rate that the settings name."""
    limits = RateLimits(Settings(commands_per_s=3, fixes_per_s=2))
    assert take_all(limits.command_bucket(), 1.0) == 6
    assert take_all(limits.fix_bucket(), 1.0) == 4


def http_bucket(limits: RateLimits, subject: str) -> TokenBucket:
    return limits.bucket(limits.http_rate, subject)


def test_each_http_caller_has_its_own_bucket():
    """An exhausted caller takes nothing from the others; a minute's requests may come at once."""
    limits = RateLimits(Settings(http_requests_per_min=60))
    assert take_all(http_bucket(limits, "user:usr_1"), 1.0) == 60
    assert not http_bucket(limits, "user:usr_1").take(1.9)
    assert http_bucket(limits, "user:usr_1").take(2.0)
    assert http_bucket(limits, "user:usr_2").take(2.0)


def test_http_buckets_are_bounded_and_the_active_one_stays():
    """Buckets over BUCKETS_MAX are discarded, least recently used first."""
    limits = RateLimits(Settings(http_requests_per_min=60))
    assert take_all(http_bucket(limits, "address:1"), 1.0) == 60
    for number in range(BUCKETS_MAX + 10):
        http_bucket(limits, f"address:x{number}").take(1.0)
        http_bucket(limits, "address:1")
    assert not http_bucket(limits, "address:1").take(1.0)
    assert http_bucket(limits, "address:x0").remaining == 60


def test_rate_limits_off_grants_everything():
    """With `RATE_LIMITS=off` no bucket refuses."""
    limits = RateLimits(Settings(rate_limits="off", commands_per_s=1, http_requests_per_min=1))
    buckets = [
        limits.command_bucket(),
        limits.fix_bucket(),
        limits.violation_budget(),
        http_bucket(limits, "user:usr_1"),
    ]
    assert all(bucket.take(1.0) for bucket in buckets for _ in range(5000))


class FakeQuotas:
    """In place of Redis: one shared bucket of three tokens; may be away, or not answer."""

    def __init__(self) -> None:
        self.remaining = 3
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.calls = 0

    async def spend(self, spent: Sequence[SpentTokens]) -> list[int]:
        self.calls += 1
        if self.is_away:
            raise StoreUnavailable("redis", "timeout")
        left: list[int] = []
        for each in spent:
            self.remaining -= each.tokens
            left.append(self.remaining)
        return left

    async def take(
        self, _name: str, _subject: str, _rate_per_s: float, _burst: float
    ) -> TakeResult:
        self.calls += 1
        await self.may_answer.wait()
        if self.is_away:
            raise StoreUnavailable("redis", "timeout")
        self.remaining -= 1
        return TakeResult(self.remaining >= 0, max(0, self.remaining), 1.0)


def shared_limits(quotas: FakeQuotas, clock: ManualClock, **changes: Any) -> RateLimits:
    settings = Settings(http_requests_per_min=60, **changes)
    # A request does not wait long for Redis, so that the test of a hanging one is quick.
    shared = SharedBuckets(cast("Quotas", quotas), clock, redis_wait_s_max=0.01)
    return RateLimits(settings, shared, sync_every_s=0)


async def take_one(limits: RateLimits, clock: ManualClock, rate: Rate | None = None) -> bool:
    return await limits.take(rate or limits.http_rate, "user:usr_1", clock.monotonic_s())


async def test_a_shared_limit_holds_at_each_node():
    """A token taken elsewhere is missing here; Redis is not asked again before one may be back."""
    quotas, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(quotas, clock)
    granted = [await take_one(limits, clock) for _ in range(10)]
    assert granted == [True] * 3 + [False] * 7
    assert quotas.calls == 3
    assert http_bucket(limits, "user:usr_1").remaining == 0


async def test_without_redis_the_local_limit_applies():
    """The node's own rate applies, and Redis is asked once a second instead of by every request."""
    quotas, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(quotas, clock)
    quotas.is_away = True
    granted = [await take_one(limits, clock) for _ in range(100)]
    assert granted == [True] * 60 + [False] * 40
    assert quotas.calls == 1
    clock.advance(1_000)
    assert await take_one(limits, clock)
    assert quotas.calls == 2


async def test_a_request_does_not_wait_for_a_hanging_redis():
    """It is granted from the local bucket, and the next request does not ask Redis at all."""
    quotas, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(quotas, clock)
    quotas.may_answer.clear()
    assert await take_one(limits, clock)
    assert await take_one(limits, clock)
    assert quotas.calls == 1


async def test_codes_need_redis_and_sign_ins_do_not():
    """While Redis is away, rates without local fallback raise StoreUnavailable."""
    quotas, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(quotas, clock)
    quotas.is_away = True
    with pytest.raises(StoreUnavailable):
        await take_one(limits, clock, CODE_RATE)
    assert await take_one(limits, clock, SIGN_IN_RATE)
    with pytest.raises(StoreUnavailable):
        await take_one(limits, clock, CODE_RATE)
    assert quotas.calls == 1


async def test_rate_limits_off_does_not_call_redis():
    """With `RATE_LIMITS=off` no request calls Redis."""
    quotas, clock = FakeQuotas(), ManualClock()
    limits = shared_limits(quotas, clock, rate_limits="off")
    assert all([await take_one(limits, clock) for _ in range(100)])
    assert quotas.calls == 0


SLOW = Rate("join", 0.1, 3)


def two_nodes(quotas: FakeQuotas, clock: ManualClock) -> list[tuple[RateLimits, SharedBuckets]]:
    shared = [SharedBuckets(cast("Quotas", quotas), clock) for _ in range(2)]
    return [(RateLimits(Settings(), each, sync_every_s=0), each) for each in shared]


def count_joins(limits: RateLimits, clock: ManualClock, tries: int) -> int:
    return sum(
        not limits.take_or_wait_s(SLOW, "rider:rdr_1", clock.monotonic_s()) for _ in range(tries)
    )


async def test_tokens_granted_locally_are_deducted_from_the_shared_bucket():
    """Two nodes grant three each of three in all; the debt is paid before more is granted.

    Each grants at once what its local bucket holds; the syncs deduct it from the shared one.
    """
    quotas, clock = FakeQuotas(), ManualClock()
    (one, first), (two, second) = two_nodes(quotas, clock)
    assert (count_joins(one, clock, 5), count_joins(two, clock, 5)) == (3, 3)
    await first.sync()
    await second.sync()
    assert quotas.remaining == -3
    clock.advance(20_000)
    assert (count_joins(one, clock, 5), count_joins(two, clock, 5)) == (2, 0)
    clock.advance(20_000)
    assert count_joins(two, clock, 5) == 1


async def test_a_granted_token_is_synced_once():
    """A second sync without new tokens deducts nothing."""
    quotas, clock = FakeQuotas(), ManualClock()
    (one, first), _ = two_nodes(quotas, clock)
    assert count_joins(one, clock, 1) == 1
    await first.sync()
    await first.sync()
    assert quotas.remaining == 2


async def test_tokens_granted_while_redis_is_away_are_not_deducted_later():
    """A failed sync is not repeated; only the local bucket has counted the tokens."""
    quotas, clock = FakeQuotas(), ManualClock()
    (one, first), _ = two_nodes(quotas, clock)
    quotas.is_away = True
    assert count_joins(one, clock, 2) == 2
    await first.sync()
    quotas.is_away = False
    await first.sync()
    assert (quotas.remaining, count_joins(one, clock, 5)) == (3, 1)


async def test_unsynced_subjects_are_bounded():
    """Subjects over the bound are not noted, and their tokens are not deducted."""
    quotas, clock = FakeQuotas(), ManualClock()
    shared = SharedBuckets(cast("Quotas", quotas), clock, unsynced_max=2)
    for number in range(10):
        shared.record_local(SLOW, f"address:{number % 5}", TokenBucket(1, 1))
    await shared.sync()
    # Of three tokens, two subjects took two each.
    assert quotas.remaining == -1


async def test_the_sync_loop_repeats_and_ends_without_limits():
    """The supervised loop syncs again and again; with `RATE_LIMITS=off` it returns at once."""
    quotas, clock = FakeQuotas(), ManualClock()
    (one, _), _ = two_nodes(quotas, clock)
    async with Until().running(one.run):
        await Until().true(lambda: quotas.calls > 2)
    calls = quotas.calls
    await shared_limits(quotas, clock, rate_limits="off").run()
    assert quotas.calls == calls


def test_lower_counts_the_refill_since_the_last_take_once():
    """Tokens that refilled before `lower` were once counted a second time by the next take."""
    bucket = TokenBucket(rate_per_s=1, burst=20)
    assert bucket.take(100.0)
    bucket.lower(105.0, -1)
    assert not bucket.take(106.5)
    assert bucket.take(107.0)
    bucket.lower(200.0, 50)
    assert take_all(bucket, 200.0) == 20


def test_granted_tokens_are_apart_and_end():
    """They add nothing to the ordinary ones, and can be used for a minute."""
    bucket = TokenBucket(1, 2)
    assert not bucket.take_granted(100.0)
    bucket.grant(3, 100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take_granted(159.0) for _ in range(2)] == [True, True]
    assert not bucket.take_granted(161.0)
