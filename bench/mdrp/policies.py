"""Policies that a replay can be decided by: the product's batch matching, and two greedy ones."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bench.mdrp.greedy_policies import solve_nearest, solve_score
from matching.batch import solve_batch
from matching.problem import Plan, Problem

POLICIES: Mapping[str, Callable[[Problem], Plan]] = MappingProxyType(
    {"nearest": solve_nearest, "score": solve_score, "batch": solve_batch}
)
