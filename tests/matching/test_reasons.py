"""Alternatives to a plan's choice, in the same cost terms as the plan."""

import pytest

from matching.batch import solve_batch
from matching.reasons import PlanExplainer
from tests.matching_problems import committed_rider, order, problem, rider


def test_the_chosen_rider_is_the_cheapest_alternative_with_the_plans_terms():
    """One order, three riders: the plan's terms are those of the first alternative."""
    facts = problem([rider(9), rider(2), rider(5)], [order(0, 3)], [(0, 0)])
    [trip] = solve_batch(facts).trips
    first, *others = PlanExplainer(facts).alternatives(0, 8)

    assert first.rider == trip.rider == 1
    assert first.terms == pytest.approx(dict(trip.terms))
    assert [each.rider for each in others] == [2, 0]
    assert [each.cost for each in others] == sorted(each.cost for each in others)


def test_excluded_riders_come_last_with_their_reason():
    """Riders who must not carry the order come behind those who may, each with its reason."""
    riders = [
        rider(1), rider(2, cash=5.0), rider(3, kg=0.5), rider(4, until=3.0), rider(5), rider(6),
    ]  # fmt: skip
    orders = [order(0, 3, cash=10.0), order(0, 4)]
    facts = problem(
        riders, orders, [(0, 0)], blocked={0: [0]}, committed=[committed_rider(5, [1], 2.0)]
    )
    found = PlanExplainer(facts).alternatives(0, 8)

    assert [each.rider for each in found if each.excluded is None] == [4]
    assert {each.rider: each.excluded for each in found if each.excluded} == {
        0: "blocked", 1: "cash limit", 2: "weight", 3: "shift ends", 5: "under way",
    }  # fmt: skip


def test_only_the_first_to_arrive_are_alternatives():
    """Of nine riders the two nearest are the two alternatives that are asked for."""
    facts = problem([rider(at) for at in range(9, 0, -1)], [order(0, 3)], [(0, 0)])
    assert [each.rider for each in PlanExplainer(facts).alternatives(0, 2)] == [8, 7]
