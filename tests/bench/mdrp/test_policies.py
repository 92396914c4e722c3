"""The policies that a replay can be decided by."""

import numpy as np
import pytest

from bench.mdrp.policies import POLICIES
from matching.batch import solve_batch
from tests.matching_problems import order, problem, rider

AT = [(0.0, 0.0)]
every_policy = pytest.mark.parametrize("policy", sorted(POLICIES))


def test_the_products_policy_is_the_batch():
    """`batch` is the solver that the server uses; the two others are greedy."""
    assert POLICIES["batch"] is solve_batch
    assert sorted(POLICIES) == ["batch", "nearest", "score"]


@every_policy
def test_empty_problems_have_plans(policy: str):
    """Without riders every order is unassigned; without orders there are no trips."""
    assert list(POLICIES[policy](problem([], [order(0, 10)], AT)).unassigned) == [0]
    assert not POLICIES[policy](problem([rider(0)], [], AT)).trips


@every_policy
def test_the_same_problem_gives_the_same_plan(policy: str):
    """Two decisions of one problem are equal."""
    rng = np.random.default_rng(2)
    facts = problem(
        [rider(*rng.integers(0, 60, 2)) for _ in range(12)],
        [order(row % 5, *rng.integers(0, 60, 2)) for row in range(20)],
        rng.integers(0, 60, (5, 2)).tolist(),
    )
    assert POLICIES[policy](facts) == POLICIES[policy](facts)
