"""How long goods take: the house's word, the vendor's day, his hour, as far as they are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matching.prep_times import (
    HOUSE_MINUTES,
    MEMORY_ORDERS,
    OBSERVED_MAX,
    OBSERVED_MIN,
    Tally,
    estimate,
    observed,
)


def times(orders: int, minutes: float) -> Tally:
    """So many orders of so many minutes each."""
    return Tally(orders * minutes, orders)


def test_a_vendor_of_whom_nothing_is_known_is_as_the_house():
    """Neither his day nor his hour has anything to say."""
    assert estimate(Tally(), Tally()) == HOUSE_MINUTES


def test_one_bad_order_does_not_make_a_slow_vendor():
    """A first order of 80 minutes moves the estimate by less than half of the way."""
    assert HOUSE_MINUTES < estimate(times(1, 80), times(1, 80)) < (HOUSE_MINUTES + 80) / 2


def test_the_hour_counts_where_there_is_enough_evidence():
    """Twenty orders at noon speak for noon; at night the whole day does."""
    day = times(50, 15)
    noon, night = estimate(day, times(20, 35)), estimate(day, Tally())
    assert noon == pytest.approx(35, abs=4)
    assert night == pytest.approx(15, abs=1)


def test_what_cannot_be_is_cut():
    """Ready at once is nobody's cooking, and ready after five hours is somebody's forgetting."""
    assert (observed(0), observed(300), observed(12)) == (OBSERVED_MIN, OBSERVED_MAX, 12)


@given(
    st.lists(st.floats(-1e6, 1e6), max_size=60),
    st.lists(st.floats(-1e6, 1e6), max_size=60),
)
def test_an_estimate_stays_within_what_is_learned(day: list[float], hour: list[float]):
    """Whatever vendors report, the estimate is a time that goods may take."""
    tallies = [Tally(sum(map(observed, each)), len(each)) for each in (day, hour)]
    assert OBSERVED_MIN <= estimate(*tallies) <= OBSERVED_MAX


def test_the_memory_is_bounded():
    """Fifty orders are kept: thirty new ones then speak louder than all of the past."""
    assert estimate(times(int(MEMORY_ORDERS), 40), Tally()) == pytest.approx(40, abs=2)
