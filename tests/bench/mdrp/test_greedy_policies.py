"""The greedy policies `nearest` and `score`, one order after the other."""

from collections.abc import Callable

import pytest

from bench.mdrp.greedy_policies import RADIUS_MAX_KM, solve_nearest, solve_score
from matching.problem import Plan, Problem
from tests.matching_problems import committed_rider, order, problem, rider, rider_by_order

AT = [(0.0, 0.0)]
Solve = Callable[[Problem], Plan]
both = pytest.mark.parametrize("solve", [solve_nearest, solve_score])


def test_the_oldest_order_gets_the_nearest_rider():
    """The old order takes the rider beside the new one, who then gets the far rider."""
    facts = problem(
        [rider(0), rider(12)],
        [order(0, 5, 20, placed=-1.0), order(1, 5, -20)],
        [(5, 0), (-12, 0)],
    )
    assert rider_by_order(solve_nearest(facts)) == {0: 0, 1: 1}


def test_the_score_prefers_a_better_rider_who_is_a_little_farther():
    """A better-rated rider a metre farther away gets the order, with the parts of its score."""
    facts = problem([rider(1, rating=2.0), rider(2, rating=5.0)], [order(0, 10)], AT)
    plan = solve_score(facts)
    assert rider_by_order(plan) == {0: 1}
    assert set(plan.trips[0].terms) == {"distance", "completion", "rating", "load"}
    assert rider_by_order(solve_nearest(facts)) == {0: 0}


def test_the_score_has_a_largest_radius():
    """A rider beyond RADIUS_MAX_KM gets no order by score, and gets it as the nearest."""
    far = problem([rider(RADIUS_MAX_KM * 1000 + 1, until=1e6)], [order(0, 10)], AT)
    assert solve_score(far).unassigned == (0,)
    assert rider_by_order(solve_nearest(far)) == {0: 0}


@both
@pytest.mark.parametrize(
    ("near", "wants"),
    [
        ({"vehicle": 2}, {"vehicles": 1}),
        ({"zone": 1}, {"zone": 2}),
        ({"kg": 5.0}, {"kg": 6.0}),
        ({"cash": 4_999.0}, {"cash": 5_000.0}),
        ({"capacity": 0}, {}),
        ({"until": 1.0}, {}),
    ],
)
def test_an_excluded_rider_gets_no_order(
    solve: Solve, near: dict[str, float], wants: dict[str, float]
):
    """Vehicle, zone, weight, cash, capacity, end of shift: the far rider gets the order instead."""
    facts = problem([rider(0, **near), rider(30)], [order(0, 10, **wants)], AT)
    assert rider_by_order(solve(facts)) == {0: 1}


@both
def test_a_blocked_pair_is_not_assigned(solve: Solve):
    """A rider who is blocked for an order does not get it, even if there is no other rider."""
    plan = solve(problem([rider(0)], [order(0, 10)], AT, blocked={0: {0}}))
    assert (list(plan.trips), list(plan.unassigned)) == ([], [0])


@both
def test_busy_riders_get_no_further_order(solve: Solve):
    """A rider under way keeps its order and gets no other; one who is free later gets none."""
    facts = problem(
        [rider(0), rider(0, free_at=5.0)],
        [order(0, 10), order(0, 11)],
        AT,
        committed=(committed_rider(0, [0], 3.0),),
    )
    plan = solve(facts)
    assert rider_by_order(plan) == {0: 0}
    assert plan.unassigned == (1,)
