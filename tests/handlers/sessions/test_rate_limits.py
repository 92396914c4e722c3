"""How token buckets fill and empty."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings
from dispatch.storage.quotas import Quotas, Spent, Taken
from handlers.sessions.rate_limits import (
    CODES,
    KEPT_MAX,
    SIGN_INS,
    Bucket,
    Limits,
    Rate,
    Shared,
)
from tests.waiting import Until


def drain(bucket: Bucket, now_s: float) -> int:
    taken = 0
    while bucket.take(now_s):
        taken += 1
    return taken


def test_a_bucket_begins_full_and_refills_at_its_rate():
    """A burst passes, then the rate, and never more than the burst after a rest."""
    bucket = Bucket(rate_per_s=10, burst=20)
    assert drain(bucket, 1000.0) == 20
    assert drain(bucket, 1000.5) == 5
    assert drain(bucket, 9000.0) == 20


def test_what_is_refused_costs_nothing():
    """Asking too often does not lengthen the wait."""
    bucket = Bucket(rate_per_s=1, burst=1)
    assert bucket.take(0)
    assert not bucket.take(0.5)
    assert bucket.wait_s() == pytest.approx(0.5)
    assert bucket.take(1.0)


def test_a_bucket_says_what_is_left():
    """`X-RateLimit-Remaining` never promises a request that would be refused."""
    bucket = Bucket(rate_per_s=1, burst=3)
    assert bucket.take(0)
    assert (bucket.remaining, bucket.wait_s()) == (2, 0)
    assert drain(bucket, 0.9) == 2
    assert bucket.remaining == 0


def test_sockets_get_the_rates_of_the_settings():
    """Commands and fixes have buckets of their own."""
    limits = Limits(Settings(commands_per_s=3, fixes_per_s=2))
    assert drain(limits.commands(), 1.0) == 6
    assert drain(limits.fixes(), 1.0) == 4


def http_bucket(limits: Limits, who: str) -> Bucket:
    return limits.bucket(limits.http_rate, who)


def test_http_identities_do_not_share():
    """One greedy caller leaves the others their requests; a minute's worth may come at once."""
    limits = Limits(Settings(http_requests_per_min=60))
    assert drain(http_bucket(limits, "user:usr_1"), 1.0) == 60
    assert not http_bucket(limits, "user:usr_1").take(1.9)
    assert http_bucket(limits, "user:usr_1").take(2.0)
    assert http_bucket(limits, "user:usr_2").take(2.0)


def test_http_buckets_are_bounded_and_the_active_one_stays():
    """A million invented addresses neither fill the memory nor reset the one who asks."""
    limits = Limits(Settings(http_requests_per_min=60))
    assert drain(http_bucket(limits, "from:1"), 1.0) == 60
    for number in range(KEPT_MAX + 10):
        http_bucket(limits, f"from:x{number}").take(1.0)
        http_bucket(limits, "from:1")
    assert not http_bucket(limits, "from:1").take(1.0)
    assert http_bucket(limits, "from:x0").remaining == 60


def test_benches_may_switch_limits_off():
    """`RATE_LIMITS=off` lets everything through, everywhere."""
    limits = Limits(Settings(rate_limits="off", commands_per_s=1, http_requests_per_min=1))
    buckets = [
        limits.commands(),
        limits.fixes(),
        limits.patience(),
        http_bucket(limits, "user:usr_1"),
    ]
    assert all(bucket.take(1.0) for bucket in buckets for _ in range(5000))


class Ground:
    """What stands where Redis would: a bucket of all nodes, or nobody who answers."""

    def __init__(self) -> None:
        self.left = 3
        self.is_away = False
        self.door = asyncio.Event()
        self.door.set()
        self.asked = 0

    async def spend(self, given: Sequence[Spent]) -> list[int]:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("redis", "timeout")
        told = []
        for each in given:
            self.left -= each.tokens
            told.append(self.left)
        return told

    async def take(self, _name: str, _who: str, _rate_per_s: float, _burst: float) -> Taken:
        self.asked += 1
        await self.door.wait()
        if self.is_away:
            raise StoreUnavailable("redis", "timeout")
        self.left -= 1
        return Taken(self.left >= 0, max(0, self.left), 1.0)


def shared(ground: Ground, clock: ManualClock, **changes: Any) -> Limits:
    ours = Settings(http_requests_per_min=60, **changes)
    return Limits(ours, Shared(cast("Quotas", ground), clock))


async def asks(limits: Limits, clock: ManualClock, rate: Rate | None = None) -> bool:
    return await limits.take(rate or limits.http_rate, "user:usr_1", clock.monotonic_s())


async def test_a_limit_of_all_nodes_holds_at_each():
    """What others have taken is missing here; then Redis is not asked until there may be more."""
    ground, clock = Ground(), ManualClock()
    limits = shared(ground, clock)
    heard = [await asks(limits, clock) for _ in range(10)]
    assert heard == [True] * 3 + [False] * 7
    assert ground.asked == 3
    assert http_bucket(limits, "user:usr_1").remaining == 0


async def test_without_redis_a_node_keeps_the_limit_alone():
    """Open to the node's own rate, and Redis is asked once a second, not by every request."""
    ground, clock = Ground(), ManualClock()
    limits = shared(ground, clock)
    ground.is_away = True
    heard = [await asks(limits, clock) for _ in range(100)]
    assert heard == [True] * 60 + [False] * 40
    assert ground.asked == 1
    clock.advance(1_000)
    assert await asks(limits, clock)
    assert ground.asked == 2


async def test_a_redis_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    """A request that keeps to its rate does not pay for a limit that cannot be asked for."""
    monkeypatch.setattr("handlers.sessions.rate_limits.ASK_S_MAX", 0.01)
    ground, clock = Ground(), ManualClock()
    limits = shared(ground, clock)
    ground.door.clear()
    assert await asks(limits, clock)
    assert await asks(limits, clock)
    assert ground.asked == 1


async def test_what_is_dear_waits_for_redis():
    """Where tries cannot be counted over all nodes no code is sent; to sign in needs no Redis."""
    ground, clock = Ground(), ManualClock()
    limits = shared(ground, clock)
    ground.is_away = True
    with pytest.raises(StoreUnavailable):
        await asks(limits, clock, CODES)
    assert await asks(limits, clock, SIGN_INS)
    with pytest.raises(StoreUnavailable):
        await asks(limits, clock, CODES)
    assert ground.asked == 1


async def test_benches_ask_nobody():
    """`RATE_LIMITS=off` costs Redis nothing."""
    ground, clock = Ground(), ManualClock()
    limits = shared(ground, clock, rate_limits="off")
    assert all([await asks(limits, clock) for _ in range(100)])
    assert ground.asked == 0


SLOW = Rate("join", 0.1, 3)


def two_nodes(ground: Ground, clock: ManualClock) -> list[tuple[Limits, Shared]]:
    found = [Shared(cast("Quotas", ground), clock) for _ in range(2)]
    return [(Limits(Settings(), each), each) for each in found]


def joined(limits: Limits, clock: ManualClock, tries: int) -> int:
    return sum(not limits.wait_s(SLOW, "rider:rdr_1", clock.monotonic_s()) for _ in range(tries))


async def test_what_is_given_without_asking_is_made_up_for():
    """Two nodes gave three each, where there are three in all: nobody gives any for half a minute.

    Each gives at once what it has, and hears within a second what others gave.
    """
    ground, clock = Ground(), ManualClock()
    (one, first), (two, second) = two_nodes(ground, clock)
    assert (joined(one, clock, 5), joined(two, clock, 5)) == (3, 3)
    await first.settle()
    await second.settle()
    assert ground.left == -3
    clock.advance(20_000)
    assert (joined(one, clock, 5), joined(two, clock, 5)) == (2, 0)
    clock.advance(20_000)
    assert joined(two, clock, 5) == 1


async def test_nothing_given_is_nothing_told():
    """An identity that came once is told of once."""
    ground, clock = Ground(), ManualClock()
    (one, first), _ = two_nodes(ground, clock)
    assert joined(one, clock, 1) == 1
    await first.settle()
    await first.settle()
    assert ground.left == 2


async def test_what_was_given_without_redis_is_counted_here_alone():
    """Nobody who keeps to his rate is turned away."""
    ground, clock = Ground(), ManualClock()
    (one, first), _ = two_nodes(ground, clock)
    ground.is_away = True
    assert joined(one, clock, 2) == 2
    await first.settle()
    ground.is_away = False
    await first.settle()
    assert (ground.left, joined(one, clock, 5)) == (3, 1)


async def test_those_who_are_told_of_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """A million invented addresses in one second do not fill the memory."""
    monkeypatch.setattr("handlers.sessions.rate_limits.KEPT_MAX", 2)
    ground, clock = Ground(), ManualClock()
    shared_by_all = Shared(cast("Quotas", ground), clock)
    for number in range(10):
        shared_by_all.note(SLOW, f"from:{number % 5}", Bucket(1, 1))
    assert len(shared_by_all._given) == 2
    await shared_by_all.settle()
    assert ground.left == -1


async def test_all_nodes_are_told_again_and_again(monkeypatch: pytest.MonkeyPatch):
    """The loop that is supervised needs nobody; without limits it ends."""
    monkeypatch.setattr("handlers.sessions.rate_limits.SETTLE_EVERY_S", 0)
    ground, clock = Ground(), ManualClock()
    (one, _), _ = two_nodes(ground, clock)
    async with Until().running(one.watch):
        await Until().true(lambda: ground.asked > 2)
    asked = ground.asked
    await shared(ground, clock, rate_limits="off").watch()
    assert ground.asked == asked


def test_what_is_left_is_left_from_now_on():
    """What had filled up since the last take was counted a second time."""
    bucket = Bucket(rate_per_s=1, burst=20)
    assert bucket.take(100.0)
    bucket.lower(105.0, -1)
    assert not bucket.take(106.5)
    assert bucket.take(107.0)
    bucket.lower(200.0, 50)
    assert drain(bucket, 200.0) == 20
