"""Cost terms of trips, against hand-computed values. Handovers take 2 + 2 minutes."""

import pytest

from matching.cost import INFEASIBLE, Costs, Weights
from matching.problem import Places, Problem
from matching.trip import single_order_trip
from tests.matching_problems import committed_rider, order, problem, rider

W = Weights()


def costs_of(facts: Problem) -> Costs:
    return Costs(facts, W)


def test_the_terms_of_a_trip():
    """Ready at 0, 5 minutes to the shop and 10 to the door: 7 minutes of delay, 21 of riding."""
    facts = problem(
        [rider(5, free_at=3.0, acceptance_chance=0.75)], [order(0, 10)], [(0.0, 0.0)], now=1.0
    )
    costs = costs_of(facts)
    trip = single_order_trip(facts, costs.travel_times[0], 0)
    starts_at = costs.start_after(trip, free_at=3.0, travel=5.0)
    assert starts_at == 10.0
    assert costs.terms(0, trip, starts_at, free_at=3.0, travel=5.0) == pytest.approx(
        {
            "delay": 10.0,
            # 5 to the shop, 2 + 10 + 2 + 2 for the trip.
            "rider": W.rider_minute * 21,
            "later": W.later_minute * 2,
            "decline": W.decline_minutes * 0.25,
        }
    )


def test_the_cost_of_trips_is_the_sum_of_their_terms_and_the_end():
    """`cost_of_trips` equals the terms of two trips and the end cost, also with a lost order."""
    facts = problem(
        [rider(5, free_at=3.0, acceptance_chance=0.75, until=60.0)],
        [order(0, 10), order(1, 20, placed=-115.0)],
        [(0.0, 0.0), (12.0, 0.0)],
    )
    costs = costs_of(facts)
    spot, total, trips = costs.free_spot_of(0), 0.0, []
    for row in (0, 1):
        trip = single_order_trip(facts, costs.travel_times[0], row)
        travel = spot.to_places[trip.place]
        starts_at = costs.start_after(trip, spot.free_at, travel)
        total += sum(costs.terms(0, trip, starts_at, spot.free_at, travel).values())
        spot = costs.free_spot_after(0, trip, starts_at)
        trips.append(trip)
    total += costs.end_cost(0, spot)
    assert costs.cost_of_trips(0, costs.free_spot_of(0), trips) == pytest.approx(total)


def test_trips_with_a_pickup_after_the_shift_are_infeasible():
    """A pickup at minute 7 is too late for a shift that ends at 6, and possible for one until 7."""
    for until, is_feasible in ((6.0, False), (7.0, True)):
        facts = problem([rider(5, until=until)], [order(0, 10)], [(0.0, 0.0)])
        costs = costs_of(facts)
        trip = single_order_trip(facts, costs.travel_times[0], 0)
        cost = costs.cost_of_trips(0, costs.free_spot_of(0), [trip])
        assert (cost < INFEASIBLE) == is_feasible


def test_ending_near_the_demand_is_cheaper():
    """Of two drop-offs the one near the busy place has a negative demand distance and end cost."""
    facts = problem([rider(0)], [order(0, 1), order(0, 99)], [(0.0, 0.0), (100.0, 0.0)])
    facts = facts._replace(
        places=Places(facts.places.x, facts.places.y, facts.places.demand * [9, 1])
    )
    costs = costs_of(facts)
    near, far = costs.demand_distance[0]
    assert near < 0 < far
    assert near + far == pytest.approx(0)
    spots = [
        costs.free_spot_after(0, single_order_trip(facts, costs.travel_times[0], row), 10.0)
        for row in (0, 1)
    ]
    assert costs.end_cost(0, spots[0]) < 0 < costs.end_cost(0, spots[1])


def test_the_demand_distance_fades_at_the_end_of_a_shift():
    """Half of the fade time before the end the demand distance counts half; after it not at all."""
    facts = problem(
        [rider(0, until=100.0)], [order(0, 1), order(0, 99)], [(0.0, 0.0), (100.0, 0.0)]
    )
    costs = costs_of(facts)
    spot = costs.free_spot_of(0)._replace(demand_distance=8.0)
    half = 100.0 - W.demand_distance_fade_minutes / 2
    full_cost = W.demand_distance_minute * 8.0
    assert costs.end_cost(0, spot._replace(free_at=0.0)) == pytest.approx(full_cost)
    assert costs.end_cost(0, spot._replace(free_at=half)) == pytest.approx(full_cost / 2)
    # Minutes ridden after the shift were counted by the trip and are given back.
    assert costs.end_cost(0, spot._replace(free_at=110.0)) == pytest.approx(-10 * W.rider_minute)


def test_without_demand_all_places_count_the_same():
    """With no recent orders anywhere the demand is spread evenly, not undefined."""
    facts = problem([rider(0)], [order(0, 1)], [(0.0, 0.0), (100.0, 0.0)])
    none = facts._replace(places=Places(facts.places.x, facts.places.y, facts.places.demand * 0))
    assert costs_of(none).demand_distance_of_rider(0) == pytest.approx(
        costs_of(facts).demand_distance_of_rider(0)
    )


def test_the_trip_under_way_starts_when_its_rider_arrives():
    """A rider at its shop at minute 25 hands over two minutes later."""
    facts = problem(
        [rider(0, free_at=40.0)],
        [order(0, 10)],
        [(0.0, 0.0)],
        committed=(committed_rider(0, [0], 25.0),),
    )
    costs = costs_of(facts)
    trip = single_order_trip(facts, costs.travel_times[0], 0)
    assert costs.first_start(0, trip) == 27.0
