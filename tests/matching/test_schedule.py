"""Insertions into and removals from the riders' trips."""

import pytest

from matching.cost import Costs, Weights
from matching.problem import Problem, Stop
from matching.schedule import Schedule
from tests.matching_problems import RULES, committed_rider, order, problem, rider

AT = [(0.0, 0.0)]


def schedule_of(facts: Problem) -> Schedule:
    return Schedule(facts, Costs(facts, Weights()))


def insert(schedule: Schedule, rider_row: int, order_row: int) -> bool:
    """Insert an order where it is cheapest for a rider; whether that made a new trip."""
    insertion = schedule.best_insertion(rider_row, order_row)
    assert insertion is not None
    schedule.insert(order_row, insertion)
    return insertion.is_new_trip


def test_the_cost_of_an_insertion_is_the_growth_of_the_riders_cost():
    """A new trip, and one more order on it, cost what the rider's trips cost more afterwards."""
    schedule = schedule_of(problem([rider(5)], [order(0, 30), order(0, 31)], AT))
    for row, is_new_trip in ((0, True), (1, False)):
        before, insertion = schedule.cost_of(0), schedule.best_insertion(0, row)
        assert insertion is not None
        schedule.insert(row, insertion)
        assert insertion.cost == pytest.approx(schedule.cost_of(0) - before)
        assert insertion.is_new_trip is is_new_trip
        assert schedule.rider_of[row] == 0


def test_trips_are_inserted_in_the_cheapest_sequence():
    """An order that is ready first is inserted before the trip of one that is ready later."""
    facts = problem(
        [rider(0, capacity=1)], [order(0, 10, ready=60.0), order(0, -10, ready=0.0)], AT
    )
    schedule = schedule_of(facts)
    insert(schedule, 0, 0)
    insert(schedule, 0, 1)
    assert [trip.drops for trip in schedule.trips[0]] == [[1], [0]]


def test_an_order_that_cannot_be_in_time_has_no_insertion():
    """A rider whose shift ends before the goods are ready has no insertion for the order."""
    facts = problem([rider(0, until=10.0)], [order(0, 10, ready=60.0)], AT)
    assert schedule_of(facts).best_insertion(0, 0) is None


def test_a_removed_order_can_be_put_back():
    """`remove` returns the trips before; setting them again gives the same cost."""
    schedule = schedule_of(problem([rider(5)], [order(0, 30), order(0, 31)], AT))
    insert(schedule, 0, 0)
    alone = schedule.cost_of(0)
    insert(schedule, 0, 1)
    both = schedule.cost_of(0)
    before = schedule.remove(1)
    assert schedule.cost_of(0) == pytest.approx(alone)
    assert before is not None
    schedule.set_trips(0, before)
    assert schedule.cost_of(0) == pytest.approx(both)


def test_the_only_order_of_a_rider_under_way_stays():
    """`remove` changes nothing where the rider under way would have no order left."""
    facts = problem(
        [rider(0, free_at=30.0)], [order(0, 20)], AT, committed=(committed_rider(0, [0], 25.0),)
    )
    schedule = schedule_of(facts)
    assert schedule.remove(0) is None
    assert schedule.rider_of == {0: 0}
    assert schedule.is_under_way(0)


def test_the_first_stop_of_a_rider_under_way_stays_first():
    """An order of the same shop is added behind the first stop of the trip under way."""
    facts = problem(
        [rider(0, free_at=30.0)],
        [order(0, 20), order(0, 21)],
        AT,
        committed=(committed_rider(0, [0], 25.0),),
    )
    schedule = schedule_of(facts)
    assert insert(schedule, 0, 1) is False
    [trip] = schedule.trips[0]
    assert trip.stops[0] == Stop(0, is_pickup=True)
    assert sorted(trip.drops) == [0, 1]


def test_only_accepted_orders_have_a_reassignment_threshold():
    """Moving an accepted order must gain the threshold, moving another one nothing."""
    facts = problem(
        [rider(0, free_at=30.0)],
        [order(0, 20), order(0, 21)],
        AT,
        committed=(committed_rider(0, [0], 25.0),),
        rules=RULES._replace(reassignment_threshold=7.0),
    )
    schedule = schedule_of(facts)
    insert(schedule, 0, 1)
    assert [schedule.reassignment_threshold(row) for row in (0, 1)] == [7.0, 0.0]


def test_trips_are_retimed_for_another_rider():
    """At twice the speed the same stops take less time; at the same speed nothing changes."""
    facts = problem([rider(0), rider(0, speed=2.0), rider(9)], [order(0, 30)], AT)
    schedule = schedule_of(facts)
    insert(schedule, 0, 0)
    [trip] = schedule.trips[0]
    [faster] = schedule.retime_for(1, [trip])
    assert (trip.duration, faster.duration) == (36.0, 21.0)
    assert schedule.retime_for(2, [trip]) == [trip]


@pytest.mark.parametrize("limit", [{"capacity": 1}, {"kg": 1.5}, {"cash": 1_500.0}])
def test_room_ends_at_capacity_weight_and_cash(limit: dict[str, float]):
    """A bundle of two orders fits an unlimited rider, and not one with any of the limits."""
    orders = [order(0, 30, cash=1_000.0), order(0, 31, cash=1_000.0)]
    schedule = schedule_of(problem([rider(0), rider(0, **limit)], orders, AT))
    insert(schedule, 0, 0)
    insert(schedule, 0, 1)
    trips = schedule.trips[0]
    assert (schedule.has_room(0, trips), schedule.has_room(1, trips)) == (True, False)
