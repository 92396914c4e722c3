"""The one door: a problem and a policy in, a plan out; the same in always gives the same out."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bench.mdrp.greedy_policies import solve_nearest, solve_score
from matching.batch import solve_batch
from matching.problem import Plan, Problem

POLICIES: Mapping[str, Callable[[Problem], Plan]] = MappingProxyType(
    {"nearest": solve_nearest, "score": solve_score, "batch": solve_batch}
)


def solve(problem: Problem, policy: str) -> Plan:
    """Who carries what, by the policy of this name.

    Errors: KeyError where there is no such policy.
    """
    return POLICIES[policy](problem)
