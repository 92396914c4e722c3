"""Batch matching: all open orders and all usable riders are decided together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching.batch import solve_batch
from matching.cost import Costs, Weights
from matching.problem import CommittedRider, PlannedTrip, Problem, Stop
from matching.schedule import Schedule
from matching.trip import single_order_trip
from tests.matching_problems import (
    RULES,
    all_plans,
    committed_rider,
    order,
    plan_cost,
    problem,
    rider,
    rider_by_order,
)

AT = [(0.0, 0.0)]
points = st.tuples(st.integers(0, 30), st.integers(0, 30))


def _cheapest_cost(facts: Problem) -> float:
    """The least cost of any plan without bundles, by trying all of them."""
    costs = Costs(facts, Weights())
    riders, count = len(facts.riders.x), len(facts.orders.place)
    idle = [costs.cost_of_trips(each, costs.free_spot_of(each), ()) for each in range(riders)]
    prices = [
        sum(
            costs.cost_of_trips(
                each,
                costs.free_spot_of(each),
                [single_order_trip(facts, costs.travel_times[each], row) for row in route],
            )
            - idle[each]
            for each, route in enumerate(routes)
        )
        for routes in all_plans(riders, count)
    ]
    return min(prices)


@given(
    riders=st.lists(points, min_size=2, max_size=3),
    orders=st.lists(st.tuples(points, points, st.integers(0, 40)), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_small_plan_is_near_the_optimum(riders, orders):
    """No plan without bundles is more than a minute cheaper."""
    facts = problem(
        [rider(*at) for at in riders],
        [order(row, *end, ready=float(ready)) for row, (_, end, ready) in enumerate(orders)],
        [start for start, _, _ in orders],
    )
    assert plan_cost(solve_batch(facts)) <= _cheapest_cost(facts) + 1


def test_the_terms_add_up_to_the_cost_of_the_schedule():
    """The terms of the planned trips sum to what the schedule minimised."""
    rng = np.random.default_rng(5)
    facts = problem(
        [rider(*rng.integers(0, 40, 2), acceptance_chance=0.8) for _ in range(4)],
        [order(row % 3, *rng.integers(0, 40, 2), ready=float(row)) for row in range(9)],
        rng.integers(0, 40, (3, 2)).tolist(),
    )
    plan = solve_batch(facts)
    schedule = Schedule(facts, Costs(facts, Weights()))
    by_rider: dict[int, list[PlannedTrip]] = {row: [] for row in range(4)}
    for trip in plan.trips:
        by_rider[trip.rider].append(trip)
    idle = sum(schedule.cost_with(row, []) for row in range(4))
    for row, trips in by_rider.items():
        schedule.set_trips(row, [schedule.make_trip(row, trip.stops) for trip in trips])
    assert plan_cost(plan) == pytest.approx(sum(schedule.cost_of(row) for row in range(4)) - idle)


def test_an_older_order_leaves_a_rider_to_a_newer_one_that_needs_it_more():
    """The old order's nearest rider goes to the new order, which is beside it."""
    facts = problem(
        [rider(0), rider(12)],
        [order(0, 5, 20, placed=-1.0), order(1, 5, -20)],
        [(5, 0), (-12, 0)],
    )
    assert rider_by_order(solve_batch(facts)) == {0: 1, 1: 0}


@pytest.mark.parametrize(
    ("now", "is_firm"), [(0.0, False), (12.0, False), (13.0, True), (30.0, True)]
)
def test_a_trip_becomes_firm_when_waiting_would_delay_it(now, is_firm):
    """Ready at 20, five minutes to go, two to park: the trip is firm from 13 on, not at 12."""
    facts = problem([rider(5, free_at=now)], [order(0, 30, ready=20.0)], AT, now=now)
    [trip] = solve_batch(facts).trips
    assert (trip.is_firm, trip.starts_at) == (is_firm, max(20.0, now + 7))


def test_riders_who_often_decline_are_asked_earlier():
    """A rider who accepts half of its offers is asked at 12 to leave at 13; declines cost."""
    facts = problem(
        [rider(5, acceptance_chance=0.5, free_at=12.0)], [order(0, 30, ready=20.0)], AT, now=12.0
    )
    [trip] = solve_batch(facts).trips
    assert trip.is_firm
    assert trip.terms["decline"] == pytest.approx(0.5)


def test_of_two_equal_riders_the_likelier_to_accept_is_chosen():
    """Of two riders at the same place the one with the higher acceptance chance gets the order."""
    facts = problem([rider(5, acceptance_chance=0.5), rider(5)], [order(0, 30)], AT)
    assert rider_by_order(solve_batch(facts)) == {0: 1}


def test_a_rider_who_is_free_soon_beats_one_who_is_far():
    """The rider at the shop is free in three minutes, the other needs forty to get there."""
    facts = problem([rider(40), rider(0, free_at=3.0)], [order(0, 10)], AT)
    [trip] = solve_batch(facts).trips
    assert (trip.rider, trip.is_firm) == (1, False)


def test_meals_of_one_shop_are_bundled():
    """Two meals to neighbouring doors and one rider are one trip with both pickups first."""
    facts = problem([rider(0)], [order(0, 30), order(0, 31)], AT)
    [trip] = solve_batch(facts).trips
    assert sorted(trip.orders) == [0, 1]
    assert [stop.is_pickup for stop in trip.stops] == [True, True, False, False]


def test_meals_of_two_shops_are_not_bundled():
    """Meals of two shops are two trips, where parcels are one."""
    two = [order(0, 30), order(1, 31)]
    places = [(0.0, 0.0), (1.0, 0.0)]
    assert len(solve_batch(problem([rider(0)], two, places)).trips) == 2
    parcels = [{**each, "may_share": True} for each in two]
    [trip] = solve_batch(problem([rider(0)], parcels, places)).trips
    assert sorted(trip.orders) == [0, 1]


def test_goods_wait_in_the_shop_and_not_on_the_way():
    """The second shop is ready at 50: the trip starts at 49, so that the rider does not wait."""
    parcels = [order(0, 30, may_share=True, ready=49.0), order(1, 31, may_share=True, ready=50.0)]
    [trip] = solve_batch(problem([rider(0)], parcels, [(0.0, 0.0), (1.0, 0.0)])).trips
    assert trip.starts_at == 49.0


def test_a_parcel_joins_a_running_route():
    """A rider who delivers a parcel to 40 also gets one that is picked up at 45."""
    parcels = [order(0, 40, may_share=True), order(1, 60, may_share=True)]
    running = CommittedRider(0, (Stop(0, is_pickup=False),), 40.0)
    free = rider(40, free_at=44.0)
    facts = problem([free], parcels, [(0.0, 0.0), (45.0, 0.0)], committed=(running,))
    [trip] = solve_batch(facts).trips
    assert trip.stops == (
        Stop(0, is_pickup=False), Stop(1, is_pickup=True), Stop(1, is_pickup=False),
    )  # fmt: skip
    assert trip.is_firm


def test_orders_are_reassigned_until_the_pickup():
    """Two riders under way to one shop exchange meals where that is shorter for both."""
    free = {"free_at": 14.0}
    facts = problem(
        [rider(0, **free), rider(0, **free)],
        [order(0, 90), order(0, -90), order(0, 89), order(0, -89)],
        AT,
        committed=(committed_rider(0, [0, 1], 10.0), committed_rider(1, [2, 3], 10.0)),
    )
    assert solve_batch(facts).unassigned == ()
    sides = rider_by_order(solve_batch(facts))
    assert sides[0] == sides[2] != sides[1] == sides[3]


def test_an_order_is_not_reassigned_for_less_than_the_threshold():
    """The same bundles stay as they are where an exchange must gain more than it can."""
    facts = problem(
        [rider(10, free_at=40.0), rider(-10, free_at=40.0)],
        [order(0, 20), order(0, -20), order(0, 21), order(0, -21)],
        AT,
        committed=(committed_rider(0, [0, 1], 10.0), committed_rider(1, [2, 3], 10.0)),
        rules=RULES._replace(reassignment_threshold=1e3),
    )
    assert rider_by_order(solve_batch(facts)) == {0: 0, 1: 0, 2: 1, 3: 1}


def test_a_rider_under_way_keeps_its_only_order():
    """A nearer rider appears, but the one under way is not left without an order to pick up."""
    facts = problem(
        [rider(0, free_at=30.0), rider(0)],
        [order(0, 20)],
        AT,
        committed=(committed_rider(0, [0], 25.0),),
    )
    [trip] = solve_batch(facts).trips
    assert (trip.rider, trip.starts_at, trip.is_firm) == (0, 27.0, True)


def test_a_rider_under_way_keeps_an_order_that_it_has_accepted():
    """A rider under way is not left with new orders alone, which it could decline."""
    free = {"free_at": 14.0}
    facts = problem(
        [rider(0, **free), rider(0, **free), rider(0)],
        [order(0, 90), order(0, -90), order(0, 89), order(0, -89), order(0, 91)],
        AT,
        committed=(committed_rider(0, [0], 10.0), committed_rider(1, [1], 10.0)),
    )
    sides = rider_by_order(solve_batch(facts))
    assert (sides[0], sides[1]) == (0, 1)


def test_no_trip_is_moved_into_the_past():
    """Without its second meal the trip would have started at 50, before now, so it keeps it."""
    late = [order(0, 20, ready=50.0), order(0, -20, ready=60.0)]
    riders = [rider(0, free_at=90.0), rider(0, free_at=55.0)]
    committed = committed_rider(0, [0, 1], 40.0)
    facts = problem(riders, late, AT, committed=(committed,), now=55.0, blocked={0: {1}})
    [trip] = solve_batch(facts).trips
    assert (trip.rider, sorted(trip.orders), trip.starts_at) == (0, [0, 1], 60.0)


def test_picked_up_goods_stay_with_their_rider():
    """A rider who carries one parcel and goes to the pickup of a second one keeps both."""
    parcels = [order(0, 60, may_share=True), order(1, 50, may_share=True)]
    stops = (
        Stop(1, is_pickup=True), Stop(1, is_pickup=False), Stop(0, is_pickup=False),
    )  # fmt: skip
    riders = [rider(60, free_at=64.0), rider(45)]
    places = [(0.0, 0.0), (45.0, 0.0)]
    committed = (CommittedRider(0, stops, 40.0),)
    [trip] = solve_batch(problem(riders, parcels, places, committed=committed)).trips
    assert (trip.rider, sorted(trip.orders)) == (0, [0, 1])


@pytest.mark.parametrize(
    ("near", "wants"),
    [
        ({"vehicle": 2}, {"vehicles": 1}),
        ({"zone": 1}, {"zone": 2}),
        ({"kg": 5.0}, {"kg": 6.0}),
        ({"cash": 4_999.0}, {"cash": 5_000.0}),
        ({"capacity": 0}, {}),
        ({"until": 1.0}, {}),
    ],
)
def test_an_excluded_rider_gets_no_order(near, wants):
    """Vehicle, zone, weight, cash, capacity, end of shift: the far rider gets the order instead."""
    facts = problem([rider(0, **near), rider(30)], [order(0, 10, **wants)], AT)
    assert rider_by_order(solve_batch(facts)) == {0: 1}


def test_a_blocked_pair_is_not_assigned():
    """A rider who is blocked for an order does not get it, even if there is no other rider."""
    plan = solve_batch(problem([rider(0)], [order(0, 10)], AT, blocked={0: {0}}))
    assert (list(plan.trips), list(plan.unassigned)) == ([], [0])


@pytest.mark.parametrize(
    ("of_riders", "of_orders"),
    [({"capacity": 1}, {}), ({"kg": 1.5}, {}), ({"cash": 1_500.0}, {"cash": 1_000.0})],
)
def test_bundles_end_at_a_riders_limits(of_riders, of_orders):
    """Two orders that would be bundled are two trips where capacity, weight or cash are too low."""
    facts = problem(
        [rider(0, **of_riders), rider(1, **of_riders)],
        [order(0, 30, **of_orders), order(0, 31, **of_orders)],
        AT,
    )
    assert all(len(trip.orders) == 1 for trip in solve_batch(facts).trips)


def test_cash_is_counted_over_all_of_a_riders_trips():
    """Cash collected on the first trip counts against the limit on the second."""
    orders = [order(0, 30, cash=1_000.0), order(1, -30, cash=1_000.0)]
    facts = problem([rider(0, cash=1_500.0)], orders, [(0.0, 0.0), (29.0, 0.0)])
    assert len(solve_batch(facts).unassigned) == 1


def test_trips_are_timed_at_their_riders_speed():
    """Each trip's delay is that at its rider's speed, also after routes were exchanged."""
    rng = np.random.default_rng(3)
    facts = problem(
        [rider(*rng.integers(0, 40, 2), speed=1.0 + row % 2) for row in range(6)],
        [order(row, *rng.integers(0, 40, 2)) for row in range(6)],
        rng.integers(0, 40, (6, 2)).tolist(),
    )
    schedule = Schedule(facts, Costs(facts, Weights()))
    plan = solve_batch(facts)
    alone = [trip for trip in plan.trips if len(trip.orders) == 1]
    assert len({facts.riders.speed[trip.rider] for trip in alone}) == 2
    for planned in alone:
        trip = schedule.make_trip(planned.rider, planned.stops)
        assert planned.terms["delay"] == pytest.approx(trip.delay(planned.starts_at))


def test_empty_problems_have_plans():
    """Without riders every order is unassigned; without orders there are no trips."""
    assert list(solve_batch(problem([], [order(0, 10)], AT)).unassigned) == [0]
    assert not solve_batch(problem([rider(0)], [], AT)).trips


def test_the_same_problem_gives_the_same_plan():
    """Two decisions of one problem are equal."""
    rng = np.random.default_rng(2)
    facts = problem(
        [rider(*rng.integers(0, 60, 2)) for _ in range(12)],
        [order(row % 5, *rng.integers(0, 60, 2)) for row in range(20)],
        rng.integers(0, 60, (5, 2)).tolist(),
    )
    assert solve_batch(facts) == solve_batch(facts)
