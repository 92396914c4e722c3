"""Backoff: delays are random, below a bound that doubles up to a maximum."""

import pytest

from concurrency.backoff import BASE_S, MAX_S, delay_s

DRAWS = 2_000


@pytest.mark.parametrize(
    ("failures", "bound_s"),
    [(1, BASE_S), (2, 2 * BASE_S), (3, 4 * BASE_S), (6, MAX_S), (10_000, MAX_S)],
)
def test_delays_fill_the_range_below_the_bound(failures: int, bound_s: float):
    """Delays lie between zero and the bound, and reach both ends: full jitter."""
    delays = [delay_s(failures) for _ in range(DRAWS)]
    assert 0 <= min(delays) < 0.05 * bound_s
    assert 0.95 * bound_s < max(delays) <= bound_s


def test_no_failure_has_no_delay():
    """A delay before the first failure is a bug."""
    with pytest.raises(AssertionError):
        delay_s(0)
