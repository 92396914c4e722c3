"""Matching problem of a batch: which orders, riders and places are rows, and their columns."""

import pytest
from msgspec.structs import replace

from dispatch.model import DispatchState, OfferOutcome, Parcel
from dispatch.orders.batch.batch_input import pickup_place_of
from dispatch.orders.batch.problem_builder import ANSWER_MINUTES, build_problem
from matching.prep_times import FadedSum
from tests.dispatch.orders.batch.batch_scenario import (
    NOW_MS,
    a_batch_input,
    a_ready_order,
    a_rider,
)
from tests.factories import a_cash_payment, a_parcel_order, an_offer


def test_riders_are_columns():
    """Positions and speeds come from the index and the learned speeds of each vehicle."""
    riders = [a_rider("r", 3), a_rider("w", 3, vehicle="FOOT")]
    problem = build_problem(a_batch_input([a_ready_order("o")], riders)).problem

    assert problem.riders.free_at.tolist() == [0, 0]
    assert problem.riders.y.tolist() == pytest.approx([problem.riders.speed[0] * 3] * 2)
    assert problem.riders.speed[0] / problem.riders.speed[1] == pytest.approx(7.3 / 1.3)
    assert not problem.committed
    assert problem.rules.tick == pytest.approx(5 / 60 + ANSWER_MINUTES)


def test_a_carried_order_is_no_row():
    """Nothing is left to decide about it, and its rider is not committed to a trip."""
    carried = a_ready_order("c", DispatchState.PICKED_UP, rider="r")
    found = build_problem(a_batch_input([carried, a_ready_order("o")], [a_rider("r", 6, active=1)]))

    assert [order.order_id for order in found.orders] == ["o"]
    assert not found.problem.committed


def test_an_assigned_order_is_a_row_and_its_rider_committed():
    """Its rider may keep it or lose it, so both are part of the problem."""
    assigned = a_ready_order("h", DispatchState.ASSIGNED, rider="r")
    [committed] = build_problem(
        a_batch_input([assigned], [a_rider("r", 3, active=1)])
    ).problem.committed

    assert (committed.rider, committed.stops) == (0, ((0, True), (0, False)))
    assert committed.arrives_at == pytest.approx(3)


def test_an_offered_order_commits_its_rider():
    """An open offer counts as an acceptance; other riders stay uncommitted."""
    offered = a_ready_order("o", DispatchState.OFFERED, offers={"r": an_offer()})
    found = build_problem(
        a_batch_input([offered], [a_rider("r", 3), a_rider("other", 9)], offer_holds={"r": "o"})
    )

    assert [each.rider for each in found.problem.committed] == [0]


def test_reserved_cash_counts_once():
    """An open cash order needs headroom; an accepted one has reserved it already."""
    accepted = a_ready_order("h", DispatchState.ASSIGNED, rider="r", payment=a_cash_payment())
    searching = a_ready_order("o", payment=a_cash_payment())
    problem = build_problem(a_batch_input([accepted, searching], [a_rider("r", active=1)])).problem

    assert problem.orders.cash.tolist() == [float(searching.pricing.total), 0.0]


def test_parcels_have_a_weight_and_may_share_a_trip():
    """A parcel may lie beside others, a meal not; a walker carries ten kilograms."""
    parcel = Parcel(category="documents", weight=12.5)
    package = replace(a_parcel_order(state=DispatchState.SEARCHING), parcel=parcel)
    problem = build_problem(
        a_batch_input([package, a_ready_order("o")], [a_rider("w", vehicle="FOOT")])
    ).problem

    assert problem.orders.kg.tolist() == [12.5, 0.0]
    assert problem.orders.may_share.tolist() == [True, False]
    assert problem.riders.kg.tolist() == [10.0]


def test_a_decline_blocks_a_pair_and_silence_does_for_a_while():
    """A decline 40 s ago blocks the rider for the order; silence 40 s ago does not."""
    asked = {"no": ("x", OfferOutcome.DECLINED), "mute": ("y", OfferOutcome.EXPIRED)}
    order = a_ready_order("o", asked=asked)
    dispatch = order.dispatch
    assert dispatch is not None
    past = {r: replace(offer, at_ms=NOW_MS - 40_000) for r, offer in dispatch.asked.items()}
    order = replace(order, dispatch=replace(dispatch, asked=past))
    riders = [a_rider("no"), a_rider("mute"), a_rider("new")]

    assert build_problem(a_batch_input([order], riders)).problem.blocked == {0: [0]}


def test_orders_of_other_modes_are_no_rows_but_commit_their_riders():
    """An open MART order is offered one by one; the rider of an assigned one is committed."""
    assigned = a_ready_order("h", DispatchState.ASSIGNED, rider="r", order_type="MART")
    searching = a_ready_order("m", order_type="MART")
    found = build_problem(
        a_batch_input([assigned, searching, a_ready_order("o")], [a_rider("r", active=1)])
    )

    assert sorted(order.order_id for order in found.orders) == ["h", "o"]


def test_minutes_follow_the_time_scale():
    """At sixty times real time a second is a minute, for orders, vendors, riders and shifts."""
    late = a_ready_order("o", times={"ACCEPTED": NOW_MS - 1_000}, prep_minutes=10)
    rider = a_rider("r", until_ms=NOW_MS + 30_000)
    problem = build_problem(a_batch_input([late], [rider], time_scale=60.0)).problem
    real_time = build_problem(a_batch_input([late], [rider])).problem

    assert problem.orders.placed.tolist() == [-600]
    assert problem.orders.ready.tolist() == pytest.approx([9])
    assert problem.riders.until.tolist() == pytest.approx([30])
    assert problem.riders.speed[0] == pytest.approx(real_time.riders.speed[0] / 60)


def test_places_of_high_demand_are_rows_after_those_of_the_orders():
    """A pickup without an open order is a place as well, with its share of the demand."""
    elsewhere = (4.1, 9.8)
    order = a_ready_order("o")
    demand = {elsewhere: 3.0, pickup_place_of(order): 1.0}
    problem = build_problem(a_batch_input([order], [a_rider("r")], demand=demand)).problem

    assert problem.places.demand.tolist() == [1.0, 3.0]


def test_answers_become_acceptance_chances():
    """The chance of each rider lies within the bounds of the model."""
    answers = {"no": FadedSum(0.0, 50.0), "yes": FadedSum(50.0, 50.0)}
    riders = [a_rider("no"), a_rider("yes"), a_rider("new")]
    chances = build_problem(
        a_batch_input([a_ready_order("o")], riders, answers=answers)
    ).problem.riders.acceptance_chance

    assert chances[0] == pytest.approx(0.3)
    assert 0.98 < chances[1] <= 0.99
    assert chances[2] == pytest.approx(0.95)
