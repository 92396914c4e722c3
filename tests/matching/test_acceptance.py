"""How likely a rider says yes."""

import pytest

from matching.acceptance import CHANCE_MAX, CHANCE_MIN, AnswerHistory


def test_nobody_knows_a_new_rider():
    """Before his first answer he is believed willing, and never certain."""
    assert AnswerHistory().acceptance_chance(1) == pytest.approx(0.95)


def test_a_rider_is_what_he_says():
    """After many answers his own word counts, and nobody else's."""
    answers = AnswerHistory()
    for turn in range(200):
        answers.record_answer(1, accepted=turn % 2 == 0)
    assert answers.acceptance_chance(1) == pytest.approx(0.58, abs=0.03)
    assert answers.acceptance_chance(2) == pytest.approx(0.95)


@pytest.mark.parametrize(("accepted", "end"), [(True, CHANCE_MAX), (False, CHANCE_MIN)])
def test_nobody_is_written_off_or_taken_for_granted(accepted, end):
    """However often he says the same, the chance stays within bounds."""
    answers = AnswerHistory()
    for _ in range(500):
        answers.record_answer(1, accepted=accepted)
    assert answers.acceptance_chance(1) == end


def test_old_answers_fade():
    """A rider who changed his mind is believed before he has undone all of his past."""
    answers = AnswerHistory()
    for turn in range(300):
        answers.record_answer(1, accepted=turn >= 200)
    assert answers.acceptance_chance(1) > 0.8
