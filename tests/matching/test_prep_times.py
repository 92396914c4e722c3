"""Preparation times: prior, a vendor's day and a vendor's hour, weighted by their evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matching.prep_times import (
    MEMORY_ORDERS,
    OBSERVED_MINUTES_MAX,
    OBSERVED_MINUTES_MIN,
    PRIOR_MINUTES,
    FadedSum,
    clamp_observation,
    estimate_prep_minutes,
)


def faded_sum(orders: int, minutes: float) -> FadedSum:
    """The sum of so many orders of so many minutes each."""
    return FadedSum(orders * minutes, orders)


def test_a_vendor_without_orders_has_the_prior():
    """Without any order the estimate is PRIOR_MINUTES."""
    assert estimate_prep_minutes(FadedSum(), FadedSum()) == PRIOR_MINUTES


def test_one_slow_order_moves_the_estimate_by_less_than_half():
    """A first order of 80 minutes moves the estimate by less than half of the difference."""
    estimate = estimate_prep_minutes(faded_sum(1, 80), faded_sum(1, 80))
    assert PRIOR_MINUTES < estimate < (PRIOR_MINUTES + 80) / 2


def test_an_hour_with_evidence_outweighs_the_day():
    """Twenty orders at noon decide the estimate for noon; an hour without orders has the day's."""
    day = faded_sum(50, 15)
    assert estimate_prep_minutes(day, faded_sum(20, 35)) == pytest.approx(35, abs=4)
    assert estimate_prep_minutes(day, FadedSum()) == pytest.approx(15, abs=1)


def test_implausible_observations_are_clamped():
    """0 and 300 minutes count as the bounds, 12 minutes counts as it is."""
    assert (clamp_observation(0), clamp_observation(300), clamp_observation(12)) == (
        OBSERVED_MINUTES_MIN,
        OBSERVED_MINUTES_MAX,
        12,
    )


@given(
    st.lists(st.floats(-1e6, 1e6), max_size=60),
    st.lists(st.floats(-1e6, 1e6), max_size=60),
)
def test_an_estimate_stays_within_the_bounds(day: list[float], hour: list[float]):
    """Whatever vendors report, the estimate is between the bounds of an observation."""
    sums = [FadedSum(sum(map(clamp_observation, each)), len(each)) for each in (day, hour)]
    assert OBSERVED_MINUTES_MIN <= estimate_prep_minutes(*sums) <= OBSERVED_MINUTES_MAX


def test_a_full_memory_outweighs_the_prior():
    """With MEMORY_ORDERS orders of 40 minutes the estimate is within two minutes of 40."""
    day = faded_sum(int(MEMORY_ORDERS), 40)
    assert estimate_prep_minutes(day, FadedSum()) == pytest.approx(40, abs=2)
