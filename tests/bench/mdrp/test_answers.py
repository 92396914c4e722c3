"""Couriers' answers to offers, and the chance learned from them."""

import pytest

from bench.mdrp.answers import AnswerHistory, is_declined
from bench.mdrp.instances import Instance
from matching.acceptance import CHANCE_MAX, CHANCE_MIN


def test_a_rider_without_answers_is_expected_to_accept():
    """Before its first answer a rider has the prior's chance."""
    assert AnswerHistory().acceptance_chance(1) == pytest.approx(0.95)


def test_each_rider_has_its_own_history():
    """After many answers a rider's own share counts, and not for another rider."""
    answers = AnswerHistory()
    for number in range(200):
        answers.record_answer(1, accepted=number % 2 == 0)
    assert answers.acceptance_chance(1) == pytest.approx(0.58, abs=0.03)
    assert answers.acceptance_chance(2) == pytest.approx(0.95)


@pytest.mark.parametrize(("accepted", "bound"), [(True, CHANCE_MAX), (False, CHANCE_MIN)])
def test_the_chance_is_bounded(accepted: bool, bound: float):
    """500 equal answers reach the upper or the lower bound."""
    answers = AnswerHistory()
    for _ in range(500):
        answers.record_answer(1, accepted=accepted)
    assert answers.acceptance_chance(1) == bound


def test_old_answers_fade():
    """After 200 declines and 100 acceptances the chance is above 0.8."""
    answers = AnswerHistory()
    for number in range(300):
        answers.record_answer(1, accepted=number >= 200)
    assert answers.acceptance_chance(1) > 0.8


def test_declines_are_drawn_by_share_and_repeatable(tiny_instance: Instance):
    """At a share of a half some of the ten pairs are declined, the same ones for the same seed."""
    pairs = [(courier, order) for courier in range(2) for order in range(5)]

    def declined(share: float, seed: int) -> list[bool]:
        return [is_declined(tiny_instance, share, seed, *pair) for pair in pairs]

    assert declined(0.5, 3) == declined(0.5, 3)
    assert declined(0.5, 3) != declined(0.5, 4)
    assert (any(declined(0.0, 3)), all(declined(1.0, 3))) == (False, True)
    assert 0 < sum(declined(0.5, 3)) < len(pairs)
