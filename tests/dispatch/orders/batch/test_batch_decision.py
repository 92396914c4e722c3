"""Batch decision: offers, reassignments, orders without a rider, and their reasons."""

import pytest

from dispatch.model import DispatchState, Place
from dispatch.orders.batch.batch_decision import BatchDecision, decide_batch
from tests.dispatch.orders.batch.batch_scenario import (
    MINUTE_LAT_DEG,
    NOW_MS,
    PICKUP,
    a_batch_input,
    a_ready_order,
    a_rider,
)
from tests.factories import an_offer


def test_the_nearest_rider_is_asked_and_the_costs_add_up():
    """The chosen rider comes first with its cost term by term, then the alternative."""
    riders = [a_rider("far", 9), a_rider("near", 1)]
    decision = decide_batch(a_batch_input([a_ready_order("o")], riders), "bat_1")
    [offer] = decision.offers
    chosen, other = offer.decision.candidates

    assert (offer.order.order_id, offer.rider_id) == ("o", "near")
    assert (chosen.rider_id, other.rider_id) == ("near", "far")
    assert set(chosen.parts) == {"delay", "rider", "later", "decline", "end"}
    assert chosen.cost == pytest.approx(sum(chosen.parts.values()), abs=0.01)
    assert offer.decision.batch == "bat_1"


def test_without_orders_nothing_is_decided():
    """An empty city has an empty decision."""
    assert decide_batch(a_batch_input([], [a_rider("r")]), "b") == BatchDecision()


def test_the_same_input_gives_the_same_decision():
    """Nothing depends on time, chance or an earlier decision."""
    given = a_batch_input(
        [a_ready_order(f"o{n}") for n in range(4)], [a_rider(f"r{n}", n) for n in range(3)]
    )

    assert decide_batch(given, "b") == decide_batch(given, "b")


def test_an_order_with_an_open_offer_is_not_offered_again():
    """The engine waits for the answer, even where a nearer rider is free."""
    offered = a_ready_order("o", DispatchState.OFFERED, offers={"r": an_offer()})
    riders = [a_rider("r", 3), a_rider("other", 1)]

    assert decide_batch(a_batch_input([offered], riders, offer_holds={"r": "o"}), "b").offers == []


def test_an_unassignable_order_lists_the_excluded_riders():
    """No rider is left: the decision says why each could not be asked."""
    rider = a_rider("r", seen_at_ms=NOW_MS - 20_000)
    [(order, decision)] = decide_batch(
        a_batch_input([a_ready_order("o")], [rider]), "b"
    ).unassignable

    assert order.order_id == "o"
    assert [each.excluded for each in decision.candidates] == ["last fix 20 s old"]


def test_an_order_moves_to_another_rider_only_where_its_rider_keeps_one():
    """Two orders of one shop to opposite sides: a second rider there takes one of them."""
    far = Place(lat=PICKUP.lat - 25 * MINUTE_LAT_DEG, lng=PICKUP.lng)
    one = a_ready_order("h1", DispatchState.ASSIGNED, rider="r")
    two = a_ready_order("h2", DispatchState.ASSIGNED, rider="r", dropoff=far)
    riders = [a_rider("r", 2, active=2, capacity=2), a_rider("s", 0, capacity=2)]
    both = decide_batch(a_batch_input([one, two], riders), "b")
    single = decide_batch(a_batch_input([one], [a_rider("r", 20, active=1), a_rider("s")]), "b")

    assert len(both.reassignments) == 1
    assert not single.reassignments
