"""The chance that a rider accepts an offer."""

import pytest

from matching.acceptance import CHANCE_MAX, CHANCE_MIN, acceptance_chance


def test_a_rider_without_answers_is_expected_to_accept():
    """Without answers the chance is that of the prior, 9.5 of 10."""
    assert acceptance_chance(0, 0) == pytest.approx(0.95)


def test_many_answers_outweigh_the_prior():
    """After a hundred answers, half of them acceptances, the chance is near one half."""
    assert acceptance_chance(50, 100) == pytest.approx((50 + 9.5) / 110)


@pytest.mark.parametrize(("accepted", "bound"), [(500, CHANCE_MAX), (0, CHANCE_MIN)])
def test_the_chance_is_bounded(accepted: float, bound: float):
    """500 acceptances or 500 declines in a row give the upper or the lower bound."""
    assert acceptance_chance(accepted, 500) == bound
