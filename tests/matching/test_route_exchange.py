"""Exchange of whole routes between riders."""

from matching.cost import Costs, Weights
from matching.problem import Problem
from matching.route_exchange import exchange_routes
from matching.schedule import Schedule
from tests.matching_problems import committed_rider, order, problem, rider

EVERY_RIDER = {0: [0, 1], 1: [0, 1]}


def schedule_of(facts: Problem, rider_by_order: dict[int, int]) -> Schedule:
    """A schedule in which each order is inserted for the given rider."""
    schedule = Schedule(facts, Costs(facts, Weights()))
    for row, rider_row in rider_by_order.items():
        insertion = schedule.best_insertion(rider_row, row)
        assert insertion is not None
        schedule.insert(row, insertion)
    return schedule


def two_shops(kg_limit: float = 100.0) -> Problem:
    """Riders at 0 and 50, with a shop beside each; the second shop's order weighs 2 kg."""
    return problem(
        [rider(0), rider(50, kg=kg_limit)],
        [order(0, 10), order(1, 40, kg=2.0)],
        [(0.0, 0.0), (50.0, 0.0)],
    )


def test_crossed_routes_are_exchanged():
    """Riders with the orders of each other's shop exchange their routes."""
    schedule = schedule_of(two_shops(), {0: 1, 1: 0})
    exchange_routes(schedule, EVERY_RIDER)
    assert schedule.rider_of == {0: 0, 1: 1}


def test_an_idle_rider_takes_over_a_route():
    """With two lists and three riders the rider far from both shops ends up without a route."""
    facts = problem(
        [rider(0), rider(500), rider(50)],
        [order(0, 10), order(1, 40)],
        [(0.0, 0.0), (50.0, 0.0)],
    )
    schedule = schedule_of(facts, {0: 0, 1: 1})
    exchange_routes(schedule, {0: [0, 1, 2], 1: [0, 1, 2]})
    assert schedule.rider_of == {0: 0, 1: 2}
    assert schedule.trips[1] == []


def test_a_rider_who_cannot_carry_a_route_does_not_get_it():
    """The crossed routes stay where the second rider cannot carry the second shop's order."""
    schedule = schedule_of(two_shops(kg_limit=1.5), {0: 1, 1: 0})
    exchange_routes(schedule, EVERY_RIDER)
    assert schedule.rider_of == {0: 1, 1: 0}


def test_a_rider_who_is_not_near_every_order_does_not_get_the_route():
    """The crossed routes stay where neither rider is a candidate for the other's order."""
    schedule = schedule_of(two_shops(), {0: 1, 1: 0})
    exchange_routes(schedule, {0: [1], 1: [0]})
    assert schedule.rider_of == {0: 1, 1: 0}


def test_routes_under_way_are_not_exchanged():
    """A rider under way keeps its route, however near another rider is."""
    facts = problem(
        [rider(50, free_at=60.0), rider(0), rider(40)],
        [order(0, 10), order(0, 20), order(1, 45)],
        [(0.0, 0.0), (50.0, 0.0)],
        committed=(committed_rider(0, [0], 50.0),),
    )
    schedule = schedule_of(facts, {1: 1, 2: 2})
    exchange_routes(schedule, {0: [0, 1, 2], 1: [0, 1, 2], 2: [0, 1, 2]})
    assert schedule.rider_of[0] == 0
