"""How long goods take: the house's word, the vendor's day, his hour, as far as they are known."""

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
    """So many orders of so many minutes each."""
    return FadedSum(orders * minutes, orders)


def test_a_vendor_of_whom_nothing_is_known_is_as_the_house():
    """Neither his day nor his hour has anything to say."""
    assert estimate_prep_minutes(FadedSum(), FadedSum()) == PRIOR_MINUTES


def test_one_bad_order_does_not_make_a_slow_vendor():
    """A first order of 80 minutes moves the estimate by less than half of the way."""
    assert (
        PRIOR_MINUTES
        < estimate_prep_minutes(faded_sum(1, 80), faded_sum(1, 80))
        < (PRIOR_MINUTES + 80) / 2
    )


def test_the_hour_counts_where_there_is_enough_evidence():
    """Twenty orders at noon speak for noon; at night the whole day does."""
    day = faded_sum(50, 15)
    noon, night = (
        estimate_prep_minutes(day, faded_sum(20, 35)),
        estimate_prep_minutes(day, FadedSum()),
    )
    assert noon == pytest.approx(35, abs=4)
    assert night == pytest.approx(15, abs=1)


def test_what_cannot_be_is_cut():
    """Ready at once is nobody's cooking, and ready after five hours is somebody's forgetting."""
    assert (clamp_observation(0), clamp_observation(300), clamp_observation(12)) == (
        OBSERVED_MINUTES_MIN,
        OBSERVED_MINUTES_MAX,
        12,
    )


@given(
    st.lists(st.floats(-1e6, 1e6), max_size=60),
    st.lists(st.floats(-1e6, 1e6), max_size=60),
)
def test_an_estimate_stays_within_what_is_learned(day: list[float], hour: list[float]):
    """Whatever vendors report, the estimate is a time that goods may take."""
    tallies = [FadedSum(sum(map(clamp_observation, each)), len(each)) for each in (day, hour)]
    assert OBSERVED_MINUTES_MIN <= estimate_prep_minutes(*tallies) <= OBSERVED_MINUTES_MAX


def test_the_memory_is_bounded():
    """Fifty orders are kept: thirty new ones then speak louder than all of the past."""
    assert estimate_prep_minutes(faded_sum(int(MEMORY_ORDERS), 40), FadedSum()) == pytest.approx(
        40, abs=2
    )
