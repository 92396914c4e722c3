"""The rider score, against hand-computed values."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matching.score import ScoreParts, rank, score, score_inputs


@dataclass(frozen=True)
class StubCandidate:
    distance_km: float
    completion: float | None = None
    rating: float | None = None
    active: int = 0
    recent_offers: int = 0
    rider_id: str = "rdr"


@pytest.mark.parametrize(
    ("rider", "parts"),
    [
        # At the door, perfect: all points.
        (StubCandidate(0, 100, 5), ScoreParts(40, 25, 25, 0)),
        # Without history: 95 % and 4.5 stars.
        (StubCandidate(0), ScoreParts(40, 23.75, 22.5, 0)),
        # 1.5 km cost 12, two thirds of 25, three fifths of 25.
        (StubCandidate(1.5, 80, 3), ScoreParts(28, 20, 15, 0)),
        # Distance gives no points from 5 km on, and never negative ones.
        (StubCandidate(5, 100, 5), ScoreParts(0, 25, 25, 0)),
        (StubCandidate(7, 100, 5), ScoreParts(0, 25, 25, 0)),
        # Deliveries cost 5 each, two at most.
        (StubCandidate(2, 90, 4, 1), ScoreParts(24, 22.5, 20, -5)),
        (StubCandidate(2, 90, 4, 2), ScoreParts(24, 22.5, 20, -10)),
        (StubCandidate(2, 90, 4, 9), ScoreParts(24, 22.5, 20, -10)),
        # The lowest score.
        (StubCandidate(9, 0, 0, 3), ScoreParts(0, 0, 0, -10)),
        # Values beyond their scale count as its end.
        (StubCandidate(0, 130, 9), ScoreParts(40, 25, 25, 0)),
    ],
)
def test_the_parts_of_a_score(rider: StubCandidate, parts: ScoreParts):
    """Each part is what the business rule says, and the score is their sum."""
    [ranked] = rank([rider])
    assert ranked.parts == pytest.approx(parts)
    assert ranked.score == pytest.approx(sum(parts))
    assert score(score_inputs([rider])) == pytest.approx([sum(parts)])


def test_the_best_come_first_and_ties_go_to_the_fewest_offers():
    """Higher scores come first; equal ones by recent offers, then by id."""
    riders = [
        StubCandidate(1, 90, 4, recent_offers=2, rider_id="often"),
        StubCandidate(1, 90, 4, recent_offers=0, rider_id="b"),
        StubCandidate(3, 90, 4, recent_offers=0, rider_id="far"),
        StubCandidate(1, 90, 4, recent_offers=0, rider_id="a"),
        StubCandidate(1.0001, 90, 4, recent_offers=1, rider_id="a metre further"),
    ]
    order = [riders[each.row].rider_id for each in rank(riders)]
    assert order == ["a", "b", "a metre further", "often", "far"]


def test_no_candidates_give_an_empty_ranking():
    """Without candidates the ranking and the scores are empty, without an error."""
    assert rank([]) == []
    assert score(score_inputs([])).shape == (0,)


riders = st.builds(
    StubCandidate,
    st.floats(0, 50),
    st.none() | st.floats(0, 100),
    st.none() | st.floats(0, 5),
    st.integers(0, 5),
    st.integers(0, 9),
    st.text(min_size=1, max_size=3),
)


@given(st.lists(riders, max_size=20))
def test_a_ranking_has_every_rider_once_best_first(candidates: list[StubCandidate]):
    """Each candidate appears once, scores fall, and both computations of a score agree."""
    ranked = rank(candidates)
    scores = [each.score for each in ranked]
    assert sorted(each.row for each in ranked) == list(range(len(candidates)))
    assert scores == sorted(scores, reverse=True)
    columns = score(score_inputs(candidates))
    assert np.allclose(columns[[each.row for each in ranked]], np.array(scores), atol=0.025)
