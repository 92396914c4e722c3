"""Replays of the tiny instance by every policy."""

import pytest

from bench.mdrp.instances import Instance
from bench.mdrp.policies import POLICIES
from bench.mdrp.replay import ReplayOptions, replay_day
from bench.mdrp.run_audit import score_run
from matching.batch import solve_batch
from tests.bench.mdrp.exhaustive_search import best_possible_delay


def test_batch_reaches_the_optimum_of_the_tiny_instance(tiny_instance: Instance):
    """Without knowing later orders, `batch` is as good as the best plan that knows them."""
    figures = score_run(tiny_instance, replay_day(tiny_instance, ReplayOptions(solve_batch)).trips)
    assert figures.undelivered == 0
    assert pytest.approx(best_possible_delay(tiny_instance)) == figures.E


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_keeps_the_rules(tiny_instance: Instance, policy: str):
    """Every policy's run passes the audit, and none beats the optimum."""
    replay = replay_day(tiny_instance, ReplayOptions(POLICIES[policy]))
    assert best_possible_delay(tiny_instance) <= score_run(tiny_instance, replay.trips).E


@pytest.mark.parametrize("mean_prep", [False, True])
def test_a_replay_is_repeatable(tiny_instance: Instance, mean_prep: bool):
    """The same options give the same trips and answers, with declines and mean times too."""
    options = ReplayOptions(solve_batch, decline_share=0.5, uses_mean_prep=mean_prep, seed=3)
    once, again = replay_day(tiny_instance, options), replay_day(tiny_instance, options)
    assert (once.trips, once.offered, once.declined) == (again.trips, again.offered, again.declined)
    assert once.declined > 0
    score_run(tiny_instance, once.trips)


def test_where_all_offers_are_declined_nothing_is_delivered(tiny_instance: Instance):
    """A decline blocks the pair, so that each pair is offered at most once."""
    replay = replay_day(tiny_instance, ReplayOptions(solve_batch, decline_share=1.0))
    assert replay.trips == []
    assert replay.offered == replay.declined <= 2 * len(tiny_instance.orders)
