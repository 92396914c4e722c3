"""Times and delays of single trips, against hand-computed values. Handovers take 2 + 2 minutes."""

import pytest

from matching.problem import Problem, Stop
from matching.travel_times import TravelTimes, to_order_lists
from matching.trip import LOST_WEIGHT, Trip, fastest_delivery_minutes, single_order_trip
from tests.matching_problems import RULES, order, problem, rider


def times(facts: Problem) -> TravelTimes:
    return TravelTimes(facts, to_order_lists(facts.orders), 1.0)


def stops(*events: tuple[int, bool]) -> tuple[Stop, ...]:
    return tuple(Stop(row, is_pickup) for row, is_pickup in events)


def test_the_fastest_delivery_waits_for_the_goods_only():
    """Ready 15 minutes after placing, 2 to hand over, 10 to go, 2 at the door: 29 minutes."""
    facts = problem([rider(0)], [order(0, 10, placed=5.0, ready=20.0)], [(0.0, 0.0)])
    assert fastest_delivery_minutes(facts, times(facts), 0) == 29.0


def test_a_trip_at_the_first_moment_has_no_delay():
    """A trip that starts when the goods are ready is the fastest; later, each minute is a delay."""
    facts = problem([rider(0)], [order(0, 10, placed=5.0, ready=20.0)], [(0.0, 0.0)])
    trip = single_order_trip(facts, times(facts), 0)
    assert (trip.ready_at, trip.duration, trip.count) == (20.0, 16.0, 1)
    assert trip.delay(20.0) == 0.0
    assert trip.delay(27.0) == 7.0


def test_a_bundle_counts_the_delay_of_each_order():
    """Two meals to 10 and 20: the second waits four minutes for the first one's handover."""
    facts = problem([rider(0)], [order(0, 10), order(0, 20)], [(0.0, 0.0)])
    trip = Trip(facts, times(facts), stops((0, True), (1, True), (0, False), (1, False)))
    # Both pickups are one stop: 2 + 10 + 2 to the first door, 2 + 10 + 2 to the second, then 2.
    assert trip.duration == 30.0
    assert trip.delay(0.0) == 4.0
    assert trip.delay(3.0) == 4.0 + 2 * 3.0
    assert (trip.kg, trip.last_drop, trip.place, trip.places) == (2.0, 1, 0, {0})


def test_a_trip_starts_late_enough_to_wait_at_no_later_pickup():
    """The second shop is 1 minute away and ready at 50, 5 minutes after the first stop at 45."""
    facts = problem(
        [rider(0)],
        [order(0, 30, may_share=True), order(1, 31, may_share=True, ready=50.0)],
        [(0.0, 0.0), (1.0, 0.0)],
    )
    trip = Trip(facts, times(facts), stops((0, True), (1, True), (0, False), (1, False)))
    assert (trip.ready_at, trip.last_pickup) == (45.0, 5.0)


def test_a_lost_order_counts_little_per_further_minute():
    """Beyond `lost_after` each minute of delay has the weight LOST_WEIGHT."""
    facts = problem([rider(0)], [order(0, 10)], [(0.0, 0.0)], rules=RULES._replace(lost_after=20.0))
    trip = single_order_trip(facts, times(facts), 0)
    # At the door 14 minutes after the start: on time for starts until 6.
    assert trip.latest_start_on_time == 6.0
    assert trip.delay(6.0) == 6.0
    assert trip.delay(16.0) == pytest.approx(6.0 + 10 * LOST_WEIGHT)


def test_a_trip_under_way_may_begin_with_a_drop_off():
    """A trip that begins with a drop-off has no place to start from."""
    facts = problem([rider(0)], [order(0, 10)], [(0.0, 0.0)])
    trip = Trip(facts, times(facts), stops((0, False)))
    assert (trip.place, trip.places, trip.drops) == (-1, set(), [0])
