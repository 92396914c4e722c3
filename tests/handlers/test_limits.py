"""How token buckets fill and empty."""

import pytest

from dispatch.settings import Settings
from handlers.limits import HTTP_IDENTITIES_MAX, Bucket, Limits


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


def test_http_identities_do_not_share():
    """One greedy caller leaves the others their requests; a minute's worth may come at once."""
    limits = Limits(Settings(http_requests_per_min=60))
    assert drain(limits.http("user:usr_1"), 1.0) == 60
    assert not limits.http("user:usr_1").take(1.9)
    assert limits.http("user:usr_1").take(2.0)
    assert limits.http("user:usr_2").take(2.0)


def test_http_buckets_are_bounded_and_the_active_one_stays():
    """A million invented addresses neither fill the memory nor reset the one who asks."""
    limits = Limits(Settings(http_requests_per_min=60))
    assert drain(limits.http("from:1"), 1.0) == 60
    for number in range(HTTP_IDENTITIES_MAX + 10):
        limits.http(f"from:x{number}").take(1.0)
        limits.http("from:1")
    assert not limits.http("from:1").take(1.0)
    assert limits.http("from:x0").remaining == 60


def test_benches_may_switch_limits_off():
    """`RATE_LIMITS=off` lets everything through, everywhere."""
    limits = Limits(Settings(rate_limits="off", commands_per_s=1, http_requests_per_min=1))
    buckets = [limits.commands(), limits.fixes(), limits.patience(), limits.http("user:usr_1")]
    assert all(bucket.take(1.0) for bucket in buckets for _ in range(5000))
