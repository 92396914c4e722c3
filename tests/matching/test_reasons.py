"""Why this rider and not another, in the same terms as the plan."""

import pytest

from matching.reasons import PlanExplainer
from matching.solve import solve
from tests.matching_problems import committed_rider, order, problem, rider


def test_the_chosen_one_is_the_cheapest_and_costs_what_the_plan_says():
    """One order, three riders: the plan's terms are those of the first alternative."""
    asked = problem([rider(9), rider(2), rider(5)], [order(0, 3)], [(0, 0)])
    [task] = solve(asked, "batch").trips
    first, *others = PlanExplainer(asked).alternatives(0, 8)

    assert first.rider == task.rider == 1
    assert first.terms == pytest.approx(dict(task.terms))
    assert [each.rider for each in others] == [2, 0]
    assert [each.cost for each in others] == sorted(each.cost for each in others)


def test_each_bar_has_its_reason():
    """Who must not carry it stands behind those who may, with the rule that bars him."""
    riders = [
        rider(1), rider(2, cash=5.0), rider(3, kg=0.5), rider(4, until=3.0), rider(5), rider(6),
    ]  # fmt: skip
    orders = [order(0, 3, cash=10.0), order(0, 4)]
    asked = problem(
        riders, orders, [(0, 0)], blocked={0: [0]}, committed=[committed_rider(5, [1], 2.0)]
    )
    found = PlanExplainer(asked).alternatives(0, 8)

    assert [each.rider for each in found if each.excluded is None] == [4]
    assert {each.rider: each.excluded for each in found if each.excluded} == {
        0: "blocked", 1: "cash limit", 2: "weight", 3: "shift ends", 5: "under way",
    }  # fmt: skip


def test_only_those_who_could_be_there_first_are_named():
    """A city has more riders than anybody wants to read about."""
    asked = problem([rider(at) for at in range(9, 0, -1)], [order(0, 3)], [(0, 0)])
    assert [each.rider for each in PlanExplainer(asked).alternatives(0, 2)] == [8, 7]
