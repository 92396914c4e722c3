"""The policy `batch`: all open orders and all usable riders together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching.batch import solve_batch
from matching.cost import Costs, Weights
from matching.problem import CommittedRider, PlannedTrip, Problem, Stop
from matching.schedule import Schedule
from matching.solve import solve
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
spots = st.tuples(st.integers(0, 30), st.integers(0, 30))


def _cheapest_cost(facts: Problem) -> float:
    """The least that any plan without bundles costs, by trying them all."""
    costs = Costs(facts, Weights())
    riders, count = len(facts.riders.x), len(facts.orders.place)
    idle = [costs.cost_of_trips(each, costs.free_spot_of(each), ()) for each in range(riders)]
    prices = [
        sum(
            costs.cost_of_trips(
                each,
                costs.free_spot_of(each),
                [single_order_trip(facts, costs.travel_times[each], row) for row in day],
            )
            - idle[each]
            for each, day in enumerate(days)
        )
        for days in all_plans(riders, count)
    ]
    return min(prices)


@given(
    riders=st.lists(spots, min_size=2, max_size=3),
    orders=st.lists(st.tuples(spots, spots, st.integers(0, 40)), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_small_plan_is_near_the_best_of_all(riders, orders):
    """Of every plan there is, none without bundles is more than a minute cheaper."""
    facts = problem(
        [rider(*at) for at in riders],
        [order(row, *end, ready=float(ready)) for row, (_, end, ready) in enumerate(orders)],
        [start for start, _, _ in orders],
    )
    assert plan_cost(solve_batch(facts)) <= _cheapest_cost(facts) + 1


def test_the_terms_are_the_whole_cost():
    """What the tasks tell of their reasons adds up to what the schedule minimised."""
    rng = np.random.default_rng(5)
    facts = problem(
        [rider(*rng.integers(0, 40, 2), acceptance_chance=0.8) for _ in range(4)],
        [order(row % 3, *rng.integers(0, 40, 2), ready=float(row)) for row in range(9)],
        rng.integers(0, 40, (3, 2)).tolist(),
    )
    plan = solve_batch(facts)
    costs = Costs(facts, Weights())
    schedule = Schedule(facts, costs)
    by_rider: dict[int, list[PlannedTrip]] = {row: [] for row in range(4)}
    for task in plan.trips:
        by_rider[task.rider].append(task)
    idle = sum(schedule.cost_with(row, []) for row in range(4))
    for row, tasks in by_rider.items():
        trips = [schedule.make_trip(row, task.stops) for task in tasks]
        schedule.set_trips(row, trips)
    assert plan_cost(plan) == pytest.approx(sum(schedule.cost_of(row) for row in range(4)) - idle)


def test_two_orders_do_not_fight_for_one_rider():
    """Order by order, the old one would take the rider beside the new one."""
    facts = problem(
        [rider(0), rider(12)],
        [order(0, 5, 20, placed=-1.0), order(1, 5, -20)],
        [(5, 0), (-12, 0)],
    )
    assert rider_by_order(solve(facts, "batch")) == {0: 1, 1: 0}
    assert rider_by_order(solve(facts, "nearest")) == {0: 0, 1: 1}


def test_somebody_is_sent_when_waiting_would_cost():
    """Ready at 20, five minutes to go, two to park: he leaves at 13, and not at 12."""
    facts = problem([rider(5)], [order(0, 30, ready=20.0)], AT)
    for now, go in ((0.0, False), (12.0, False), (13.0, True), (30.0, True)):
        riders = facts.riders._replace(free_at=np.array([now]))
        [task] = solve_batch(facts._replace(now=now, riders=riders)).trips
        assert (task.is_firm, task.starts_at) == (go, max(20.0, now + 7))


def test_riders_who_often_decline_are_asked_earlier():
    """A no costs a minute, so that there is one left for it."""
    facts = problem(
        [rider(5, acceptance_chance=0.5, free_at=12.0)], [order(0, 30, ready=20.0)], AT, now=12.0
    )
    [task] = solve_batch(facts).trips
    assert task.is_firm
    assert task.terms["decline"] == pytest.approx(0.5)


def test_of_two_alike_the_one_who_says_yes_is_asked():
    """Everything else being equal, a likely no is a cost."""
    facts = problem([rider(5, acceptance_chance=0.5), rider(5)], [order(0, 30)], AT)
    assert rider_by_order(solve_batch(facts)) == {0: 1}


def test_a_rider_who_is_free_soon_beats_one_who_is_far():
    """The one beside the shop is done in three minutes, the other needs forty."""
    facts = problem([rider(40), rider(0, free_at=3.0)], [order(0, 10)], AT)
    [task] = solve_batch(facts).trips
    assert (task.rider, task.is_firm) == (1, False)


def test_meals_of_one_shop_go_together_under_load():
    """Two meals to one street and one rider: one way there, not two."""
    facts = problem([rider(0)], [order(0, 30), order(0, 31)], AT)
    [task] = solve_batch(facts).trips
    assert sorted(task.orders) == [0, 1]
    assert [stop.is_pickup for stop in task.stops] == [True, True, False, False]


def test_meals_of_two_shops_never_lie_together():
    """Hot meals of two shops are two trips, where parcels are one."""
    two = [order(0, 30), order(1, 31)]
    places = [(0.0, 0.0), (1.0, 0.0)]
    assert len(solve_batch(problem([rider(0)], two, places)).trips) == 2
    parcels = [{**each, "may_share": True} for each in two]
    [task] = solve_batch(problem([rider(0)], parcels, places)).trips
    assert sorted(task.orders) == [0, 1]


def test_goods_wait_in_the_shop_and_not_on_the_way():
    """The second shop is ready at 50: the trip begins so late that he does not stand there."""
    parcels = [order(0, 30, may_share=True, ready=49.0), order(1, 31, may_share=True, ready=50.0)]
    [task] = solve_batch(problem([rider(0)], parcels, [(0.0, 0.0), (1.0, 0.0)])).trips
    assert task.starts_at == 49.0


def test_a_parcel_joins_a_running_route():
    """He carries one parcel to 40 and passes a second one's pickup; nobody else is near."""
    parcels = [order(0, 40, may_share=True), order(1, 60, may_share=True)]
    running = CommittedRider(0, (Stop(0, is_pickup=False),), 40.0)
    free = rider(40, free_at=44.0)
    facts = problem([free], parcels, [(0.0, 0.0), (45.0, 0.0)], committed=(running,))
    [task] = solve_batch(facts).trips
    assert task.stops == (
        Stop(0, is_pickup=False), Stop(1, is_pickup=True), Stop(1, is_pickup=False),
    )  # fmt: skip
    assert task.is_firm


def test_orders_are_dealt_anew_until_the_pickup():
    """Two riders under way to one shop change their meals when that is shorter for both."""
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


def test_no_rider_is_called_back_for_a_trifle():
    """The same two bundles stay as they are where a change of hands must gain more than it can."""
    asked = problem(
        [rider(10, free_at=40.0), rider(-10, free_at=40.0)],
        [order(0, 20), order(0, -20), order(0, 21), order(0, -21)],
        AT,
        committed=(committed_rider(0, [0, 1], 10.0), committed_rider(1, [2, 3], 10.0)),
        rules=RULES._replace(reassignment_threshold=1e3),
    )
    assert rider_by_order(solve(asked, "batch")) == {0: 0, 1: 0, 2: 1, 3: 1}


def test_a_rider_under_way_keeps_something_to_pick_up():
    """A nearer rider turns up, but the one under way is not sent there for nothing."""
    facts = problem(
        [rider(0, free_at=30.0), rider(0)],
        [order(0, 20)],
        AT,
        committed=(committed_rider(0, [0], 25.0),),
    )
    [task] = solve_batch(facts).trips
    assert (task.rider, task.starts_at, task.is_firm) == (0, 27.0, True)


def test_a_rider_under_way_keeps_something_he_said_yes_to():
    """Nobody under way is left with new meals alone, which he may decline: he is there then."""
    free = {"free_at": 14.0}
    facts = problem(
        [rider(0, **free), rider(0, **free), rider(0)],
        [order(0, 90), order(0, -90), order(0, 89), order(0, -89), order(0, 91)],
        AT,
        committed=(committed_rider(0, [0], 10.0), committed_rider(1, [1], 10.0)),
    )
    sides = rider_by_order(solve_batch(facts))
    assert (sides[0], sides[1]) == (0, 1)


def test_a_rider_who_waits_for_his_second_meal_does_not_go_back_in_time():
    """Without the second meal, the first would have been picked up at 50, which is over."""
    late = [order(0, 20, ready=50.0), order(0, -20, ready=60.0)]
    riders = [rider(0, free_at=90.0), rider(0, free_at=55.0)]
    told = committed_rider(0, [0, 1], 40.0)
    facts = problem(riders, late, AT, committed=(told,), now=55.0, blocked={0: {1}})
    [task] = solve_batch(facts).trips
    assert (task.rider, sorted(task.orders), task.starts_at) == (0, [0, 1], 60.0)


def test_what_is_carried_stays_with_its_carrier():
    """A rider with a parcel aboard on his way to a second one: only that may go to another."""
    parcels = [order(0, 60, may_share=True), order(1, 50, may_share=True)]
    stops = (
        Stop(1, is_pickup=True), Stop(1, is_pickup=False), Stop(0, is_pickup=False),
    )  # fmt: skip
    riders = [rider(60, free_at=64.0), rider(45)]
    places = [(0.0, 0.0), (45.0, 0.0)]
    [task] = solve_batch(
        problem(riders, parcels, places, committed=(CommittedRider(0, stops, 40.0),))
    ).trips
    assert (task.rider, sorted(task.orders)) == (0, [0, 1])


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
@pytest.mark.parametrize("policy", ["nearest", "score", "batch"])
def test_what_a_rider_must_not_carry(policy, near, wants):
    """Vehicle, zone, weight, cash, capacity, the end of a shift: the far rider goes instead."""
    facts = problem([rider(0, **near), rider(30)], [order(0, 10, **wants)], AT)
    assert rider_by_order(solve(facts, policy)) == {0: 1}


@pytest.mark.parametrize("policy", ["nearest", "score", "batch"])
def test_a_blocked_pair_never_meets(policy):
    """Whoever said no is not asked again, even if nobody else is there."""
    facts = problem([rider(0)], [order(0, 10)], AT, blocked={0: {0}})
    plan = solve(facts, policy)
    assert (list(plan.trips), list(plan.unassigned)) == ([], [0])


@pytest.mark.parametrize(
    ("who", "what"),
    [({"capacity": 1}, {}), ({"kg": 1.5}, {}), ({"cash": 1_500.0}, {"cash": 1_000.0})],
)
def test_bundles_end_where_a_rider_can_hold_no_more(who, what):
    """Two that would go together are two trips, or go to two riders, where one is too weak."""
    facts = problem(
        [rider(0, **who), rider(1, **who)], [order(0, 30, **what), order(0, 31, **what)], AT
    )
    assert all(len(task.orders) == 1 for task in solve_batch(facts).trips)


def test_cash_is_counted_over_all_of_a_riders_trips():
    """What he collects on the first trip is still in his pocket on the second."""
    orders = [order(0, 30, cash=1_000.0), order(1, -30, cash=1_000.0)]
    facts = problem([rider(0, cash=1_500.0)], orders, [(0.0, 0.0), (29.0, 0.0)])
    assert len(solve_batch(facts).unassigned) == 1


def test_trips_are_timed_for_whoever_rides():
    """On a bicycle the same way takes longer, also after trips were exchanged."""
    rng = np.random.default_rng(3)
    facts = problem(
        [rider(*rng.integers(0, 40, 2), speed=1.0 + row % 2) for row in range(6)],
        [order(row, *rng.integers(0, 40, 2)) for row in range(6)],
        rng.integers(0, 40, (6, 2)).tolist(),
    )
    costs = Costs(facts, Weights())
    schedule = Schedule(facts, costs)
    plan = solve_batch(facts)
    alone = [task for task in plan.trips if len(task.orders) == 1]
    assert len({facts.riders.speed[task.rider] for task in alone}) == 2
    for task in alone:
        trip = schedule.make_trip(task.rider, task.stops)
        assert task.terms["delay"] == pytest.approx(trip.delay(task.starts_at))


@pytest.mark.parametrize("policy", ["nearest", "score", "batch"])
def test_nothing_to_do_is_a_plan(policy):
    """No riders: every order is left; no orders: nothing is."""
    nobody = problem([], [order(0, 10)], AT)
    nothing = problem([rider(0)], [], AT)
    assert list(solve(nobody, policy).unassigned) == [0]
    assert not solve(nothing, policy).trips


@pytest.mark.parametrize("policy", ["nearest", "score", "batch"])
def test_the_same_in_gives_the_same_out(policy):
    """A decision depends on its problem and on nothing else."""
    rng = np.random.default_rng(2)
    facts = problem(
        [rider(*rng.integers(0, 60, 2)) for _ in range(12)],
        [order(row % 5, *rng.integers(0, 60, 2)) for row in range(20)],
        rng.integers(0, 60, (5, 2)).tolist(),
    )
    assert solve(facts, policy) == solve(facts, policy)


def test_an_unknown_policy_is_refused():
    """A policy that is not there is an error and not a default."""
    with pytest.raises(KeyError):
        solve(problem([rider(0)], [order(0, 1)], AT), "fastest")
