"""The town as columns: who takes part, where and when he is free, what he is bound to."""

from typing import Any

import pytest
from msgspec.structs import replace

from dispatch.model import DispatchState, OfferOutcome, OfferPolicy, Order, OrderStatus, Place
from dispatch.orders.batch.batch_decision import decide_batch
from dispatch.orders.batch.problem_builder import (
    ANSWER_MINUTES,
    SOONEST_FREE_MINUTES,
    BatchInput,
    build_problem,
    place_of,
)
from dispatch.tracking.stores.rider_facts import IndexedRider
from matching.eta import DETOUR_DEFAULT
from matching.prep_times import FadedSum
from tests.factories import a_cash_payment, a_parcel_order, an_offer, an_order

NOW_MS = 10_000_000
# A minute's way of a motorbike, as the crow flies. Units: degrees of latitude.
MINUTE_LAT_DEG = 7.3 * 60 / DETOUR_DEFAULT / 111_195.1
PICKUP = Place(lat=4.05, lng=9.70)
DROPOFF = Place(lat=4.05 + 10 * MINUTE_LAT_DEG, lng=9.70)


def a_rider(rider: str, minutes: float = 0.0, **facts: Any) -> IndexedRider:
    """A free rider so far north of the shop."""
    usual = {
        "lat": PICKUP.lat + minutes * MINUTE_LAT_DEG,
        "lng": PICKUP.lng,
        "ts": NOW_MS,
        "seen_at_ms": NOW_MS,
        "heading": None,
        "speed": None,
        "accuracy": 5.0,
        "available": True,
        "active": 0,
        "capacity": 1,
        "completion": None,
        "rating": None,
        "recent_offers": 0,
        "cash_headroom_xaf": 50_000,
        "vehicle": "MOTORBIKE",
        "name": "",
    }
    return IndexedRider(rider_id=rider, **{**usual, **facts})


def a_pickup_order(
    name: str, state: DispatchState = DispatchState.SEARCHING, **fields: Any
) -> Order:
    """An order whose goods are ready at the shop, ten minutes from its customer."""
    is_carried = state in (DispatchState.PICKED_UP, DispatchState.AT_DROPOFF)
    status = OrderStatus.IN_TRANSIT if is_carried else OrderStatus.READY
    known = {key: fields.pop(key) for key in ("rider", "offers", "asked") if key in fields}
    made = an_order(status, state, **known)
    usual = {
        "order_id": name, "pickup": PICKUP, "dropoff": DROPOFF, "created_at": NOW_MS - 600_000,
        "times": {"ACCEPTED": NOW_MS - 600_000, "READY": NOW_MS},
    }  # fmt: skip
    return replace(made, **{**usual, **fields})


def a_batch_input(orders: list[Order], riders: list[IndexedRider], **fields: Any) -> BatchInput:
    """A town where meals are decided together."""
    usual = BatchInput(
        now_ms=NOW_MS,
        orders=orders,
        riders=riders,
        policies=dict.fromkeys(("FOOD", "MART", "PACKAGE"), OfferPolicy(mode="batch")),
        batched_services=frozenset({"FOOD", "PACKAGE"}),
        paused={},
        offer_holds={},
        answers={},
        prep_times={},
        speeds_mps={"MOTORBIKE": 7.3, "FOOT": 1.3, None: 7.3},
        demand={},
        fresh_ms=15_000,
        time_scale=1.0,
    )
    return usual._replace(**fields)


def test_a_free_rider_is_free_where_he_is():
    """Now, at his place, as fast as his vehicle is known to be."""
    problem = build_problem(
        a_batch_input([a_pickup_order("o")], [a_rider("r", 3), a_rider("w", 3, vehicle="FOOT")])
    ).problem
    assert problem.riders.free_at.tolist() == [0, 0]
    assert problem.riders.y.tolist() == pytest.approx([problem.riders.speed[0] * 3] * 2)
    assert problem.riders.speed[0] / problem.riders.speed[1] == pytest.approx(7.3 / 1.3)
    assert not problem.committed
    assert problem.rules.tick == pytest.approx(5 / 60 + ANSWER_MINUTES)


def test_a_rider_with_goods_is_free_at_the_dropoff():
    """Four minutes from the customer, and two for the hand-over on either side."""
    carried = a_pickup_order("c", DispatchState.PICKED_UP, rider="r")
    found = build_problem(
        a_batch_input([carried, a_pickup_order("o")], [a_rider("r", 6, active=1)])
    )
    assert found.problem.riders.free_at.tolist() == pytest.approx([4 + 2 + 2])
    assert [each.order_id for each in found.orders] == ["o"]
    assert not found.problem.committed


def test_a_rider_who_should_be_done_is_free_soon():
    """However late he is, he cannot be counted on before he has tapped."""
    carried = a_pickup_order("c", DispatchState.AT_DROPOFF, rider="r", dropoff=PICKUP)
    found = build_problem(
        a_batch_input([carried, a_pickup_order("o")], [a_rider("r", 0, active=1)])
    )
    assert found.problem.riders.free_at[0] >= SOONEST_FREE_MINUTES


def test_an_assigned_rider_is_committed():
    """Three minutes to the shop, then to the door: his order is a row, and he its only rider."""
    his = a_pickup_order("h", DispatchState.ASSIGNED, rider="r")
    found = build_problem(a_batch_input([his], [a_rider("r", 3, active=1)]))
    [bound] = found.problem.committed
    assert (bound.rider, bound.stops) == (0, ((0, True), (0, False)))
    assert bound.arrives_at == pytest.approx(3)
    # There at 3, away at 7, at the door at 17, free at 21.
    assert found.problem.riders.free_at.tolist() == pytest.approx([21])


def test_a_rider_at_pickup_has_arrived():
    """Whatever his last fix says."""
    his = a_pickup_order("h", DispatchState.AT_PICKUP, rider="r")
    [bound] = build_problem(a_batch_input([his], [a_rider("r", 3, active=1)])).problem.committed
    assert bound.arrives_at == 0


def test_an_open_offer_commits_like_an_acceptance():
    """Until he answers nobody else is asked, and he for nothing else."""
    offered = a_pickup_order("o", DispatchState.OFFERED, offers={"r": an_offer()})
    held = {"r": "o"}
    found = build_problem(
        a_batch_input([offered], [a_rider("r", 3), a_rider("other", 9)], offer_holds=held)
    )
    assert [each.rider for each in found.problem.committed] == [0]
    assert (
        decide_batch(
            a_batch_input([offered], [a_rider("r", 3), a_rider("other", 1)], offer_holds=held), "b"
        ).offers
        == []
    )


@pytest.mark.parametrize(
    ("rider", "fields", "why"),
    [
        (a_rider("r", available=False), {}, "off duty"),
        (a_rider("r", seen_at_ms=NOW_MS - 20_000), {}, "last fix 20 s old"),
        (a_rider("r"), {"paused": {"r": NOW_MS + 1}}, "paused: left offers unread"),
        (a_rider("r", active=1), {}, "carries another order"),
        (a_rider("r"), {"offer_holds": {"r": ""}}, "carries another order"),
        (a_rider("r"), {"offer_holds": {"r": "elsewhere"}}, "holds another offer"),
    ],
)
def test_excluded_riders_are_listed_with_reasons(
    rider: IndexedRider, fields: dict[str, Any], why: str
):
    """He is no row, and the decision says why."""
    found = build_problem(a_batch_input([a_pickup_order("o")], [rider], **fields))
    assert (len(found.riders), [bar for _, bar in found.excluded]) == (0, [why])
    [(_, decision)] = decide_batch(
        a_batch_input([a_pickup_order("o")], [rider], **fields), "b"
    ).unassignable
    assert [each.excluded for each in decision.candidates] == [why]


def test_cash_that_is_reserved_counts_once():
    """What he will collect for an open order needs room; for his own it has been taken already."""
    his = a_pickup_order("h", DispatchState.ASSIGNED, rider="r", payment=a_cash_payment())
    opened = a_pickup_order("o", payment=a_cash_payment())
    problem = build_problem(a_batch_input([his, opened], [a_rider("r", active=1)])).problem
    assert problem.orders.cash.tolist() == [float(opened.pricing.total), 0.0]


def test_parcels_weigh_and_share():
    """A parcel may lie beside others, and too heavy a one needs an engine."""
    heavy = replace(a_parcel_order(state=DispatchState.SEARCHING), order_id="p")
    assert heavy.parcel is None
    problem = build_problem(
        a_batch_input([heavy, a_pickup_order("o")], [a_rider("w", vehicle="FOOT")])
    ).problem
    assert problem.orders.may_share.tolist() == [True, False]
    assert problem.riders.kg.tolist() == [10.0]


def test_a_decline_blocks_the_pair_and_silence_does_for_a_while():
    """Whoever declined, and whoever was silent a moment ago, is blocked; nobody else is."""
    asked = {"no": ("x", OfferOutcome.DECLINED), "mute": ("y", OfferOutcome.EXPIRED)}
    opened = a_pickup_order("o", asked=asked)
    dispatch = opened.dispatch
    assert dispatch is not None
    said = {rider: replace(each, at_ms=NOW_MS - 40_000) for rider, each in dispatch.asked.items()}
    opened = replace(opened, dispatch=replace(dispatch, asked=said))
    found = build_problem(a_batch_input([opened], [a_rider("no"), a_rider("mute"), a_rider("new")]))
    assert found.problem.blocked == {0: [0]}


def test_orders_of_other_modes_are_not_decided_but_their_riders_are_bound():
    """Groceries are offered one by one here; their rider is under way all the same."""
    his = a_pickup_order("h", DispatchState.ASSIGNED, rider="r", order_type="MART")
    other = a_pickup_order("m", order_type="MART")
    found = build_problem(
        a_batch_input([his, other, a_pickup_order("o")], [a_rider("r", active=1)])
    )
    assert sorted(each.order_id for each in found.orders) == ["h", "o"]


def test_an_order_goes_to_another_only_where_its_rider_keeps_one():
    """Two of one shop to opposite doors: a second rider stands there, and each brings one."""
    far = Place(lat=PICKUP.lat - 25 * MINUTE_LAT_DEG, lng=PICKUP.lng)
    one = a_pickup_order("h1", DispatchState.ASSIGNED, rider="r")
    two = a_pickup_order("h2", DispatchState.ASSIGNED, rider="r", dropoff=far)
    riders = [a_rider("r", 2, active=2, capacity=2), a_rider("s", 0, capacity=2)]
    both = decide_batch(a_batch_input([one, two], riders), "b")
    single = decide_batch(a_batch_input([one], [a_rider("r", 20, active=1), a_rider("s")]), "b")
    assert len(both.reassignments) == 1
    assert not single.reassignments


def test_minutes_follow_the_time_scale():
    """At sixty times the pace a second is a minute, for shops, riders and shifts alike."""
    late = a_pickup_order("o", times={"ACCEPTED": NOW_MS - 1_000}, prep_minutes=10)
    rider = a_rider("r", until_ms=NOW_MS + 30_000)
    problem = build_problem(a_batch_input([late], [rider], time_scale=60.0)).problem
    assert problem.orders.placed.tolist() == [-600]
    assert problem.orders.ready.tolist() == pytest.approx([9])
    assert problem.riders.until.tolist() == pytest.approx([30])
    assert problem.riders.speed[0] == pytest.approx(7.3 / DETOUR_DEFAULT)


def test_where_orders_usually_come_from_is_known():
    """A shop without an open order is a place as well, with its share of the demand."""
    elsewhere = (4.1, 9.8)
    problem = build_problem(
        a_batch_input(
            [a_pickup_order("o")],
            [a_rider("r")],
            demand={elsewhere: 3.0, place_of(a_pickup_order("o")): 1.0},
        )
    ).problem
    assert problem.places.demand.tolist() == [1.0, 3.0]


def test_answers_become_acceptance_chances():
    """Answers become chances within their bounds."""
    answers = {"no": FadedSum(0.0, 50.0), "yes": FadedSum(50.0, 50.0)}
    riders = [a_rider("no"), a_rider("yes"), a_rider("new")]
    accepts = build_problem(
        a_batch_input([a_pickup_order("o")], riders, answers=answers)
    ).problem.riders.acceptance_chance
    assert accepts[0] == pytest.approx(0.3)
    assert 0.98 < accepts[1] <= 0.99
    assert accepts[2] == pytest.approx(0.95)
